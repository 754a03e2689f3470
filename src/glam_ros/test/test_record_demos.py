"""`glam record` as a process, with a real simulated cell: by the expert, by keys and services; then into a store."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("mujoco", reason="the simulator is not installed")
pytest.importorskip("zarr", reason="the training install is missing")

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from std_srvs.srv import Trigger

from glam_core.errors import ConfigurationError
from glam_core.station import control_port
from glam_msgs.msg import ToolState
from glam_msgs.srv import StartRecording
from glam_ros.record_demos import RecordOptions
from glam_ros.resources import graph_environment
from glam_training.data.importers.mcap import McapConfig, import_recordings
from glam_training.data.importers.recording import read_recording
from kinova_driver.simulator.control_port import ask

pytestmark = [pytest.mark.ros, pytest.mark.sim]

DOMAIN = 31 + os.getpid() % 29
AWAIT_S = 60.0
MAIN = "import sys; from glam_ros.record_demos import main; sys.exit(main())"
# Driver and import are patient, so that a busy computer neither stops the arm nor spoils the recording.
MAX_GAP_S = 2.0
STATION = """
name: bench
task: lift
arms:
  - {name: arm, backend: simulated}
cameras:
  - {name: front, source: simulated, width: 48, height: 32}
safety:
  workspace_min: [0.2, -0.35, 0.005]
  workspace_max: [0.75, 0.35, 0.5]
  command_timeout_s: 1.0
  stop_timeout_s: 4.0
"""


class Recording:
    """A running `glam record`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.out = folder / "lift"
        folder.mkdir(exist_ok=True)
        station = folder / "station.yaml"
        station.write_text(STATION)
        environment = os.environ | graph_environment(DOMAIN) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", MAIN, "--station", str(station), "--out", str(self.out), *arguments]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def press(self, keys: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def expect(self, text: str) -> str:
        """Reads on to the line that has the text in it."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} was not said: {''.join(seen)}")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[Recording]:
    recording = Recording(tmp_path, "--driver", "keyboard", "--seed", "3", "--task", "lift")
    yield recording
    recording.end()


class Client:
    """A node of this process that calls the recorder's services."""

    def __init__(self) -> None:
        self.node = Node("client")
        self.x = self.stamp = float("nan")
        self.node.create_subscription(ToolState, "tool_state", self._on_tool, qos_profile_sensor_data)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + AWAIT_S
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        client = self.node.create_client(kind, f"record_demos/{name}")
        self.wait(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        self.wait(future.done)
        self.node.destroy_client(client)
        return future.result()

    def tool_x(self) -> float:
        """Where the tool is now: says a message that was stamped after the call. Older ones may wait in the queue."""
        called = time.time()
        self.wait(lambda: self.stamp > called)
        return self.x

    def _on_tool(self, message: ToolState) -> None:
        self.x = message.pose.position.x
        self.stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in graph_environment(DOMAIN).items():
        monkeypatch.setenv(name, value)
    rclpy.init(domain_id=DOMAIN)
    client = Client()
    yield client
    client.node.destroy_node()
    rclpy.shutdown()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.mcap"))


@pytest.mark.timeout(400)
def test_the_expert_demonstrates_and_the_recordings_become_a_store_that_trains(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "--episodes", "2", "--seed", "5", "--task", "lift")
    output, _ = recording.process.communicate(timeout=360)
    assert recording.process.returncode == 0, output
    assert "starting simulated_cell, driver, expert" in output
    assert "2 episodes saved" in output
    recordings = [read_recording(file) for file in files(recording.out)]
    assert [(each.task, each.seed, each.embodiment) for each in recordings] == [
        ("lift", 5, "gen3"),
        ("lift", 6, "gen3"),
    ]
    assert all(each.success is not None for each in recordings)

    store = import_recordings(
        McapConfig((recording.out,), tmp_path / "store", keep_failures=True, max_gap_s=MAX_GAP_S)
    ).store
    assert store.num_episodes == 2
    assert store.seeds.tolist() == [5, 6]
    assert store.info.source == "recording"
    arrays = store.load(store.keys)
    steps = len(arrays["action"])
    assert steps >= 20
    assert arrays["images/front"].shape == (steps, 32, 48, 3)
    assert arrays["state"].shape == (steps, 10)
    assert arrays["scene"].shape == (steps, 11)
    assert arrays["images/front"].std() > 5.0  # something is to be seen
    assert np.isfinite(arrays["state"]).all()
    moves = np.linalg.norm(arrays["action"][:, :3], axis=1)
    assert 0.002 < moves.mean() < 0.06  # metres within a tenth of a second
    assert np.ptp(arrays["state"][:, :3], axis=0).max() > 0.03
    np.testing.assert_allclose(arrays["scene"][:, :3], arrays["state"][:, :3], atol=0.03)


@pytest.mark.timeout(400)
def test_a_fault_of_the_simulated_arm_is_cleared_and_the_episode_goes_on(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "--episodes", "1", "--seed", "5", "--task", "lift")
    deadline = time.monotonic() + AWAIT_S
    while not any(file.stat().st_size > 60_000 for file in files(recording.out)):
        assert time.monotonic() < deadline, "nothing is recorded"
        time.sleep(0.05)
    ask(control_port(DOMAIN), "fault MAXIMUM_TORQUE joint_3")
    output, _ = recording.process.communicate(timeout=360)
    assert recording.process.returncode == 0, output
    assert "1 episodes saved" in output
    assert "joint_3.MAXIMUM_TORQUE" in (recording.out / "graph.log").read_text()


@pytest.mark.timeout(400)
def test_keys_services_a_full_disk_and_a_kill(by_hand: Recording, client: Client, tmp_path: Path) -> None:
    by_hand.expect("w  x +")  # the keys are printed
    answer = client.call(StartRecording, "start", task="lfit", driver="keyboard")
    assert (answer.success, "unknown task 'lfit'; legal: lift" in answer.message) == (False, True)
    answer = client.call(StartRecording, "start", task="lift", driver="nobody")
    assert "unknown driver 'nobody'; legal: expert, keyboard, policy" in answer.message
    assert "none can be saved; start one first" in client.call(Trigger, "save").message

    answer = client.call(StartRecording, "start", task="lift", driver="keyboard")
    assert answer.success, answer.message
    again = client.call(StartRecording, "start", task="lift", driver="keyboard")
    assert not again.success
    assert "an episode is being recorded already" in again.message
    client.wait(lambda: Path(answer.path).stat().st_size > 60_000)
    assert client.call(Trigger, "discard").success
    assert files(by_hand.out) == []
    assert not Path(answer.path).parent.exists()

    other = Recording(tmp_path / "other", "--driver", "expert")
    output, _ = other.process.communicate(timeout=AWAIT_S)
    assert other.process.returncode == 1
    assert "a node already sends commands on /command; end it first" in output

    by_hand.press("z")
    assert "unknown key 'z'; legal: w, s, a, d" in by_hand.expect("unknown key")
    by_hand.press("b")
    by_hand.expect("recording\n")
    begin = client.tool_x()
    by_hand.press("wwww")
    client.wait(lambda: client.x > begin + 0.03)
    there = client.stamp
    client.wait(lambda: client.stamp > there + 0.5)  # images are later than the tool, and a step needs the next one
    by_hand.press("m")
    by_hand.expect("marked as failed")
    (saved,) = files(by_hand.out)
    assert (read_recording(saved).seed, read_recording(saved).success) == (3, False)
    config = McapConfig((saved,), tmp_path / "store", keep_failures=True, max_gap_s=MAX_GAP_S)
    arrays = import_recordings(config).store.load(["state", "action"])
    assert np.ptp(arrays["state"][:, 0]) > 0.01
    assert arrays["action"][:, 0].max() > 0.005

    full = Path(client.call(StartRecording, "start", task="lift", driver="keyboard").path)
    client.wait(lambda: full.stat().st_size > 60_000)
    before = resource.prlimit(by_hand.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(by_hand.process.pid, resource.RLIMIT_FSIZE, (full.stat().st_size + 100, before[1]))
    by_hand.expect("are kept. Make room on the disk")
    resource.prlimit(by_hand.process.pid, resource.RLIMIT_FSIZE, before)
    assert len(read_recording(full).images["front"].stamps) > 1

    killed = Path(client.call(StartRecording, "start", task="lift", driver="keyboard").path)
    client.wait(lambda: killed.stat().st_size > 100_000)
    now = time.time()
    by_hand.process.send_signal(signal.SIGKILL)
    by_hand.process.wait()
    content = read_recording(killed)
    assert (content.task, content.seed) == ("lift", 3)
    assert now - content.tools["arm"].stamps[-1] < 1.5
    assert len(content.images["front"].stamps) > 1


def test_what_is_wrong_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="unknown driver 'exprt'; legal: expert, keyboard, policy; did you mean"
    ):
        RecordOptions(driver="exprt")
    with pytest.raises(ConfigurationError, match="at least one episode"):
        RecordOptions(episodes=0)
    with pytest.raises(ConfigurationError, match="step_m is a positive number"):
        RecordOptions(step_m=0.0)
    recording = Recording(tmp_path, "--task", "lfit")
    output, _ = recording.process.communicate(timeout=AWAIT_S)
    assert recording.process.returncode == 1
    assert "unknown task 'lfit'; legal: lift, stack_two" in output
    assert "did you mean 'lift'" in output
    assert "Traceback" not in output
