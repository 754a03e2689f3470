"""Messages to arrays and back, and what is refused."""

from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image

from glam_core.errors import ObservationError
from glam_core.pose import exp_so3, transform
from glam_core.tool import ToolCommand, ToolState
from glam_ros import convert
from glam_ros.meters import Health, Level
from glam_ros.records import EpisodeProgress, IssuedCommand, MeasuredTool, PlannedChunk

STAMP = 1_795_374_049.123_456
pytestmark = pytest.mark.ros


def picture(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


@given(st.floats(min_value=0.0, max_value=2.0e9))
def test_stamps_keep_a_microsecond(seconds: float) -> None:
    message = convert.time_message(seconds)
    assert 0 <= message.nanosec < 10**9
    assert convert.seconds(message) == pytest.approx(seconds, abs=1e-6)


@given(st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6))
def test_poses_survive_the_round_trip(numbers: list[float]) -> None:
    pose = transform(exp_so3(np.array(numbers[:3])), np.array(numbers[3:]))
    np.testing.assert_allclose(convert.pose_from_message(convert.pose_message(pose)), pose, atol=1e-9)


def test_images_survive_the_round_trip() -> None:
    image, stamp = convert.image_from_message(convert.image_message(picture(), STAMP, "camera_front"), "front")
    np.testing.assert_array_equal(image, picture())
    assert stamp == pytest.approx(STAMP, abs=1e-6)


@pytest.mark.parametrize("encoding", ["bgr8", "rgba8", "bgra8", "mono8"])
def test_other_encodings_become_rgb(encoding: str) -> None:
    rgb = picture()
    alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    wire = {
        "bgr8": rgb[..., ::-1],
        "rgba8": np.concatenate([rgb, alpha], axis=2),
        "bgra8": np.concatenate([rgb[..., ::-1], alpha], axis=2),
        "mono8": rgb[..., :1],
    }[encoding]
    expected = np.repeat(rgb[..., :1], 3, axis=2) if encoding == "mono8" else rgb
    message = Image(height=4, width=6, encoding=encoding, step=6 * wire.shape[2])
    message.data = array.array("B", np.ascontiguousarray(wire).tobytes())
    np.testing.assert_array_equal(convert.image_from_message(message, "front")[0], expected)


def test_padding_at_the_end_of_rows_is_left_out() -> None:
    rows = np.zeros((4, 20), np.uint8)
    rows[:, :18] = picture().reshape(4, 18)
    message = Image(height=4, width=6, encoding="rgb8", step=20, data=array.array("B", rows.tobytes()))
    np.testing.assert_array_equal(convert.image_from_message(message, "front")[0], picture())


def test_an_image_with_too_few_bytes_names_the_camera() -> None:
    message = Image(height=4, width=6, encoding="rgb8", step=18, data=array.array("B", bytes(10)))
    with pytest.raises(ObservationError, match="camera 'side': 10 bytes do not hold 4 x 6 rgb8"):
        convert.image_from_message(message, "side")


def test_a_float_image_with_nan_is_refused() -> None:
    data = np.full((4, 6), np.nan, np.float32).tobytes()
    message = Image(height=4, width=6, encoding="32FC1", step=24, data=array.array("B", data))
    with pytest.raises(ObservationError, match="camera 'side' sends 32FC1"):
        convert.image_from_message(message, "side")


def test_chunks_survive_the_round_trip() -> None:
    latents = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    chunk = PlannedChunk("lift", 7, latents, STAMP, STAMP + 0.01, 0.1, 0.02)
    back = convert.chunk_from_message(convert.chunk_message(chunk))
    np.testing.assert_array_equal(back.latents, latents)
    assert (back.model, back.sequence, back.step_s, back.inference_s) == ("lift", 7, 0.1, 0.02)
    assert back.received_at - back.observed_at == pytest.approx(0.01, abs=1e-6)


def test_a_chunk_with_missing_numbers_is_refused() -> None:
    message = convert.chunk_message(PlannedChunk("lift", 0, np.zeros((8, 3), np.float32), 0.0, 0.0, 0.1, 0.0))
    message.data = message.data[:-1]
    with pytest.raises(ObservationError, match="8 x 3 holds 24 numbers, not 23"):
        convert.chunk_from_message(message)


def test_tools_and_commands_survive_the_round_trip() -> None:
    pose = transform(exp_so3(np.array([0.1, 0.2, 0.3])), np.array([0.4, 0.0, 0.2]))
    measured = convert.tool_state_from_message(
        convert.tool_state_message(MeasuredTool("left", STAMP, ToolState(pose, 0.3)), "left/base_link")
    )
    assert measured.arm == "left"
    assert measured.tool.gripper == 0.3
    times = {"issued_at": STAMP, "observed_at": STAMP - 0.2, "due_at": STAMP + 0.05, "expires_at": STAMP + 0.1}
    issued = IssuedCommand("left", 3, ToolCommand(pose, 1.0), **times, hold=True, decode_s=0.001)
    back = convert.command_from_message(convert.command_message(issued, "left/base_link"))
    np.testing.assert_allclose(back.command.T_base_tool, pose, atol=1e-9)
    assert (back.sequence, back.hold, back.decode_s) == (3, True, 0.001)
    assert back.expires_at - back.issued_at == pytest.approx(0.1, abs=1e-6)
    assert back.due_at - back.issued_at == pytest.approx(0.05, abs=1e-6)


def test_a_tool_with_nan_is_refused() -> None:
    message = convert.tool_state_message(MeasuredTool("arm", STAMP, ToolState(np.eye(4), 0.0)), "base_link")
    message.gripper = float("nan")
    with pytest.raises(ObservationError, match="gripper of arm 'arm' is nan"):
        convert.tool_state_from_message(message)
    message.gripper, message.pose.position.x = 0.0, float("nan")
    with pytest.raises(ObservationError, match="a pose is finite"):
        convert.tool_state_from_message(message)


def test_the_beginning_of_an_episode_is_known_from_its_progress() -> None:
    progress = EpisodeProgress(STAMP, 2, "lift", 1001, 3.5, False, False)
    back = convert.episode_from_message(convert.episode_message(progress))
    assert back.began_at == pytest.approx(STAMP - 3.5, abs=1e-6)


def test_health_survives_the_round_trip() -> None:
    health = Health("decoder_node", Level.ERROR, "stale", {"rate_hz": "39.9"})
    assert convert.healths_from_message(convert.diagnostics_message([health], STAMP)) == [health]


def test_the_path_has_a_line_and_dots_per_arm() -> None:
    commands = [ToolCommand(transform(np.eye(3), np.array([0.1 * i, 0.0, 0.2])), float(i > 1)) for i in range(4)]
    frames = {"arm": "base_link", "other": "other/base_link"}
    markers = convert.path_markers({"arm": commands, "other": []}, frames, STAMP, 0.2).markers
    line, dots, *others = markers
    assert len(line.points) == len(dots.points) == len(dots.colors) == 4
    assert dots.points[3].x == pytest.approx(0.3)
    assert dots.colors[3].r > dots.colors[0].r
    assert all(marker.action == marker.DELETE for marker in others)
