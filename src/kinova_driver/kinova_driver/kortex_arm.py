"""A Kinova Gen3 behind the Kortex API: the arm on the table, or a simulated one that speaks the same protocol."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import SpecError
from glam_core.gen3 import JOINT_SPEED_LIMITS_RAD_S, JOINTS
from glam_core.station import ArmConfig
from kinova_driver import faults, units
from kinova_driver.arm import ArmError, ArmState
from kinova_driver.kortex.api import KortexApi, load
from kinova_driver.kortex.connection import Connection, FeedbackStatistics
from kinova_driver.kortex.gripper import GripperStream
from kinova_driver.kortex.link import CallError, Link, Pending
from kinova_driver.kortex.measurement import Measurement, to_kortex_pose, to_kortex_twist

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Call = tuple[str, Any]
"""Name and request of a call."""

_LATE_COMMANDS = 3
"""Commands in a row whose answers may be late."""
_ACTION_S = 60.0
"""No motion of the arm's own lasts longer."""
_SPEED_TOLERANCE = 1.001


class KortexArm:
    """Drives one arm. All methods may be called from any thread.

    After a lost connection or session the arm is connected again by itself, but follows no commands until
    `clear_faults`; `read` names what happened meanwhile.
    """

    def __init__(self, config: ArmConfig, load_api: Callable[..., KortexApi] = load) -> None:
        """Nothing is connected yet.

        Args:
            config: The arm, as in the station file.
            load_api: Chooses the client.
        """
        self._timeouts = config.timeouts
        self._connection = Connection(config, self, load_api)
        self._sending = threading.Lock()  # one motion command at a time, so that a stop comes after it, never before
        self._state = threading.Lock()  # guards what follows; held for moments
        self._epoch = 0
        self._action: tuple[str, float] | None = None
        self._gripper = GripperStream(config.gripper)
        self._streaming = ""
        self._unanswered: deque[Pending] = deque()
        self._late = 0
        self._measuring = threading.Lock()
        self._measurement = Measurement(config.gripper)
        self._measured: tuple[Any, ArmState] | None = None

    def connect(self) -> None:
        """Connects, as the only process of this computer that drives the arm; nothing moves."""
        self._connection.open()
        self._streaming, self._action, self._measured = "", None, None
        self._forget()
        try:
            self.read()
        except ArmError:
            self._connection.close()
            raise

    def disconnect(self) -> None:
        """Stops the arm and closes the connection; harmless when there is none."""
        if self._connection.moving or self._action:
            try:
                self.stop()
            except ArmError as error:
                logger.warning("the arm did not take the stop on the way out: %s", error)
        self._connection.close()

    @property
    def statistics(self) -> FeedbackStatistics:
        """How well the arm is heard."""
        return self._connection.statistics

    def round_trip_s(self, count: int) -> float:
        """Median time from asking for a measurement to having it, s; what is lost does not count.

        Raises:
            ArmError: None of `count` came back.
        """
        link, times = self._connection.require_link(), []
        for _ in range(count):
            before = time.monotonic()
            try:
                link.feedback()
            except CallError as error:
                if not error.timed_out:
                    raise
            else:
                times.append(time.monotonic() - before)
        if not times:
            raise ArmError(f"none of {count} measurements came back from the arm at {link.endpoint}")
        return float(np.median(times))

    def read(self) -> ArmState:
        """The newest measurement, with the faults that the arm and the connection have by now."""
        state, _ = self._measure()
        return replace(state, homing=self._action is not None, faults=(*self._connection.latched, *state.faults))

    # -- commands ------------------------------------------------------------------------------------------------------

    def command_joint_speeds(self, speeds: Array) -> None:
        """Turns the joints at `speeds`, (7,) rad/s, until told otherwise."""
        values = _checked(speeds, (len(JOINTS),), "command of joint speeds")
        limits = np.array(JOINT_SPEED_LIMITS_RAD_S)
        over = [name for name, fast in zip(JOINTS, np.abs(values) > limits * _SPEED_TOLERANCE, strict=True) if fast]
        if over:
            raise ArmError(f"the arm can not turn {', '.join(over)} this fast: {values.round(4).tolist()} rad/s")
        self._stream("joint_speeds", lambda: ("SendJointSpeedsCommand", self._speeds(values)))

    def command_twist(self, twist: Array) -> None:
        """Moves the tool at `twist`, (6,) m/s and rad/s in the base frame, until told otherwise."""
        values = _checked(twist, (6,), "twist")
        self._stream("twist", lambda: ("SendTwistCommand", self._twist(to_kortex_twist(values, *self._measure()))))

    def command_pose(self, T_base_tool: Array) -> None:
        """Starts the arm's own motion of the tool to a pose (4, 4); `ArmState.homing` tells when it is over."""
        goal = _checked(T_base_tool, (4, 4), "pose")

        def make(link: Link) -> Call:
            base = self._connection.messages("Base")
            x, y, z, theta_x, theta_y, theta_z = units.kortex_pose(to_kortex_pose(goal, *self._measure()))
            pose = base.Pose(x=x, y=y, z=z, theta_x=theta_x, theta_y=theta_y, theta_z=theta_z)
            return "ExecuteAction", base.Action(name="pose", reach_pose=base.ConstrainedPose(target_pose=pose))

        self._act("the motion to a pose", make)

    def home(self) -> None:
        """Starts the arm's own motion home; `ArmState.homing` tells when it is over."""

        def make(link: Link) -> Call:
            if link.home is None:
                raise ArmError(f"the arm at {link.endpoint} has no action called Home; restore its default actions")
            return "ExecuteActionFromReference", link.home

        self._act("the motion home", make)

    def command_gripper(self, position: float) -> None:
        """Moves the gripper to `position`, 0 (open) to 1 (closed); sent at the gripper's own pace."""
        try:
            position = units.kortex_finger(position)
        except SpecError as error:
            raise ArmError(str(error)) from error
        self._connection.require_well()
        with self._state:
            self._gripper.ask(position, time.monotonic())
        self._connection.wake()

    def hold(self) -> None:
        """Zero speed; the gripper keeps its grip."""
        if self._action is not None:
            self.stop()
            return
        self._forget()
        if self._streaming == "twist":
            self._halt("SendTwistCommand", self._twist(np.zeros(6)))
        else:
            self._halt("SendJointSpeedsCommand", self._speeds(np.zeros(len(JOINTS))))

    def stop(self) -> None:
        """Ends every motion, also one of the arm's own."""
        self._forget()
        self._halt("Stop")
        self._action = None

    def emergency_stop(self) -> None:
        """Ends every motion and leaves the arm in a fault until `clear_faults`."""
        self._forget()
        self._halt("ApplyEmergencyStop")
        self._action = None

    def clear_faults(self) -> None:
        """Acknowledges the arm's faults and those of the connection, where the connection is well again."""
        link = self._connection.require_link()
        try:
            link.call("ClearFaults")
            link.require_single_level()
        except CallError as error:
            self._connection.judge(link, error)
            raise
        self._unanswered, self._late = deque(), 0
        self._connection.clear(link)

    # -- how commands are sent -----------------------------------------------------------------------------------------

    def _stream(self, kind: str, make: Callable[[], Call]) -> None:
        """Sends a command of the control loop, without waiting for its answer: the next one looks at that."""
        epoch = self._epoch
        self._connection.require_well()
        call = make()
        with self._sending:
            link = self._connection.require_link()
            if epoch != self._epoch:
                raise ArmError("the arm was stopped while the command was on its way")
            if self._action is not None:
                raise ArmError(f"{self._action[0]} is under way; stop it first")
            try:
                self._look_at_answers(link)
                self._streaming = kind
                self._begin_motion()
                self._unanswered.append(link.begin(*call))
            except CallError as error:
                self._connection.judge(link, error)
                raise

    def _look_at_answers(self, link: Link) -> None:
        """Raises CallError for a command that the arm refused; a late answer is no error until it is one of many."""
        now, unanswered = time.monotonic(), self._unanswered
        while unanswered:
            oldest = unanswered[0]
            if not oldest.call.done() and now - oldest.sent_at < self._timeouts.command_s:
                return
            unanswered.popleft()
            if oldest.link is not link:  # of a connection that is lost, which is known
                continue
            try:
                link.conclude(oldest)
            except CallError as error:
                if not error.timed_out:
                    raise
                self._late += 1
                if self._late > _LATE_COMMANDS:
                    self._connection.latch(faults.COMMANDS_LOST, f"{self._late} commands in a row; the last: {error}")
                    raise
            else:
                self._late = 0

    def _act(self, name: str, make: Callable[[Link], Call]) -> None:
        """Starts a motion of the arm's own."""
        epoch = self._epoch
        self._connection.require_well()
        with self._sending:
            link = self._connection.require_link()
            call = make(link)
            if epoch != self._epoch:
                raise ArmError(f"the arm was stopped before {name} began")
            self._action = name, time.monotonic()
            self._begin_motion()
            try:
                link.call(call[0], call[1])
            except CallError as error:
                self._action = None
                self._connection.judge(link, error)
                raise

    def _begin_motion(self) -> None:
        self._connection.moving, self._connection.commanded_at = True, time.monotonic()

    def _halt(self, *call: Any) -> None:
        """Sends what ends a motion: after a command that is on its way, but never long after."""
        link = self._connection.require_link()
        ordered = self._sending.acquire(timeout=2 * self._timeouts.command_s)
        self._connection.commanded_at = time.monotonic()
        try:
            link.command(*call)
            self._connection.moving = False
        except CallError as error:
            self._connection.judge(link, error)
            raise
        finally:
            if ordered:
                self._sending.release()

    def _forget(self) -> None:
        """Whatever is on its way to the arm is not to be sent any more, and whatever was is no concern any more."""
        with self._state:
            self._epoch += 1
            self._gripper.forget()
            self._unanswered, self._late = deque(), 0

    def _speeds(self, speeds: Array) -> Any:
        message = self._connection.messages("Base").JointSpeeds()
        for index, value in enumerate(units.degrees(speeds)):
            message.joint_speeds.add(joint_identifier=index, value=value)
        return message

    def _twist(self, twist: Array) -> Any:
        base, common = self._connection.messages("Base"), self._connection.messages("Common")
        vx, vy, vz, wx, wy, wz = units.kortex_twist(twist)
        return base.TwistCommand(
            reference_frame=common.CARTESIAN_REFERENCE_FRAME_BASE,
            twist=base.Twist(linear_x=vx, linear_y=vy, linear_z=vz, angular_x=wx, angular_y=wy, angular_z=wz),
        )

    def _measure(self) -> tuple[ArmState, Any]:
        """The newest measurement, and the feedback that it comes from."""
        newest = self._connection.newest
        if newest is None:
            raise ArmError("there is no measurement of the arm; call connect first")
        with self._measuring:
            if self._measured is None or self._measured[0] is not newest[0]:
                try:
                    self._measured = newest[0], self._measurement.state(*newest)
                except SpecError as error:
                    raise ArmError(f"the arm's measurement can not be used: {error}") from error
            feedback, state = self._measured
            return state, feedback

    # -- on the connection's threads -----------------------------------------------------------------------------------

    def on_lost(self) -> None:
        """The connection is gone, and with it all that was under way."""
        self._forget()
        self._action = None

    def on_action(self, notification: Any) -> None:
        """A motion of the arm's own ended."""
        base = self._connection.messages("Base")
        if notification.action_event not in (base.ACTION_END, base.ACTION_ABORT):
            return
        action, self._action = self._action, None
        if action is not None and notification.action_event == base.ACTION_ABORT:
            why = faults.error_name(3, notification.abort_details)
            self._connection.latch(faults.ACTION_ABORTED, f"{action[0]} was aborted: {why}")

    def on_duty(self, link: Link) -> float:
        """Moves the gripper, and gives up on a motion of the arm's own that never ends."""
        now = time.monotonic()
        action = self._action
        if action is not None and now - action[1] > _ACTION_S:
            self._action = None
            self._connection.latch(faults.ACTION_ABORTED, f"{action[0]} did not end within {_ACTION_S} s")
        with self._state:
            epoch, position = self._epoch, self._gripper.take(now)
        if position is not None:
            self._move_gripper(link, position, epoch)
        with self._state:
            due = self._gripper.due_at()
        return now + _ACTION_S if due is None else due

    def _move_gripper(self, link: Link, position: float, epoch: int) -> None:
        base = self._connection.messages("Base")
        command = base.GripperCommand(mode=base.GRIPPER_POSITION)
        command.gripper.finger.add(finger_identifier=1, value=position)
        try:
            link.command("SendGripperCommand", command)
        except CallError as error:
            if not error.timed_out:  # a late answer is one all the same; when there is none, the connection finds out
                raise
        with self._state:
            if epoch == self._epoch:
                self._gripper.delivered(position)


def _checked(values: Array, shape: tuple[int, ...], what: str) -> Array:
    try:
        array = units.finite(values, what)
    except SpecError as error:
        raise ArmError(str(error)) from error
    if array.shape != shape:
        raise ArmError(f"a {what} has the shape {shape}, not {array.shape}")
    return array
