"""Episodes on disk: complete when saved, gone when discarded, readable after a kill or on a full disk."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from std_msgs.msg import Float32MultiArray

from glam_core.errors import DataError
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec
from glam_msgs.msg import CommandReport, EpisodeStatus, ToolCommand, ToolState
from glam_ros.recording import INFO_TOPIC, EpisodeInfo, Recorder, definition, type_name

pytestmark = pytest.mark.ros

KINDS = {"/scene": Float32MultiArray, "/tool_state": ToolState, "/episode_status": EpisodeStatus}
INFO = EpisodeInfo(
    task="lift",
    seed=7,
    driver="expert",
    embodiment="gen3",
    station="bench",
    obs_spec=ObsSpec(images=(ImageSpec(name="front", height=48, width=64),)),
    action_spec=ActionSpec(),
)
START_NS = 1_700_000_000_000_000_000
TICK_NS = 25_000_000


def fill(recorder: Recorder, first: int, last: int, size: int = 11) -> None:
    for tick in range(first, last):
        stamp = START_NS + tick * TICK_NS
        recorder.add("/scene", stamp, serialize_message(Float32MultiArray(data=[float(tick)] * size)))
        recorder.add("/tool_state", stamp - 1000, serialize_message(ToolState(arm="arm", gripper=0.5)))


def read(file: Path) -> dict[str, list]:
    """Messages by topic, through rosbags alone."""
    messages: dict[str, list] = {}
    with AnyReader([file]) as reader:
        for connection, _, raw in reader.messages():
            messages.setdefault(connection.topic, []).append(reader.deserialize(raw, connection.msgtype))
    return messages


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_saved_episode_holds_the_messages_and_says_what_it_is(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, KINDS)
    file = recorder.start(INFO, START_NS)
    fill(recorder, 0, 30)
    recorder.flush()
    fill(recorder, 30, 40)
    assert recorder.save(True, START_NS + 40 * TICK_NS, {"stops": 2}) == file
    assert recorder.file is None
    messages = read(file)
    assert [message.data[0] for message in messages["/scene"]] == list(range(40))
    assert {message.arm for message in messages["/tool_state"]} == {"arm"}
    first, last = (json.loads(message.data) for message in messages[INFO_TOPIC])
    assert (first["task"], first["seed"], first["driver"], first["station"]) == ("lift", 7, "expert", "bench")
    assert ObsSpec.model_validate(first["obs_spec"]) == INFO.obs_spec
    assert "success" not in first
    assert (last["success"], last["stops"]) == (True, 2)
    assert (
        '"success": true' in (file.parent / "metadata.yaml").read_text()
        or "success: 'true'" in (file.parent / "metadata.yaml").read_text()
    )


def test_episodes_are_numbered_and_a_discarded_one_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "lift", KINDS)
    recorder.start(INFO, START_NS)
    fill(recorder, 0, 50)
    recorder.flush()
    gone = recorder.discard()
    assert not gone.parent.exists()
    assert files(tmp_path) == []
    for number in range(2):
        assert recorder.start(INFO, START_NS).name == f"episode_000{number}.mcap"
        fill(recorder, 0, 2)
        recorder.save(False, START_NS)
    assert Recorder(tmp_path / "lift", KINDS).start(INFO, START_NS).name == "episode_0002.mcap"


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, KINDS)
    with pytest.raises(DataError, match="none can be saved; start one first"):
        recorder.save(True, START_NS)
    with pytest.raises(DataError, match="none can be discarded"):
        recorder.discard()
    recorder.add("/scene", START_NS, b"")  # between episodes nothing is kept
    file = recorder.start(INFO, START_NS)
    with pytest.raises(DataError, match="recorded already, to .*episode_0000.mcap; save or discard it first"):
        recorder.start(INFO, START_NS)
    assert recorder.file == file


def test_a_full_disk_ends_the_episode_and_keeps_what_was_complete(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, KINDS)
    file = recorder.start(INFO, START_NS)
    fill(recorder, 0, 40)
    recorder.flush()
    complete = file.stat().st_size
    with disk_of(complete + 1000), pytest.raises(DataError, match="File too large; its first 1.0 s are kept"):
        fill(recorder, 40, 4000, size=1000)
    assert recorder.file is None
    assert file.stat().st_size == complete
    assert recorder.start(INFO, START_NS).name == "episode_0001.mcap"  # the recorder goes on
    recorder.discard()
    scenes = scenes_of(file)
    assert scenes == list(range(40))


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, KINDS)
    with disk_of(100), pytest.raises(DataError, match="nothing of it is kept"):
        recorder.start(INFO, START_NS)
    assert recorder.file is None
    assert files(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Make room"):
        Recorder(tmp_path / "file", KINDS).start(INFO, START_NS)


def test_a_full_disk_while_saving_keeps_the_messages(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, KINDS)
    file = recorder.start(INFO, START_NS)
    fill(recorder, 0, 40)
    recorder.flush()
    with disk_of(file.stat().st_size + 100), pytest.raises(DataError, match="are kept"):
        recorder.save(True, START_NS)
    assert scenes_of(file) == list(range(40))


KILLED = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from test_record_recording import INFO, KINDS, START_NS, Recorder, fill
recorder = Recorder(Path({folder!r}), KINDS)
recorder.start(INFO, START_NS)
fill(recorder, 0, 40)
recorder.flush()
fill(recorder, 40, 60)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_kill_loses_only_what_came_since_the_last_flush(tmp_path: Path) -> None:
    code = KILLED.format(path=[str(Path(__file__).parent), *sys.path], folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    assert scenes_of(tmp_path / "episode_0000/episode_0000.mcap") == list(range(40))


def scenes_of(file: Path) -> list[float]:
    """First numbers of the scenes in a file without an index, through the importer."""
    reading = pytest.importorskip("glam_training.data.importers.recording", reason="glam_training is not installed")
    recording = reading.read_recording(file)
    assert (recording.task, recording.seed) == ("lift", 7)
    return [scene[0] for scene in recording.scene.values]


@pytest.mark.parametrize("kind", [ToolState, ToolCommand, CommandReport, EpisodeStatus])
def test_definitions_are_those_of_the_message_files(kind: type) -> None:
    package, _, name = type_name(kind).split("/")
    text = (Path(__file__).parents[2] / package / "msg" / f"{name}.msg").read_text()
    rows = [line.partition("#")[0].split() for line in text.splitlines()]
    assert [line.split() for line in definition(kind).splitlines()] == [row for row in rows if row]
