"""The driver as a lifecycle node: configured means connected, active means ticking; a person then enables it."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.timer import Timer

from glam_core.deadman import Deadman
from glam_core.errors import ConfigurationError, GlamError
from glam_core.limits import SafetyLimits
from glam_core.safety import SafetyFilter
from glam_core.scheduling import DRIVER, real_time
from glam_core.station import SIMULATED, ArmConfig, load_station
from kinova_driver.actuation import Actuation, JointActuation, PoseActuation
from kinova_driver.arm import Arm, ArmError
from kinova_driver.driver import Driver, DriverLimits
from kinova_driver.driver_interface import DriverInterface
from kinova_driver.guardian import AFTER_S, Guardian
from kinova_driver.params import declare, parameter
from kinova_driver.process import quick_executor, run
from kinova_driver.watchdog import Watchdog, WatchdogLimits, WatchdogThread

_DIAGNOSTICS_PERIOD_S = 1.0
_LOOPBACK = "127.0.0.1"
_RETRY_S = 0.2


@dataclass(frozen=True)
class DriverParameters:
    """Parameters of the driver node."""

    station: str = parameter("", "path of the station file")
    arm: str = parameter("", "name of the arm in the station file; empty for the first one")
    autostart: bool = parameter(True, "configure and activate without being told by a lifecycle manager")
    max_state_age_s: float = parameter(0.1, "an older measurement holds the arm, s", 0.001, 1.0)
    max_following_error_m: float = parameter(0.1, "distance from the command that counts as lost, m", 0.001, 1.0)
    following_timeout_s: float = parameter(0.5, "how long it may be lost before it is stopped, s", 0.001, 10.0)
    patience_s: float = parameter(30.0, "how long a simulated arm may take to come up, s", 0.0, 600.0)
    guardian: bool = parameter(True, "stop the arm from a process of its own where this one does not")
    address: str = parameter("", "where the arm is, instead of the station file's address")
    tcp_port: int = parameter(0, "where it takes commands, instead of the station file's; 0 for that one", 0, 65535)
    udp_port: int = parameter(0, "where it gives feedback, instead of the station file's; 0 for that one", 0, 65535)


@dataclass(frozen=True)
class _Connection:
    """What exists from being configured to being cleaned up."""

    driver: Driver
    interface: DriverInterface
    period_s: float
    guardian: Guardian | None


class DriverNode(LifecycleNode):
    """Drives one arm. It follows commands only while the lifecycle is active and a person has enabled it."""

    def __init__(
        self, make_arm: Callable[[ArmConfig], Arm], arm: str = "", namespace: str = "", follows_poses: bool = False
    ) -> None:
        """Declares the parameters.

        Args:
            make_arm: Makes the backend of an arm; called when the node is configured.
            arm: Default of the parameter `arm`.
            namespace: ROS namespace of the arm's topics.
            follows_poses: The backend follows poses by itself, in this process, instead of joint speeds over a wire.
        """
        super().__init__("driver", namespace=namespace)
        self._make_arm, self._follows_poses = make_arm, follows_poses
        try:
            self._settings = declare(self, DriverParameters)
        except ConfigurationError:
            self.destroy_node()
            raise
        self._arm_name = self._settings.arm or arm
        self._connection: _Connection | None = None
        self._watching: WatchdogThread | None = None
        self._timer: Timer | None = None
        self._ticked_at = self._diagnosed_at = 0.0
        # Not every executor serves guard conditions; only an arm of this process has measurements to tell of.
        self._woken = self.create_guard_condition(self._on_measured) if follows_poses else None

    def autostart(self) -> None:
        """Configures and activates, unless the parameter says that a manager does so; raises where that fails."""
        if not self._settings.autostart:
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() is not TransitionCallbackReturn.SUCCESS:
                raise ConfigurationError(f"{self.get_fully_qualified_name()} did not start; its log says why")

    def close(self) -> None:
        """Leaves the arm at rest and disconnects, whatever the state."""
        self._rest("the driver node ends")
        self._disconnect()
        self.destroy_node()

    def destroy_node(self) -> None:
        """Leaves ROS, together with the lifecycle's services, which rclpy forgets: they would keep the node in DDS."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def wake(self) -> None:
        """There is a new measurement: answers it at once instead of at the timer. May be called from any thread."""
        with suppress(InvalidHandle):  # the node has just ended
            if self._woken is not None:
                self._woken.trigger()

    def reset_driver(self) -> None:
        """Leaves any stop; the driver waits to be enabled."""
        if self._connection is not None:
            self._connection.driver.reset()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Reads the station file and connects to the arm."""
        try:
            self._connection = self._connect()
        except GlamError as error:
            self.get_logger().error(f"can not be configured: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it
            self.get_logger().fatal(f"can not be configured: {type(error).__name__}: {error}")
            raise
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts ticking; the arm still waits to be enabled."""
        assert self._connection is not None
        driver = self._connection.driver
        self._watching = WatchdogThread(driver.watchdog, driver.arm.hold, driver.arm.stop)
        self._watching.start()
        self._timer = self.create_timer(self._connection.period_s, self._tick)
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

    def _connect(self) -> _Connection:
        settings = self._settings
        if not settings.station:
            raise ConfigurationError("the parameter 'station' is empty; give the path of a station file")
        station = load_station(settings.station)
        name = self._arm_name or station.arm_names[0]
        config = self._located(station.reached(name, self.context.get_domain_id()))
        safety = station.limits(config.name)
        self.get_logger().info(f"limits of arm '{config.name}':\n{safety.describe()}")
        if not config.deadman:
            self.get_logger().info("commands move the arm without a deadman switch, as the station file says")
        limits = DriverLimits(settings.max_state_age_s, settings.max_following_error_m, settings.following_timeout_s)
        early = WatchdogLimits.ahead_of(safety.command_timeout_s, safety.stop_timeout_s)
        arm = self._make_arm(config)
        with ExitStack() as undo:
            _connect_patiently(arm, self._settings.patience_s if config.backend == SIMULATED else 0.0)
            undo.callback(arm.disconnect)
            guardian = self._make_guardian(config, early)
            if guardian is not None:
                undo.callback(guardian.close)
                guardian.start()
            actuation = self._make_actuation(arm, config, safety)
            actuation.check(arm.read())
            undo.pop_all()
        atexit.register(arm.stop)
        driver = Driver(
            arm,
            actuation,
            SafetyFilter(safety, config.name),
            Watchdog(early, guardian.heartbeat if guardian else None),
            limits,
            Deadman(config.deadman, safety.command_timeout_s),
        )
        interface = DriverInterface(self, driver, config.name, config.backend, lambda: self._watching is not None)
        return _Connection(driver, interface, 1.0 / station.rates.control_hz, guardian)

    def _located(self, config: ArmConfig) -> ArmConfig:
        """The arm where the parameters say that it is."""
        settings = self._settings
        where: dict[str, object] = {"address": settings.address or config.address or _LOOPBACK}
        where |= {name: port for name in ("tcp_port", "udp_port") if (port := getattr(settings, name))}
        return ArmConfig.model_validate(config.model_dump() | where)

    def _make_guardian(self, config: ArmConfig, limits: WatchdogLimits) -> Guardian | None:
        """A guardian where the arm is beyond a wire; an arm of this very process ends with it."""
        if self._follows_poses or not self._settings.guardian:
            return None
        return Guardian(config, limits.hold_s + AFTER_S)

    def _make_actuation(self, arm: Arm, config: ArmConfig, safety: SafetyLimits) -> Actuation:
        if self._follows_poses:
            return PoseActuation(arm)
        return JointActuation(arm, safety, config.name, config.command, config.command_latency_s)

    def _disconnect(self) -> None:
        if self._connection is None:
            return
        arm = self._connection.driver.arm
        atexit.unregister(arm.stop)
        self._connection.interface.close()
        if self._connection.guardian is not None:
            self._connection.guardian.close()
        arm.disconnect()
        self._connection = None

    def _rest(self, reason: str) -> None:
        """Stops the arm, then the timer and the watchdog."""
        if self._connection is not None:
            self._connection.driver.disable(reason)
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._watching is not None:
            self._watching.close()
            self._watching = None

    def _on_measured(self) -> None:
        if self._timer is not None:
            self._timer.reset()  # in step with the measurements; a timer left alone keeps a steady beat of its own
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        if self._connection is None or now - self._ticked_at < self._connection.period_s / 2:
            return  # woken and timed at about the same moment
        self._ticked_at = now
        self._connection.interface.tick(now)
        if now - self._diagnosed_at >= _DIAGNOSTICS_PERIOD_S:  # right after a tick it delays no other one
            self._diagnosed_at = now
            self._connection.interface.diagnose(time.monotonic())


def _connect_patiently(arm: Arm, patience_s: float) -> None:
    """Connects; a simulated arm may take a while to come up."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            arm.connect()
            return
        except ArmError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def kortex_arm(config: ArmConfig) -> Arm:
    """A real Kinova, or a simulated one that speaks like it."""
    from kinova_driver.kortex_arm import KortexArm

    return KortexArm(config)


def main() -> None:
    """Drives one arm of a station in a process of its own."""
    sys.setswitchinterval(0.001)  # feedback, watchdog and callbacks share the interpreter: none shall wait long
    permitted = real_time(DRIVER)

    def build(stack: ExitStack) -> list[Node]:
        node = DriverNode(kortex_arm)
        if not permitted:
            node.get_logger().info("no real-time priority (limit rtprio): other programs may make commands unsteady")
        stack.callback(node.close)
        node.autostart()
        return [node]

    sys.exit(run(build, quick_executor))
