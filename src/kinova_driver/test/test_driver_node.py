"""The driver node around a fake arm: lifecycle, services, bad commands, and an executor that a callback blocks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from fake_arm import START, FakeArm
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from glam_core.errors import ConfigurationError
from glam_core.gen3 import JOINTS
from glam_core.pose import tool_down
from glam_msgs.msg import CommandReport, ToolCommand, ToolState
from kinova_driver import messages
from kinova_driver.arm import ArmState
from kinova_driver.driver import Mode
from kinova_driver.driver_node import DriverNode

pytestmark = pytest.mark.ros
AWAIT_S = 30.0
STATION = """
name: bench
arms:
  - {name: arm, backend: simulated}
safety: {workspace_min: [0.2, -0.35, 0.005], workspace_max: [0.75, 0.35, 0.5]}
"""


class LiveArm(FakeArm):
    """Measures anew whenever it is read."""

    def read(self) -> ArmState:
        return replace(self.state, stamp=time.monotonic())


class Bench:
    """A driver node, a client beside it, and a thread that spins both."""

    def __init__(self, station: Path) -> None:
        self.arm = LiveArm()
        self.node = DriverNode(lambda config: self.arm, follows_poses=True)
        self.client = Node("client")
        self.reports: list[CommandReport] = []
        self.states: list[ToolState] = []
        self.client.create_subscription(CommandReport, "command_report", self.reports.append, 5)
        self.client.create_subscription(ToolState, "tool_state", self.states.append, 5)
        self.commands = self.client.create_publisher(ToolCommand, "command", 5)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.executor.add_node(self.client)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def start(self) -> None:
        self.node.autostart()
        self._thread.start()
        self.wait(lambda: self.commands.get_subscription_count() > 0 and len(self.states) > 0)

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(AWAIT_S)
        self.executor.shutdown()
        self.node.close()
        self.client.destroy_node()

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + AWAIT_S
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.002)

    def call(self, kind: type, name: str, **fields: Any) -> tuple[bool, str]:
        client = self.client.create_client(kind, name)
        assert client.wait_for_service(AWAIT_S)
        future = client.call_async(kind.Request(**fields))
        self.wait(future.done)
        response: Any = future.result()
        return response.success, response.message

    def send(self, arm: str = "arm", lifetime_s: float = 1.0, frame: str = "base_link", **fields: Any) -> None:
        now = time.monotonic()
        message = ToolCommand(arm=arm, pose=messages.pose_message(tool_down(START, 0.0)), **fields)
        message.header.stamp = message.observed_at = messages.stamp_from_monotonic(now)
        message.header.frame_id = frame
        message.expires = messages.stamp_from_monotonic(now + lifetime_s)
        self.commands.publish(message)

    def _spin(self) -> None:
        while not self._over.is_set():
            self.executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def ros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    station = tmp_path / "station.yaml"
    station.write_text(STATION)
    rclpy.init(args=["--ros-args", "-p", f"station:={station}"], domain_id=40 + os.getpid() % 20)
    yield station
    try_shutdown()
    assert participants() == 0, "a node is still in DDS; several participants of one process may block each other"


def participants() -> int:
    """How often this process takes part in DDS; each time has a thread of its own for what is due."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.append(path.read_text())
    return sum(name.startswith("dds.ev") for name in names)


@pytest.fixture
def bench(ros: Path) -> Iterator[Bench]:
    bench = Bench(ros)
    try:
        yield bench
    finally:
        bench.close()


def test_enable_command_report_stop(bench: Bench) -> None:
    bench.start()
    bench.send()
    assert bench.call(Trigger, "home")[0] is False
    assert bench.call(SetBool, "enable", data=True) == (True, "held: waiting for the first command")
    assert bench.arm.commands == []
    bench.send(sequence=7)
    bench.wait(lambda: len(bench.reports) > 0)
    assert bench.reports[0].sequence == 7
    assert bench.reports[0].age_s < AWAIT_S
    assert bench.reports[0].header.frame_id == "base_link"
    bench.wait(lambda: "stop" in bench.arm.calls)
    assert bench.call(Trigger, "emergency_stop")[0] is True
    success, message = bench.call(SetBool, "enable", data=True)
    assert not success
    assert "reset" in message
    assert bench.call(Trigger, "reset")[0] is True
    assert bench.call(SetBool, "enable", data=True)[0] is True


def test_the_watchdog_stops_the_arm_while_a_callback_blocks_the_executor(bench: Bench) -> None:
    bench.start()
    assert bench.call(SetBool, "enable", data=True)[0] is True
    blocked, release = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        release.wait(AWAIT_S)

    bench.send()
    bench.wait(lambda: len(bench.arm.commands) > 0)
    bench.arm.held.clear()
    bench.arm.stopped.clear()
    woken = bench.client.create_guard_condition(block)
    bench.send()
    woken.trigger()
    try:
        assert blocked.wait(AWAIT_S)
        sent = len(bench.arm.commands)
        assert bench.arm.stopped.wait(AWAIT_S)
        assert len(bench.arm.commands) == sent
    finally:
        release.set()
    success, message = bench.call(Trigger, "home")
    assert not success
    assert "enable" in message


def test_unusable_commands_move_nothing(bench: Bench) -> None:
    bench.start()
    assert bench.call(SetBool, "enable", data=True)[0] is True
    bench.send(arm="left")
    bench.send(frame="base_lnk")
    bench.send(frame="")
    bench.send(lifetime_s=-0.5)
    bench.send(gripper=float("nan"))
    message = ToolCommand(arm="arm")
    message.pose.position.x = float("nan")
    bench.commands.publish(message)
    bench.send(sequence=99)  # only this one is sound
    bench.wait(lambda: len(bench.reports) > 0)
    assert {report.sequence for report in bench.reports} == {99}


def test_deactivating_stops_and_cleaning_up_disconnects(bench: Bench) -> None:
    bench.node.autostart()
    bench.arm.calls.clear()
    assert bench.node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    assert bench.arm.calls == ["stop"]
    assert bench.node.trigger_cleanup() is TransitionCallbackReturn.SUCCESS
    assert bench.arm.calls == ["stop", "disconnect"]
    bench.node.autostart()
    assert bench.arm.calls[-1] == "connect"


def test_a_station_file_with_an_unknown_key_is_refused(ros: Path) -> None:
    ros.write_text(STATION + "\ncamera: []\n")
    node = DriverNode(lambda config: LiveArm(), follows_poses=True)
    assert node.trigger_configure() is not TransitionCallbackReturn.SUCCESS
    with pytest.raises(ConfigurationError, match="did not start"):
        node.autostart()
    node.close()


def test_parameters_are_checked_and_read_only(ros: Path) -> None:
    rclpy.shutdown()
    for bad in ("max_state_age_s:=7.5", "max_state_age_s:=fast"):
        rclpy.init(args=["--ros-args", "-p", bad], domain_id=40 + os.getpid() % 20)
        with pytest.raises(
            ConfigurationError, match=r"'max_state_age_s' of driver has the type float in \[0\.001, 1\.0\]"
        ):
            DriverNode(lambda config: LiveArm(), follows_poses=True)
        rclpy.shutdown()
    rclpy.init(domain_id=40 + os.getpid() % 20)
    node = DriverNode(lambda config: LiveArm(), follows_poses=True)
    results = node.set_parameters([Parameter("max_state_age_s", value=0.2)])
    assert not results[0].successful
    node.close()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (JOINTS[:5], "missing joint_6, joint_7"),
        ((*JOINTS[:6], "joint_8"), "unknown joint 'joint_8'"),
        (JOINTS, "this arm has no joints to command"),
    ],
)
def test_joint_speeds_for_other_joints_are_rejected_by_name(bench: Bench, names: tuple[str, ...], message: str) -> None:
    logged: list[Log] = []
    bench.client.create_subscription(Log, "/rosout", logged.append, 50)
    bench.start()
    assert bench.call(SetBool, "enable", data=True)[0] is True
    publisher = bench.client.create_publisher(JointState, "joint_speeds", 5)
    bench.wait(lambda: publisher.get_subscription_count() > 0)
    command = JointState(name=list(names), velocity=[0.1] * len(names))
    command.header.stamp = messages.stamp_from_monotonic(time.monotonic())
    publisher.publish(command)
    bench.wait(lambda: any(message in each.msg for each in logged))
    assert bench.arm.speeds == []


def test_a_deadman_switch_is_demanded_where_the_station_says_so(ros: Path) -> None:
    ros.write_text(STATION.replace("backend: simulated", "backend: simulated, deadman: true"))
    bench = Bench(ros)
    try:
        bench.start()
        assert bench.call(SetBool, "enable", data=True)[0] is True
        success, message = bench.call(SetBool, "gripper", data=True)
        assert not success
        assert "deadman" in message
        switch = bench.client.create_publisher(Bool, "deadman", 5)
        bench.wait(lambda: switch.get_subscription_count() > 0)

        def moves() -> bool:
            switch.publish(Bool(data=True))
            bench.send()
            return len(bench.arm.commands) > 0

        bench.wait(moves)
        bench.arm.held.clear()
        switch.publish(Bool(data=False))
        bench.wait(bench.arm.held.is_set)
        bench.wait(lambda: bench.node._connection is not None and bench.node._connection.driver.mode is Mode.STOPPED)
    finally:
        bench.close()


def test_the_gripper_service_opens_and_closes(bench: Bench) -> None:
    bench.start()
    assert bench.call(SetBool, "gripper", data=True)[0] is False  # not enabled
    assert bench.call(SetBool, "enable", data=True)[0] is True
    assert bench.call(SetBool, "gripper", data=True)[0] is True
    assert bench.arm.gripper == 1.0
    assert bench.call(SetBool, "gripper", data=False)[0] is True
    assert bench.arm.gripper == 0.0


def test_the_links_are_left_to_a_robot_state_publisher_where_one_runs(bench: Bench) -> None:
    bench.start()
    transforms: list[TFMessage] = []
    bench.client.create_subscription(TFMessage, "/tf", transforms.append, 50)
    bench.wait(lambda: len(transforms) > 0)
    other = Node("robot_state_publisher")
    try:
        interface = bench.node._connection.interface
        bench.wait(lambda: not interface._publishes_links)
    finally:
        other.destroy_node()
    bench.wait(lambda: interface._publishes_links)
