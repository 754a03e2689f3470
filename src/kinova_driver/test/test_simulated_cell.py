"""The simulated cell and a driver as processes of their own, seen through DDS alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from glam_core.pose import tool_down
from glam_msgs.msg import CommandReport, EpisodeStatus, ToolCommand, ToolState
from glam_msgs.srv import ResetCell
from glam_sim.model import scene_model
from glam_sim.tasks import TASKS
from kinova_driver import messages

pytestmark = [pytest.mark.ros, pytest.mark.sim]
AWAIT_S = 40.0
DOMAIN = 60 + os.getpid() % 30
MAIN = "from kinova_driver.{} import main; main()"
STATION = """
name: bench
task: lift
arms:
  - name: arm
    backend: simulated
    timeouts: {command_s: 0.5, feedback_s: 0.1, silence_s: 5.0, session_s: 20.0, connection_s: 10.0, max_losses: 100}
cameras:
  - {name: front, source: simulated, width: 64, height: 48}
  - {name: overview, source: simulated, width: 80, height: 60, rate_hz: 5.0}
safety: {workspace_min: [0.2, -0.35, 0.005], workspace_max: [0.75, 0.35, 0.5]}
"""
TOPICS = {
    "tool_state": ToolState,
    "joint_states": JointState,
    "command_report": CommandReport,
    "episode_status": EpisodeStatus,
    "scene": Float32MultiArray,
    "scene_markers": MarkerArray,
    "/tf": TFMessage,
    "/diagnostics": DiagnosticArray,
    "camera/front/image_raw": Image,
    "camera/front/camera_info": CameraInfo,
    "camera/overview/image_raw": Image,
}


def start(arguments: list[str], module: str = "simulated_cell") -> subprocess.Popen[str]:
    environment = os.environ | {"ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", MAIN.format(module), "--ros-args", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Client:
    """A node that keeps everything that the cell says."""

    def __init__(self) -> None:
        self.node = Node("client")
        self.received: dict[str, list] = defaultdict(list)
        for topic, kind in TOPICS.items():
            self.node.create_subscription(kind, topic, self.received[topic].append, qos_profile_sensor_data)
        self.commands = self.node.create_publisher(ToolCommand, "command", 5)
        self.sequence = 0

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + AWAIT_S
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def next(self, topic: str) -> Any:
        """A message that arrives from now on."""
        self.received[topic].clear()
        self.wait(lambda: len(self.received[topic]) > 0)
        return self.received[topic][-1]

    def call(self, kind: type, name: str, **fields: Any) -> tuple[bool, str]:
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(AWAIT_S)
        future = client.call_async(kind.Request(**fields))
        self.wait(future.done)
        response: Any = future.result()
        return response.success, response.message

    def enable(self) -> None:
        """On a busy computer a measurement may be too old, or have been; the driver then refuses."""

        def agrees() -> bool:
            return self.call(SetBool, "enable", data=True)[0] or not self.call(Trigger, "clear_faults")

        self.wait(agrees)

    def drive(self, goal: np.ndarray, condition: Callable[[], bool]) -> None:
        """Sends a goal until the condition holds; enables again when a busy computer let the commands come too late."""
        sent = 0

        def step() -> bool:
            nonlocal sent
            self.send(goal)
            sent += 1
            if sent % 40 == 0 and self.mode() == "stopped":
                self.enable()
            return condition()

        self.wait(step)

    def send(self, position: np.ndarray) -> None:
        now = time.monotonic()
        self.sequence += 1
        message = ToolCommand(arm="arm", sequence=self.sequence, pose=messages.pose_message(tool_down(position, 0.0)))
        message.header.frame_id = "base_link"
        message.header.stamp = message.observed_at = messages.stamp_from_monotonic(now)
        message.expires = messages.stamp_from_monotonic(now + 0.2)
        self.commands.publish(message)

    def mode(self) -> str:
        """The driver's mode, from /diagnostics."""
        while True:
            for status in self.next("/diagnostics").status:
                if status.name == "driver arm":
                    return {pair.key: pair.value for pair in status.values}["mode"]


def position(state: ToolState) -> np.ndarray:
    place = state.pose.position
    return np.array([place.x, place.y, place.z])


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    station = tmp_path_factory.mktemp("station") / "station.yaml"
    station.write_text(STATION)
    process = start(["-p", f"station:={station}", "-p", "seed:=3"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def driver(process: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    station = tmp_path_factory.mktemp("driver") / "station.yaml"
    station.write_text(STATION)
    # Other tests may keep this computer busy: here a late measurement is none that should stop the arm.
    driver = start(["-p", f"station:={station}", "-p", "max_state_age_s:=1.0"], "driver_node")
    yield driver
    driver.kill()
    driver.wait()


@pytest.fixture(scope="module")
def client(driver: subprocess.Popen[str]) -> Iterator[Client]:
    before = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(domain_id=DOMAIN)
    client = Client()
    yield client
    client.node.destroy_node()
    rclpy.shutdown()
    if before is None:
        del os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"]
    else:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = before


def test_everything_that_a_policy_and_a_viewer_need_is_published(client: Client) -> None:
    client.wait(lambda: all(client.received[topic] for topic in TOPICS if topic != "command_report"))
    image = client.next("camera/front/image_raw")
    assert (image.height, image.width, image.encoding, len(image.data)) == (48, 64, "rgb8", 48 * 64 * 3)
    assert 0.0 <= time.monotonic() - messages.monotonic_from_stamp(image.header.stamp) < AWAIT_S
    info = client.next("camera/front/camera_info")
    fovy = scene_model("gen3", TASKS["lift"].layout, TASKS["lift"].objects).camera("front").fovy[0]
    assert 2 * np.degrees(np.arctan2(48 / 2, info.k[4])) == pytest.approx(fovy)
    assert (info.k[2], info.k[5]) == (32.0, 24.0)
    joints = client.next("joint_states")
    assert list(joints.name) == [f"joint_{i}" for i in range(1, 8)] + ["gripper"]
    frames = {(t.header.frame_id, t.child_frame_id) for t in client.next("/tf").transforms}
    assert {("base_link", "tool"), ("base_link", "shoulder_link"), ("bracelet_link", "end_effector_link")} <= frames
    assert len(client.next("scene").data) == 11
    assert [marker.ns for marker in client.next("scene_markers").markers] == ["scene"]


def test_the_tool_follows_commands_and_silence_stops_it(client: Client) -> None:
    assert client.call(ResetCell, "cell/reset", seed=5) == (True, "")
    home = position(client.next("tool_state"))
    client.send(home)
    client.next("tool_state")
    assert client.received["command_report"] == []  # not enabled: nothing is executed

    client.enable()
    goal = home + np.array([0.0, 0.0, -0.04])

    client.drive(goal, lambda: bool(np.linalg.norm(position(client.next("tool_state")) - goal) < 2e-3))
    report = client.received["command_report"][-1]
    assert report.arm == "arm"
    assert report.age_s >= 0.0

    client.received["command_report"].clear()
    client.wait(lambda: client.mode() == "stopped")
    client.received["command_report"].clear()
    client.send(home)
    rest = position(client.next("tool_state"))
    client.mode()
    assert client.received["command_report"] == []
    np.testing.assert_allclose(position(client.next("tool_state")), rest, atol=2e-3)
    client.enable()
    client.drive(home, lambda: len(client.received["command_report"]) > 0)


def test_reset_puts_the_cell_where_the_seed_says(client: Client) -> None:
    scenes = []
    for seed in (5, 6, 5):
        assert client.call(ResetCell, "cell/reset", seed=seed, task="lift") == (True, "")
        client.wait(lambda seed=seed: client.next("episode_status").seed == seed)
        scenes.append(np.array(client.next("scene").data[6:8]))  # x, y of the cube
    np.testing.assert_allclose(scenes[0], scenes[2], atol=1e-6)
    assert np.abs(scenes[0] - scenes[1]).max() > 1e-3
    status = client.next("episode_status")
    assert (status.task, status.success, status.timed_out) == ("lift", False, False)
    assert client.mode() == "disabled"
    success, message = client.call(ResetCell, "cell/reset", seed=0, task="lfit")
    assert not success
    assert "did you mean 'lift'" in message
    assert client.call(ResetCell, "cell/reset", seed=0, task="stack_two")[0] is True
    client.wait(lambda: client.next("episode_status").task == "stack_two")
    assert len(client.next("scene_markers").markers) == 2


def test_emergency_stop_over_services(client: Client) -> None:
    assert client.call(Trigger, "emergency_stop")[0] is True
    success, message = client.call(SetBool, "enable", data=True)
    assert not success
    assert "call reset first" in message
    assert client.mode() == "emergency"
    assert client.call(Trigger, "reset")[0] is True
    assert client.mode() == "disabled"


def test_two_interrupts_end_driver_and_cell_cleanly(
    client: Client, process: subprocess.Popen[str], driver: subprocess.Popen[str]
) -> None:
    client.enable()
    for each in (driver, process):
        each.send_signal(signal.SIGINT)
        each.send_signal(signal.SIGINT)
        output, _ = each.communicate(timeout=AWAIT_S)
        assert each.returncode == 0, output
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("content", "arguments", "complaint"),
    [
        (STATION + "camera: []\n", [], "did you mean 'cameras'"),
        (STATION.replace("front", "frnt"), [], "unknown camera 'frnt'; legal: front, side, wrist, overview"),
        (STATION.replace("name: arm", "name: left"), [], "the task has the arms arm, not left"),
        (STATION, ["-p", "task:=juggle"], "unknown task 'juggle'; legal: lift, stack_two"),
        (STATION, ["-p", "seed:=-1"], "parameter 'seed' of cell has the type int in [0, 2147483647]"),
    ],
    ids=["key", "camera", "arm", "task", "seed"],
)
def test_what_is_wrong_is_said_at_the_start(tmp_path: Path, content: str, arguments: list[str], complaint: str) -> None:
    station = tmp_path / "station.yaml"
    station.write_text(content)
    process = start(["-p", f"station:={station}", *arguments])
    output, _ = process.communicate(timeout=AWAIT_S)
    assert process.returncode == 1
    assert complaint in output
    assert "Traceback" not in output
