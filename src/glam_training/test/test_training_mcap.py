"""Recordings of the graph become the store that the same episode in simulation would have become."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from glam_core.errors import ConfigurationError, DataError
from glam_core.pose import quaternion_xyzw_from_matrix
from glam_core.spec import ActionSpec
from glam_core.tool import commands_from_action, tools_from_state_vector
from glam_sim.cell import Cell
from glam_sim.rollout import Episode, ExpertController, Recording, rollout
from glam_training.data.importers import main
from glam_training.data.importers.mcap import McapConfig, align, import_recordings
from glam_training.data.importers.recording import read_recording
from glam_training.data.store import Store
from glam_training.fit import DeviceConfig, OptimConfig
from glam_training.stage1 import GlamTrainConfig, load_glam, train_glam

pytestmark = pytest.mark.sim

MESSAGES = Path(__file__).parents[2] / "glam_msgs/msg"
START_S = 1_700_000_000.0


@dataclass(frozen=True)
class Faults:
    """What a recording may suffer from."""

    dropped_frames: tuple[int, ...] = ()
    late_s: float = 0.02
    without: tuple[str, ...] = ()
    success: bool = True
    says: str | None = None


@pytest.fixture(scope="module")
def episode() -> Episode:
    with Cell("lift", "gen3", image_size=(32, 32)) as cell:
        return rollout(cell, ExpertController("lift", "gen3"), seed=3, record=Recording(cameras=("front",)))


@pytest.fixture(scope="module")
def typestore():
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for name in ("ToolState", "ToolCommand", "EpisodeStatus"):
        types |= get_types_from_msg((MESSAGES / f"{name}.msg").read_text(), f"glam_msgs/msg/{name}")
    store.register(types)
    return store


def write_recording(path: Path, episode: Episode, typestore, faults: Faults = Faults()) -> Path:
    """The episode as the graph would have published it: 10 Hz images and commands, 40 Hz tool states."""
    t = typestore.types

    def stamp(seconds):
        return t["builtin_interfaces/msg/Time"](sec=int(seconds), nanosec=round((seconds % 1) * 1e9))

    def header(seconds, frame="base_link"):
        return t["std_msgs/msg/Header"](stamp=stamp(seconds), frame_id=frame)

    def pose(T):
        x, y, z, w = quaternion_xyzw_from_matrix(T[:3, :3])
        return t["geometry_msgs/msg/Pose"](
            position=t["geometry_msgs/msg/Point"](x=T[0, 3], y=T[1, 3], z=T[2, 3]),
            orientation=t["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
        )

    events = []
    for step in range(episode.steps):
        now = START_S + 0.1 * step
        tools = tools_from_state_vector(episode.state[step], ("arm",))
        command = commands_from_action(episode.action[step], tools, ActionSpec())["arm"]
        image = episode.images["front"][step]
        if step not in faults.dropped_frames:
            message = t["sensor_msgs/msg/Image"](
                header=header(now, "camera_front"),
                height=32,
                width=32,
                encoding="bgr8",
                is_bigendian=0,
                step=96,
                data=image[..., ::-1].reshape(-1),
            )
            events.append((now + faults.late_s, "/camera/front/image_raw", message))
        message = t["glam_msgs/msg/ToolState"](
            header=header(now), arm="arm", pose=pose(tools["arm"].T_base_tool), gripper=tools["arm"].gripper
        )
        events.append((now + 0.001, "/tool_state", message))
        message = t["glam_msgs/msg/ToolCommand"](
            header=header(now + 0.03),
            observed_at=stamp(now),
            due=stamp(now + 0.1),
            expires=stamp(now + 0.2),
            arm="arm",
            sequence=step,
            pose=pose(command.T_base_tool),
            gripper=command.gripper,
            hold=False,
            decode_s=0.0,
        )
        events.append((now + 0.031, "/command", message))
        layout = t["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
        message = t["std_msgs/msg/Float32MultiArray"](layout=layout, data=episode.scene[step])
        events.append((now + 0.002, "/scene", message))
        status = t["glam_msgs/msg/EpisodeStatus"](
            header=header(now),
            episode=0,
            task="lift",
            seed=3,
            elapsed_s=0.1 * step,
            success=faults.success and step == episode.steps - 1,
            timed_out=False,
        )
        events.append((now + 0.002, "/episode_status", status))

    if faults.says is not None:
        events.append((START_S, "/recording", t["std_msgs/msg/String"](data=faults.says)))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for arrival, topic, message in sorted(events, key=lambda event: event[0]):
            if topic in faults.without:
                continue
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=typestore)
            data = typestore.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], round(arrival * 1e9), data)
    return next(path.glob("*.mcap"))


def test_import_equals_the_simulated_episode(tmp_path, episode, typestore):
    file = write_recording(tmp_path / "bag", episode, typestore)
    main(["mcap", "--recordings", str(tmp_path / "bag"), "--out", str(tmp_path / "store")])
    store = Store.open(tmp_path / "store")
    assert (store.info.task, store.info.embodiment, store.info.source) == ("lift", "gen3", "recording")
    assert store.seeds.tolist() == [3]
    assert store.successes.all()
    arrays = store.load(store.keys)
    assert set(arrays) == {"images/front", "state", "action", "scene"}
    for key, expected in {
        "images/front": episode.images["front"],
        "state": episode.state,
        "action": episode.action,
        "scene": episode.scene,
    }.items():
        np.testing.assert_allclose(arrays[key], expected, atol=2e-5)
    again = import_recordings(McapConfig((file,), tmp_path / "store"))
    assert again.store.num_episodes == 2


def test_the_store_trains(tmp_path, episode, typestore):
    file = write_recording(tmp_path / "bag", episode, typestore)
    import_recordings(McapConfig((file,), tmp_path / "store"))
    few = OptimConfig(steps=2, batch_size=8, warmup_steps=1)
    device = DeviceConfig(accelerator="cpu")
    train_glam(
        GlamTrainConfig(tmp_path / "store", tmp_path / "run", observations="scene", optim=few, refit=few, device=device)
    )
    assert load_glam(tmp_path / "run").contract.task == "lift"


def test_repetitions_of_the_last_decision_are_no_actions(tmp_path, episode, typestore):
    file = write_recording(tmp_path / "bag", episode, typestore)
    recording = read_recording(file)
    stream = recording.commands["arm"]
    repeated = [(stamp + 0.075, issued) for stamp, issued in zip(stream.stamps, stream.values, strict=True)]
    decided = list(zip(stream.stamps, stream.values, strict=True))
    both = sorted([*repeated, *decided], key=lambda pair: pair[0])  # each decision again, within the next step
    stream.stamps[:], stream.values[:] = [stamp for stamp, _ in both], [issued for _, issued in both]
    arrays = align(recording, McapConfig((file,), tmp_path / "store"))[0].arrays
    np.testing.assert_allclose(arrays["action"][: episode.steps], episode.action, atol=2e-5)


def test_what_the_recorder_says_counts(tmp_path, episode, typestore):
    says = json.dumps({"task": "lift", "seed": 9, "embodiment": "umi", "success": False, "driver": "keyboard"})
    file = write_recording(tmp_path / "bag", episode, typestore, Faults(without=("/episode_status",), says=says))
    store = import_recordings(McapConfig((file,), tmp_path / "store", keep_failures=True)).store
    assert (store.info.task, store.info.embodiment, store.seeds.tolist()) == ("lift", "umi", [9])
    assert not store.successes.any()


def test_a_killed_recording_is_read_up_to_its_last_chunk(tmp_path, episode, typestore):
    file = write_recording(tmp_path / "bag", episode, typestore)
    whole = read_recording(file)
    content = file.read_bytes()
    (tmp_path / "killed.mcap").write_bytes(content[: int(0.6 * len(content))])
    killed = read_recording(tmp_path / "killed.mcap")
    assert 0 <= len(killed.tools.get("arm", whole.tools["arm"]).stamps) <= len(whole.tools["arm"].stamps)
    (tmp_path / "unclosed.mcap").write_bytes(content[: content.rindex(b"\x0f\x04\x00\x00\x00\x00\x00\x00\x00")])
    assert read_recording(tmp_path / "unclosed.mcap").tools["arm"].stamps == whole.tools["arm"].stamps
    assert (tmp_path / "unclosed.mcap").stat().st_size < len(content)


def test_options(tmp_path, episode, typestore):
    file = write_recording(tmp_path / "bag", episode, typestore)
    config = McapConfig((file,), tmp_path / "store", image_size=16, auxiliary=True)
    store = import_recordings(config).store
    assert store.info.obs_spec.image("front").height == 16
    assert not store.info.has_actions
    with pytest.raises(DataError, match="of another obs_spec"):
        import_recordings(replace(config, image_size=None))
    holed = write_recording(tmp_path / "holed", episode, typestore, Faults(dropped_frames=tuple(range(10, 16))))
    wide = replace(config, recordings=(holed,), out=tmp_path / "wide", max_gap_s=0.5)
    assert import_recordings(wide).added == 1
    with pytest.raises(DataError, match="did you mean 'front'"):
        import_recordings(replace(config, out=tmp_path / "other", cameras=("frnt",)))


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (Faults(dropped_frames=tuple(range(10, 16))), "front has a gap"),
        (Faults(without=("/command",)), "commands of the arms"),
        (Faults(without=("/tool_state",)), "tool states of the arms"),
        (Faults(without=("/episode_status",)), "name it with --task"),
        (Faults(success=False), "--keep-failures"),
        (Faults(says='{"success": false}'), "--keep-failures"),
        (Faults(says="lift"), "/recording: what the recording says of itself is no JSON"),
        (Faults(says='{"seed": "one"}'), "seed has the type int, not 'one'"),
        (Faults(says='{"embodiment": "gen4"}'), "did you mean 'gen3'"),
    ],
)
def test_recordings_that_can_not_be_imported_say_why(tmp_path, episode, typestore, faults, message):
    file = write_recording(tmp_path / "bag", episode, typestore, faults)
    with pytest.raises(DataError, match=message):
        import_recordings(McapConfig((file,), tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_single_dropped_frame_is_bridged_and_bad_files_are_left_out(tmp_path, episode, typestore):
    write_recording(tmp_path / "bags/a", episode, typestore, Faults(dropped_frames=(12,)))
    (tmp_path / "bags/b.mcap").write_bytes(b"nothing of the kind")
    result = import_recordings(McapConfig((tmp_path / "bags",), tmp_path / "store"))
    assert result.added == 1
    assert "not an MCAP file" in result.left_out[tmp_path / "bags/b.mcap"]


def test_bad_calls(tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'mcap'"):
        main(["mcp"])
    with pytest.raises(ConfigurationError, match="max_gap_s is a positive number"):
        McapConfig((tmp_path,), tmp_path / "store", max_gap_s=0.0)
    with pytest.raises(DataError, match="there is no recording"):
        import_recordings(McapConfig((tmp_path / "nowhere",), tmp_path / "store"))
    with pytest.raises(DataError, match="no .mcap files"):
        import_recordings(McapConfig((tmp_path,), tmp_path / "store"))
