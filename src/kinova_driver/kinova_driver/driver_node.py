"""The driver as a lifecycle node: commands in, measurements and reports out; `driver.py` decides."""

from __future__ import annotations

import atexit
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from glam_core.errors import ConfigurationError, GlamError, closest
from glam_core.safety import SafetyFilter
from glam_core.station import ArmConfig, load_station
from glam_msgs.msg import CommandReport, ToolCommand, ToolState
from kinova_driver import messages
from kinova_driver.arm import Arm, ArmState
from kinova_driver.driver import Driver, DriverLimits, Mode, Sent
from kinova_driver.kinematics import JOINT_COUNT, link_poses
from kinova_driver.params import declare, parameter
from kinova_driver.process import run
from kinova_driver.watchdog import Watchdog, WatchdogLimits, WatchdogThread

TOOL_FRAME = "tool"
_QUEUE = QoSProfile(depth=5)
_DIAGNOSTICS_PERIOD_S = 1.0
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


@dataclass(frozen=True)
class DriverParameters:
    """Parameters of the driver node."""

    station: str = parameter("", "path of the station file")
    arm: str = parameter("", "name of the arm in the station file; empty for the first one")
    autostart: bool = parameter(True, "configure and activate without being told by a lifecycle manager")
    max_state_age_s: float = parameter(0.1, "an older measurement holds the arm, s", 0.001, 1.0)
    max_following_error_m: float = parameter(0.1, "distance from the command that counts as lost, m", 0.001, 1.0)
    following_timeout_s: float = parameter(0.5, "how long it may be lost before it is stopped, s", 0.001, 10.0)


class DriverNode(LifecycleNode):
    """Drives one arm. It follows commands only while the lifecycle is active and a person has enabled it."""

    def __init__(self, make_arm: Callable[[ArmConfig], Arm], arm: str = "", namespace: str = "") -> None:
        """Declares the parameters.

        Args:
            make_arm: Makes the backend of an arm; called when the node is configured.
            arm: Default of the parameter `arm`.
            namespace: ROS namespace of the arm's topics.
        """
        super().__init__("driver", namespace=namespace)
        self._make_arm = make_arm
        self._settings = declare(self, DriverParameters)
        self._arm_name = self._settings.arm or arm
        self._frames = self.get_namespace().lstrip("/")  # a prefix of every frame and joint of an arm in a namespace
        if self._frames:
            self._frames += "/"
        self._driver: Driver | None = None
        self._thread: WatchdogThread | None = None
        self._entities: list[tuple[Callable, object]] = []
        self._active_timers: list = []
        self._logged = Mode.DISABLED
        self._ticked_at = 0.0
        self._woken = self.create_guard_condition(self._tick)

    def autostart(self) -> None:
        """Configures and activates, unless the parameter says that a manager does so; raises where that fails."""
        if not self._settings.autostart:
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() is not TransitionCallbackReturn.SUCCESS:
                raise ConfigurationError(f"{self.get_fully_qualified_name()} did not start; its log says why")

    def close(self) -> None:
        """Leaves the arm at rest and disconnects, whatever the state; harmless when repeated."""
        self._rest("the driver node ends")
        self._disconnect()
        self.destroy_node()

    def wake(self) -> None:
        """There is a new measurement: answers it at once instead of at the timer. May be called from any thread."""
        if self._active_timers:
            self._woken.trigger()

    def reset_driver(self) -> None:
        """Leaves any stop; the driver waits to be enabled."""
        if self._driver is not None:
            self._driver.reset()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Reads the station file and connects to the arm."""
        try:
            self._connect()
        except GlamError as error:
            self.get_logger().error(f"can not be configured: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it
            self.get_logger().fatal(f"can not be configured: {type(error).__name__}: {error}")
            raise
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts ticking; the arm still waits to be enabled."""
        driver = self._driver
        self._thread = WatchdogThread(driver.watchdog, driver.arm.hold, driver.arm.stop)
        self._thread.start()
        self._active_timers = [
            self.create_timer(self._period_s, self._tick),
            self.create_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose),
        ]
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops the arm."""
        self._rest("the driver node is inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Disconnects."""
        self._disconnect()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops the arm and disconnects."""
        self._rest("the driver node shuts down")
        self._disconnect()
        return TransitionCallbackReturn.SUCCESS

    def _connect(self) -> None:
        p = self._settings
        if not p.station:
            raise ConfigurationError("the parameter 'station' is empty; give the path of a station file")
        station = load_station(p.station)
        config = station.arm(self._arm_name or station.arm_names[0])
        safety = station.limits(config.name)
        arm = self._make_arm(config)
        arm.connect()
        limits = DriverLimits(p.max_state_age_s, p.max_following_error_m, p.following_timeout_s)
        watchdog = Watchdog(WatchdogLimits(safety.command_timeout_s, safety.stop_timeout_s))
        self._arm_name, self._backend, self._period_s = config.name, config.backend, 1.0 / station.rates.control_hz
        self._driver = Driver(arm, SafetyFilter(safety, config.name), watchdog, limits)
        self._tick_times: deque[float] = deque(maxlen=_WINDOW)
        self._ages: deque[float] = deque(maxlen=_WINDOW)
        self._state: ArmState | None = None
        self._accepted = 0
        self._make_interfaces()
        atexit.register(arm.stop)

    def _disconnect(self) -> None:
        if self._driver is None:
            return
        atexit.unregister(self._driver.arm.stop)
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []
        self._driver.arm.disconnect()
        self._driver = None

    def _rest(self, reason: str) -> None:
        """Stops the arm, then the timers and the watchdog."""
        if self._driver is not None:
            self._driver.disable(reason)
        for timer in self._active_timers:
            self.destroy_timer(timer)
        self._active_timers = []
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def _make_interfaces(self) -> None:
        def publisher(kind: type, topic: str) -> object:
            made = Node.create_publisher(self, kind, topic, _QUEUE, event_callbacks=messages.NO_EVENTS)
            self._entities.append((self.destroy_publisher, made))
            return made

        self._joint_states = publisher(JointState, "joint_states")
        self._tool_state = publisher(ToolState, "tool_state")
        self._reports = publisher(CommandReport, "command_report")
        self._transforms = publisher(TFMessage, "/tf")
        self._diagnostics = publisher(DiagnosticArray, "/diagnostics")
        subscription = self.create_subscription(ToolCommand, "command", self._on_command, _QUEUE)
        self._entities.append((self.destroy_subscription, subscription))
        driver = self._driver
        triggers = {
            "stop": driver.stop,
            "emergency_stop": driver.emergency_stop,
            "reset": driver.reset,
            "clear_faults": driver.clear_faults,
            "home": driver.home,
        }
        services = [self.create_service(Trigger, name, self._answer(action)) for name, action in triggers.items()]
        services.append(self.create_service(SetBool, "enable", self._on_enable))
        self._entities += [(self.destroy_service, service) for service in services]

    # Commands and measurements

    def _on_command(self, message: ToolCommand) -> None:
        try:
            if message.arm != self._arm_name:
                raise ConfigurationError(closest(message.arm, (self._arm_name,), "arm") + "; command rejected")
            self._driver.accept(messages.request_from_message(message), time.monotonic())
            self._accepted += 1
        except GlamError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=_LOG_PERIOD_S)

    def _tick(self) -> None:
        now = time.monotonic()
        if (
            not self._active_timers or now - self._ticked_at < self._period_s / 2
        ):  # woken and timed at about the same moment
            return
        self._active_timers[0].reset()
        self._ticked_at = now
        self._tick_times.append(now)
        tick = self._driver.tick(now)
        if tick.mode is not self._logged:
            self.get_logger().info(f"{tick.mode}" + (f": {tick.reason}" if tick.reason else ""))
            self._logged = tick.mode
        if tick.sent is not None:
            self._report(tick.sent)
        if tick.state is not None and tick.state is not self._state:
            self._publish_state(tick.state)
        self._state = tick.state

    def _report(self, sent: Sent) -> None:
        self._ages.append(sent.at - sent.request.observed_at)
        self._reports.publish(messages.report_message(sent, self._arm_name, f"{self._frames}base_link"))
        for clamp in sent.clamps:
            text = f"{clamp.name}: asked for {clamp.asked:.4g}, sent {clamp.given:.4g}"
            self.get_logger().info(text, throttle_duration_sec=_LOG_PERIOD_S)

    def _publish_state(self, state: ArmState) -> None:
        base = f"{self._frames}base_link"
        stamp = messages.stamp_from_monotonic(state.stamp)
        self._tool_state.publish(messages.tool_state_message(state, self._arm_name, base))
        self._joint_states.publish(messages.joint_state_message(state, self._frames))
        frames = [(base, self._frames + TOOL_FRAME, state.tool.T_base_tool)]
        if len(state.joint_names) == JOINT_COUNT:
            parent = base
            for name, T in link_poses(state.positions):
                frames.append((parent, self._frames + name, T))
                parent = self._frames + name
        self._transforms.publish(messages.transforms_message(frames, stamp))

    # Services

    def _answer(self, action: Callable[[], None]) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """A service that does something and tells whether it worked."""

        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                action()
                response.success, response.message = True, f"{self._driver.mode}: {self._driver.reason}"
            except GlamError as error:
                response.success, response.message = False, str(error)
            return response

        return serve

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._thread is None and request.data:
            response.success, response.message = False, "the driver node is not active; activate it first"
            return response
        enable = (lambda: self._driver.enable(time.monotonic())) if request.data else self._driver.disable
        return self._answer(enable)(request, response)

    # Health

    def _diagnose(self) -> None:
        driver, now = self._driver, time.monotonic()
        gaps = np.diff(self._tick_times) if len(self._tick_times) > 1 else np.array([np.nan])
        ages = np.array(self._ages) if self._ages else np.array([np.nan])
        state = self._state
        values = {
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
            "commands_rejected": driver.rejected,
            "faults": ", ".join(state.faults) if state else "unknown",
        }
        values |= {f"clamps.{name}": count for name, count in sorted(driver.clamp_counts.items())}
        level = _LEVELS[driver.mode] if state is not None else DiagnosticStatus.STALE
        text = f"{driver.mode}: {driver.reason}" if driver.reason else str(driver.mode)
        hardware = f"gen3 ({self._backend})"
        self._diagnostics.publish(
            messages.diagnostics_message(level, f"driver {self._arm_name}", text, hardware, values)
        )


def main() -> None:
    """Drives one arm of a station in a process of its own; a simulated one in a cell without cameras."""
    from kinova_driver.cell_clock import CellClock
    from kinova_driver.simulator import SimulatedArm

    def build(stack: ExitStack) -> list[Node]:
        def simulated(config: ArmConfig) -> Arm:
            if config.backend != "simulated":
                raise ConfigurationError(closest(config.backend, ("simulated",), "backend of an arm"))
            clock = CellClock("gen3", "lift", seed=0)
            stack.callback(clock.close)
            clock.start()
            return SimulatedArm(clock, config.name)

        node = DriverNode(simulated)
        node.autostart()
        stack.callback(node.close)
        return [node]

    sys.exit(run(build))
