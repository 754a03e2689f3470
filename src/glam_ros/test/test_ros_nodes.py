"""The policy and decoder nodes over real DDS: what they publish, and what they refuse with which words."""

from __future__ import annotations

import array
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bench_graph import Bench
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from toy_model import LATENT_SIZE, LENGTH, write_toy_model

from glam_core.observation import Observation
from glam_core.runtime import load_model
from glam_core.spec import robot_state_spec
from glam_core.station import CameraConfig
from glam_ros import convert, qos, resources
from glam_ros.camera_node import CameraNode
from glam_ros.decoder_node import DecoderNode
from glam_ros.graph import Place, Process, camera, decoder, policy
from glam_ros.meters import Level
from glam_ros.policy_node import PolicyNode

pytestmark = pytest.mark.ros

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
FILES = ("manifest.json", "latent_policy.onnx", "action_decoder.onnx", "golden.npz", "card.md")
NODES = {"policy_node": (PolicyNode, policy), "decoder_node": (DecoderNode, decoder)}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_toy_model(tmp_path / "toy", cameras=("front", "side"))
    return tmp_path / "toy"


def described(name: str, model: Path, **parameters: object) -> Process:
    process = NODES[name][1](Place.read(resources.station_file("sim")).station, model)
    return replace(process, parameters={**process.parameters, **parameters})


def running(bench: Bench, name: str, model: Path, **parameters: object) -> PolicyNode | DecoderNode:
    node = bench.make(NODES[name][0], described(name, model, **parameters))
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    bench.connected()
    return node


def refusal(bench: Bench, capfd: pytest.CaptureFixture, name: str, model: Path, **parameters: object) -> str:
    """What the log says when the node is configured and refuses."""
    node = bench.make(NODES[name][0], described(name, model, **parameters))
    assert node.trigger_configure() == FAILURE
    return capfd.readouterr().err


# Policy


def test_the_policy_publishes_what_the_model_predicts(bench: Bench, model: Path) -> None:
    running(bench, "policy_node", model)
    stamps: list[float] = []
    bench.await_(lambda: bench.chunks, lambda: stamps.append(bench.see_both()))
    chunk = bench.chunks[0]
    image = np.full((1, 24, 24, 3), 100, np.uint8)
    expected = load_model(model).predict(Observation(0.0, {"front": image, "side": image}))
    np.testing.assert_allclose(chunk.latents, expected, atol=1e-6)
    assert min(abs(chunk.observed_at - stamp) for stamp in stamps) < 1e-6, "the stamp is the one of the images"
    assert 0.0 < chunk.received_at - chunk.observed_at < 5.0
    assert chunk.model == "toy"


@pytest.mark.parametrize("name", ["knock_down", "lift", "stack_two"])
def test_shipped_models_publish_their_golden_vectors(bench: Bench, name: str) -> None:
    folder = resources.model_folder(name)
    with np.load(folder / "golden.npz", allow_pickle=False) as content:
        golden = {key: content[key] for key in content.files}
    cameras = [key.removeprefix("image.") for key in golden if key.startswith("image.")]
    running(bench, "policy_node", folder)

    def see_golden() -> None:
        stamp = time.time()
        for camera_name in cameras:
            image = golden[f"image.{camera_name}"][0, 0]
            bench.see_message(camera_name, convert.image_message(image, stamp, f"camera_{camera_name}"))

    bench.await_(lambda: bench.chunks, see_golden)
    np.testing.assert_allclose(bench.chunks[0].latents, golden["chunk"][0], atol=1e-4)
    decoded = load_model(folder).decode(golden["latent"][0], golden["state"][0])
    np.testing.assert_allclose(decoded, golden["action"][0], atol=1e-4)


def test_the_policy_plans_once_per_replan_period(bench: Bench, model: Path) -> None:
    running(bench, "policy_node", model)
    bench.await_(lambda: len(bench.chunks) >= 4, bench.see_both)
    gaps = np.diff([chunk.observed_at for chunk in bench.chunks])
    assert np.all(gaps > 0.37)
    assert [chunk.sequence for chunk in bench.chunks] == list(range(len(bench.chunks)))


def test_a_missing_stream_is_named_in_the_diagnostics(bench: Bench, model: Path) -> None:
    running(bench, "policy_node", model)
    bench.await_(lambda: "camera 'side'" in bench.message("policy_node"), lambda: bench.see("front"))
    assert bench.healths["policy_node"].level == Level.ERROR
    assert bench.chunks == []


def test_a_stream_that_stops_ends_the_plans_and_is_named_with_its_age(bench: Bench, model: Path) -> None:
    running(bench, "policy_node", model, max_age_s=0.2)
    bench.await_(lambda: bench.chunks, bench.see_both)
    bench.await_(lambda: "camera 'side' is" in bench.message("policy_node"), lambda: bench.see("front"))
    assert "s old" in bench.healths["policy_node"].message
    planned = len(bench.chunks)
    before = bench.healths["policy_node"]
    bench.await_(lambda: bench.healths["policy_node"] is not before, lambda: bench.see("front"))
    assert len(bench.chunks) == planned


def test_an_image_of_nan_is_refused_and_named(bench: Bench, model: Path, capfd: pytest.CaptureFixture) -> None:
    running(bench, "policy_node", model)
    data = array.array("B", np.full((24, 24), np.nan, np.float32).tobytes())
    message = Image(height=24, width=24, encoding="32FC1", step=96, data=data)
    bench.await_(
        lambda: "camera 'front' sends 32FC1" in bench.message("policy_node"),
        lambda: (bench.see_message("front", message), bench.see("side")),
    )
    assert bench.chunks == []
    assert capfd.readouterr().err.count("camera 'front' sends 32FC1") == 1, "what goes on is logged once"


def test_a_new_episode_makes_the_policy_forget(bench: Bench, model: Path) -> None:
    running(bench, "policy_node", model)
    bench.announce(0)
    bench.await_(lambda: bench.chunks, bench.see_both)
    first = bench.chunks[0].observed_at
    bench.announce(1)
    announced = time.time()
    bench.await_(lambda: len(bench.chunks) > 1, bench.see_both)
    assert bench.chunks[1].observed_at >= announced - 0.01
    assert bench.chunks[1].observed_at - first < 0.37, "the first plan of an episode waits for no replan period"


@pytest.mark.parametrize("cameras", [("frnt", "side"), ("side",)])
def test_a_missing_or_misspelt_camera_is_named(
    bench: Bench, model: Path, capfd: pytest.CaptureFixture, cameras: tuple[str, ...]
) -> None:
    error = refusal(bench, capfd, "policy_node", model, cameras=cameras, camera_topics=())
    assert "the model needs the camera 'front': unknown camera 'front'; legal: " + ", ".join(cameras) in error


# Decoder


def latents(length: int = LENGTH) -> np.ndarray:
    moves = np.zeros((length, LATENT_SIZE), np.float32)
    moves[:, 2] = 0.01
    return moves


def test_the_decoder_commands_at_the_control_rate(bench: Bench, model: Path) -> None:
    running(bench, "decoder_node", model)
    bench.measure()
    bench.plan(latents())
    bench.await_(lambda: len(bench.commands) >= 20, bench.measure, period_s=0.025)
    moving = [command for command in bench.commands if not command.hold]
    assert moving[0].command.T_base_tool[2, 3] == pytest.approx(0.21, abs=1e-6)
    for command in moving:
        assert command.expires_at - command.issued_at == pytest.approx(0.1, abs=1e-3)
        # The tool of this bench never moves, but later steps begin where the command before would have brought it.
        assert 0.21 - 1e-6 < command.command.T_base_tool[2, 3] < 0.24
        assert command.arm == "arm"
    gaps = np.diff([command.issued_at for command in moving])
    assert np.median(gaps) == pytest.approx(0.025, abs=0.003)
    assert 2 <= sum(command.decode_s > 0.0 for command in moving) <= len(moving) / 2, "a latent is decoded once"


def test_when_the_plan_runs_out_the_decoder_holds_and_falls_silent(bench: Bench, model: Path) -> None:
    running(bench, "decoder_node", model, hold_s=0.2)
    bench.measure()
    bench.plan(latents(2))
    bench.await_(lambda: any(command.hold for command in bench.commands), lambda: bench.measure(x=0.5))
    held = next(command for command in bench.commands if command.hold)
    assert held.command.T_base_tool[0, 3] == pytest.approx(0.5, abs=1e-6)
    bench.await_(lambda: time.time() - bench.commands[-1].issued_at > 0.3, lambda: bench.measure(x=0.5))
    assert bench.commands[-1].hold
    assert bench.commands[-1].issued_at - held.issued_at < 0.3


def test_a_policy_that_is_gone_is_noticed_long_before_its_plan_runs_out(bench: Bench, model: Path) -> None:
    running(bench, "decoder_node", model)
    bench.measure()
    bench.plan(latents())
    bench.await_(lambda: any(not command.hold for command in bench.commands), bench.measure)
    bench.end_planner()
    bench.await_(lambda: bench.commands[-1].hold, bench.measure)
    held = bench.commands[-1]
    assert held.command.T_base_tool[2, 3] == pytest.approx(0.2, abs=1e-6), "it stays where it was measured"
    assert held.issued_at - held.observed_at < 0.1 * LENGTH, "the plan had not run out"
    bench.await_(lambda: "frozen or gone" in bench.message("decoder_node"), bench.measure)
    bench.begin_planner()
    bench.plan(latents())
    bench.await_(lambda: not bench.commands[-1].hold, bench.measure)
    bench.await_(lambda: bench.message("decoder_node") == "executes", lambda: (bench.measure(), bench.plan(latents())))


def test_without_fresh_tool_states_there_are_no_commands(bench: Bench, model: Path) -> None:
    running(bench, "decoder_node", model)
    bench.measure()
    bench.plan(latents())
    bench.await_(lambda: bench.commands, bench.measure)
    bench.await_(lambda: "tool state" in bench.message("decoder_node"))
    assert bench.healths["decoder_node"].level == Level.ERROR
    assert time.time() - bench.commands[-1].issued_at > 0.1


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (np.full((LENGTH, LATENT_SIZE), np.nan, np.float32), "not finite from step 0"),
        (np.zeros((LENGTH, LATENT_SIZE + 1), np.float32), f"latents of size {LATENT_SIZE + 1}"),
    ],
)
def test_a_bad_chunk_is_refused_and_named(
    bench: Bench, model: Path, capfd: pytest.CaptureFixture, plan: np.ndarray, message: str
) -> None:
    running(bench, "decoder_node", model)
    bench.await_(
        lambda: message in bench.message("decoder_node"),
        lambda: (bench.measure(), bench.plan(plan)),
    )
    assert bench.commands == []
    assert message in capfd.readouterr().err


def test_no_plan_of_the_old_episode_acts_in_the_new_one(bench: Bench, model: Path) -> None:
    running(bench, "decoder_node", model)
    bench.announce(0)
    bench.measure()
    bench.plan(latents())
    bench.await_(lambda: bench.commands, bench.measure)
    bench.announce(1)
    late = time.time() - 0.05
    bench.await_(lambda: time.time() - bench.commands[-1].issued_at > 0.2, bench.measure)
    bench.plan(latents(), observed_at=late)
    bench.await_(lambda: "before the reset" in bench.message("decoder_node"), bench.measure)
    count = len(bench.commands)
    bench.plan(latents())
    bench.await_(lambda: len(bench.commands) > count, bench.measure)
    assert bench.commands[count].observed_at > late


# Both


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("file", FILES)
def test_a_flipped_byte_in_any_file_is_refused(
    bench: Bench, model: Path, capfd: pytest.CaptureFixture, name: str, file: str
) -> None:
    content = bytearray((model / file).read_bytes())
    content[len(content) // 2] ^= 1
    (model / file).write_bytes(content)
    error = refusal(bench, capfd, name, model)
    assert "configure refused" in error
    assert file in error


@pytest.mark.parametrize("name", NODES)
def test_a_model_of_another_action_size_is_refused(
    bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture, name: str
) -> None:
    write_toy_model(tmp_path / "two", cameras=("front",), arms=("left", "right"))
    error = refusal(bench, capfd, name, tmp_path / "two")
    assert "10 numbers, for the arms left, right; the station has the arms arm" in error


@pytest.mark.parametrize("name", NODES)
def test_a_folder_that_is_not_there_is_refused(
    bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture, name: str
) -> None:
    assert "there is no model folder" in refusal(bench, capfd, name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", NODES)
def test_a_node_can_be_cleaned_up_and_configured_with_another_model(bench: Bench, model: Path, name: str) -> None:
    node = running(bench, name, model)
    refused = node.set_parameters([Parameter("model_folder", value="elsewhere")])[0]
    assert not refused.successful
    assert node.trigger_deactivate() == SUCCESS
    assert node.trigger_cleanup() == SUCCESS
    assert node.set_parameters([Parameter("model_folder", value=str(model.resolve()))])[0].successful
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS


# Camera


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (32, 24))
    for _ in range(30):
        writer.write(np.full((24, 32, 3), (0, 0, 200), np.uint8))
    writer.release()
    return path


def camera_process(source: str) -> Process:
    return camera(CameraConfig(name="wrist", source=source, width=16, height=16, topic="wrist/color", rate_hz=10.0))


def test_the_camera_publishes_rgb_at_its_rate_with_capture_stamps(bench: Bench, clip: Path) -> None:
    images: list[tuple[np.ndarray, float]] = []

    def keep(message: Image) -> None:
        images.append(convert.image_from_message(message, "wrist"))

    bench.node.create_subscription(Image, "wrist/color", keep, qos.IMAGES)
    node = bench.make(CameraNode, camera_process(str(clip)))
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    bench.await_(lambda: len(images) >= 6)
    image, stamp = images[-1]
    assert image.shape == (16, 16, 3)
    assert image[8, 8, 0] > 150 > 60 > image[8, 8, 2]
    assert 0.0 <= time.time() - stamp < 5.0
    assert np.median(np.diff([stamp for _, stamp in images])) == pytest.approx(0.1, abs=0.05)
    assert node.trigger_deactivate() == SUCCESS
    assert node.trigger_cleanup() == SUCCESS


@pytest.mark.parametrize(
    ("source", "message"), [("", "has no source"), ("/no/such/video.mp4", "no device or video file")]
)
def test_a_camera_that_can_not_exist_is_refused(
    bench: Bench, capfd: pytest.CaptureFixture, source: str, message: str
) -> None:
    process = camera_process("0")
    node = bench.make(CameraNode, replace(process, parameters={**process.parameters, "source": source}))
    assert node.trigger_configure() == FAILURE
    error = capfd.readouterr().err
    assert "camera 'wrist'" in error
    assert message in error


def test_the_policy_plans_on_the_robot_state(bench: Bench, tmp_path: Path) -> None:
    write_toy_model(tmp_path / "state", cameras=(), vectors=(robot_state_spec(),))
    running(bench, "policy_node", tmp_path / "state")
    bench.await_(lambda: bench.chunks, bench.measure)
    assert bench.chunks[0].latents.shape == (LENGTH, LATENT_SIZE)
