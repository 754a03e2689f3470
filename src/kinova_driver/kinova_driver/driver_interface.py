"""The topics and services of one driver: messages in, one call into the driver, messages out."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from glam_core.errors import ConfigurationError, GlamError, closest
from glam_core.gen3 import JOINTS
from glam_core.kinematics import finger_poses, link_poses
from glam_msgs.msg import CommandReport, ToolCommand, ToolState
from kinova_driver import messages
from kinova_driver.arm import ArmState
from kinova_driver.driver import Driver, Mode, Request, Sent
from kinova_driver.urdf import gen3_urdf

BASE_FRAME = "base_link"
TOOL_FRAME = "tool"
STATE_PUBLISHER = "robot_state_publisher"
"""Where a node of this name runs, the links on /tf and the description are its work."""

_QUEUE = QoSProfile(depth=5)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LOG_PERIOD_S = 2.0
_WINDOW = 400
_LEVELS = {
    Mode.ENABLED: DiagnosticStatus.OK,
    Mode.HELD: DiagnosticStatus.OK,
    Mode.HOMING: DiagnosticStatus.OK,
    Mode.DISABLED: DiagnosticStatus.WARN,
    Mode.STOPPED: DiagnosticStatus.WARN,
    Mode.EMERGENCY: DiagnosticStatus.ERROR,
}


@runtime_checkable
class Heard(Protocol):
    """An arm whose measurements may be lost on the way."""

    @property
    def statistics(self) -> object:
        """A dataclass: how well it is heard."""
        ...


Answer = TypeVar("Answer", SetBool.Response, Trigger.Response)


class DriverInterface:
    """What a driver node publishes and serves between being configured and being cleaned up."""

    def __init__(self, node: Node, driver: Driver, arm: str, backend: str, is_active: Callable[[], bool]) -> None:
        """Makes publishers, subscription and services; all of them relative to the node's namespace.

        Args:
            node: The node that they belong to.
            driver: What decides.
            arm: Name of the arm.
            backend: What stands behind it, for people.
            is_active: Whether the node's lifecycle lets the arm be enabled.
        """
        self._node, self._driver, self._arm, self._backend, self._is_active = node, driver, arm, backend, is_active
        namespace = node.get_namespace().lstrip("/")
        self._prefix = f"{namespace}/" if namespace else ""  # of every frame and joint
        self._logged = driver.mode
        self._said: dict[str, float] = {}
        self._state: ArmState | None = None
        self._accepted = self._rejected = 0
        self._tick_times: deque[float] = deque(maxlen=_WINDOW)
        self._ages: deque[float] = deque(maxlen=_WINDOW)
        self._publishers: list[Publisher] = []
        self._joint_states = self._publisher(JointState, "joint_states")
        self._tool_state = self._publisher(ToolState, "tool_state")
        self._reports = self._publisher(CommandReport, "command_report")
        self._transforms = self._publisher(TFMessage, "/tf")
        self._diagnostics = self._publisher(DiagnosticArray, "/diagnostics")
        self._wrench = self._publisher(WrenchStamped, "wrench")
        self._description = self._publisher(String, "robot_description", _LATCHED)
        self._publishes_links, self._described = True, False
        self._commands = [
            node.create_subscription(ToolCommand, "command", self._on_command, _QUEUE),
            node.create_subscription(JointState, "joint_speeds", self._on_joint_speeds, _QUEUE),
            node.create_subscription(Bool, "deadman", self._on_deadman, _QUEUE),
        ]
        triggers = {
            "stop": driver.stop,
            "emergency_stop": driver.emergency_stop,
            "reset": driver.reset,
            "clear_faults": driver.clear_faults,
            "home": lambda: driver.home(time.monotonic()),
        }
        self._services = [node.create_service(Trigger, name, self._serve(action)) for name, action in triggers.items()]
        self._services.append(node.create_service(SetBool, "enable", self._on_enable))
        self._services.append(node.create_service(SetBool, "gripper", self._on_gripper))

    def close(self) -> None:
        """Takes everything down."""
        for service in self._services:
            self._node.destroy_service(service)
        for subscription in self._commands:
            self._node.destroy_subscription(subscription)
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def tick(self, now: float) -> None:
        """One control tick of the driver, and what there is to say about it."""
        tick = self._driver.tick(now)
        sent_at = time.monotonic()  # to send is the last thing that the driver does
        self._tick_times.append(now)
        if tick.mode is not self._logged:
            self._node.get_logger().info(f"{tick.mode}" + (f": {tick.reason}" if tick.reason else ""))
            self._logged = tick.mode
        if tick.sent is not None:
            self._report(tick.sent, sent_at)
        if tick.state is not None and tick.state is not self._state:
            self._publish_state(tick.state)
        self._state = tick.state

    def diagnose(self, now: float) -> None:
        """Publishes rates, ages, counts and the driver's mode."""
        driver, state = self._driver, self._state
        self._find_state_publisher()
        gaps = np.diff(self._tick_times) if len(self._tick_times) > 1 else np.array([np.nan])
        ages = np.array(self._ages) if self._ages else np.array([np.nan])
        values: dict[str, object] = {
            "mode": driver.mode,
            "reason": driver.reason,
            "watchdog": driver.watchdog.verdict(now),
            "backend": self._backend,
            "rate_hz": float(1.0 / gaps.mean()),
            "period_p99_ms": float(1e3 * np.percentile(gaps, 99)),
            "state_age_ms": 1e3 * (now - state.stamp) if state else float("nan"),
            "observation_age_median_ms": float(1e3 * np.median(ages)),
            "observation_age_p99_ms": float(1e3 * np.percentile(ages, 99)),
            "commands_accepted": self._accepted,
            "commands_rejected": self._rejected,
            "faults": ", ".join(state.faults) if state else "unknown",
            "arm_state": state.arm_state if state else "unknown",
            "deadman": driver.deadman.released(now) or ("held" if driver.deadman.demanded else "not demanded"),
            "links": "published" if self._publishes_links else f"left to {STATE_PUBLISHER}",
        }
        if isinstance(driver.arm, Heard):
            values |= {f"feedback.{name}": value for name, value in vars(driver.arm.statistics).items()}
        values |= {f"clamps.{name}": count for name, count in sorted(driver.clamp_counts.items())}
        level = _LEVELS[driver.mode] if state is not None else DiagnosticStatus.STALE
        text = f"{driver.mode}: {driver.reason}" if driver.reason else str(driver.mode)
        message = messages.diagnostics_message(level, f"driver {self._arm}", text, f"gen3 ({self._backend})", values)
        self._diagnostics.publish(message)

    def _publisher(self, kind: type, topic: str, profile: QoSProfile = _QUEUE) -> Publisher:
        # A lifecycle node's own publishers are managed; these live as long as the interface.
        publisher = Node.create_publisher(self._node, kind, topic, profile, event_callbacks=messages.NO_EVENTS)
        self._publishers.append(publisher)
        return publisher

    def _on_command(self, message: ToolCommand) -> None:
        try:
            if message.arm != self._arm:
                raise ConfigurationError("command rejected: " + closest(message.arm, (self._arm,), "arm"))
            frame = self._prefix + BASE_FRAME
            if message.header.frame_id != frame:
                given = message.header.frame_id
                raise ConfigurationError(f"command rejected: {closest(given, (frame,), 'frame')}")
            self._accept(messages.request_from_message(message))
        except GlamError as error:
            self._reject(error)

    def _on_joint_speeds(self, message: JointState) -> None:
        try:
            lifetime_s = self._driver.safety.limits.command_timeout_s
            self._accept(messages.joint_request_from_message(message, self._prefix, lifetime_s))
        except GlamError as error:
            self._reject(error)

    def _on_deadman(self, message: Bool) -> None:
        self._driver.deadman.hear(message.data, time.monotonic())

    def _accept(self, request: Request) -> None:
        self._driver.accept(request, time.monotonic())
        self._accepted += 1

    def _reject(self, error: GlamError) -> None:
        self._rejected += 1
        if self._may_say("rejected"):
            self._node.get_logger().warning(str(error))

    def _report(self, sent: Sent, sent_at: float) -> None:
        self._ages.append(sent_at - sent.request.observed_at)
        self._reports.publish(messages.report_message(sent, sent_at, self._arm, self._prefix + BASE_FRAME))
        for clamp in sent.clamps:
            if self._may_say(clamp.name):
                text = f"{clamp.name}: asked for {clamp.asked:.4g}, sent {clamp.given:.4g}"
                self._node.get_logger().info(text)

    def _may_say(self, what: str) -> bool:
        """Whether it is time to say it again; a logger's own throttle looks for its caller first, which takes long."""
        now = time.monotonic()
        due = now - self._said.get(what, -math.inf) >= _LOG_PERIOD_S
        if due:
            self._said[what] = now
        return due

    def _publish_state(self, state: ArmState) -> None:
        base = self._prefix + BASE_FRAME
        self._tool_state.publish(messages.tool_state_message(state, self._arm, base))
        self._joint_states.publish(messages.joint_state_message(state, self._prefix))
        if self._wrench.get_subscription_count():
            self._wrench.publish(messages.wrench_message(state, base))
        if not self._transforms.get_subscription_count():
            return  # the links are half of a tick's work
        frames = [(base, self._prefix + TOOL_FRAME, state.tool.T_base_tool)]
        if self._publishes_links and len(state.joint_names) == len(JOINTS):
            parent = base
            for name, T in link_poses(state.positions):
                frames.append((parent, self._prefix + name, T))
                parent = self._prefix + name
            frames += [(parent, self._prefix + name, T) for name, T in finger_poses(state.tool.gripper)]
        stamp = messages.stamp_from_monotonic(state.stamp)
        self._transforms.publish(messages.transforms_message(frames, stamp))

    def _find_state_publisher(self) -> None:
        """Leaves the links to a node that makes them of the joint states, while one runs in this namespace."""
        here = self._node.get_namespace()
        found = (STATE_PUBLISHER, here) in self._node.get_node_names_and_namespaces()
        if found is self._publishes_links:
            whose = f"left to {STATE_PUBLISHER}" if found else "published from here"
            self._node.get_logger().info(f"links of the arm on /tf: {whose}")
        self._publishes_links = not found
        jointed = self._state is not None and len(self._state.joint_names) == len(JOINTS)
        if self._publishes_links and jointed and not self._described:
            self._description.publish(String(data=gen3_urdf(self._prefix)))
            self._described = True

    def _serve(self, action: Callable[[], None]) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        return lambda request, response: self._answer(action, response)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self._answer(self._enable if request.data else self._driver.disable, response)

    def _on_gripper(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """True closes it, false opens it."""
        position = 1.0 if request.data else 0.0
        return self._answer(lambda: self._driver.move_gripper(position, time.monotonic()), response)

    def _enable(self) -> None:
        if not self._is_active():
            raise ConfigurationError("the driver node is not active; activate it first")
        self._driver.enable(time.monotonic())

    def _answer(self, action: Callable[[], None], response: Answer) -> Answer:
        """Does something and tells whether it worked."""
        try:
            action()
            response.success, response.message = True, f"{self._driver.mode}: {self._driver.reason}"
        except GlamError as error:
            response.success, response.message = False, str(error)
        return response
