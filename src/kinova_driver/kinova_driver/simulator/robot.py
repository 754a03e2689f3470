"""The simulated arm itself: servoing modes, motions, actions, faults. No sockets, no physics; time is an argument.

      command ──► motion ──► speeds within limits ──► set-point ──► drive ──► joints ──► measurement
                  (never expires)                                    (a position loop about the set-point)

A joint-speed or twist command moves the arm until another one, `stop`, a fault, or the silence of the session that it
came from. Everything is in SI units and radians; joints count from 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import GlamError
from kinova_driver.simulator import limits
from kinova_driver.simulator.chain import Chain
from kinova_driver.simulator.gripper import Gripper, GripperDrive
from kinova_driver.simulator.limits import JOINT_COUNT, SoftLimits
from kinova_driver.simulator.motions import JointSpeeds, Motion, Path, Rest, Twist

Array = NDArray[np.float64]

BASE = 0
"""The device that is the base; joint `i` is the device `i + 1`."""
NOBODY, THIEF = 0, 0xFFFF
"""Sessions that no client has: none, and the one that takes the arm away from everybody."""

_STIFFNESS_1_S = 15.0
_FORGETTING_1_S = 1.0
"""While it moves, a set-point that its joint can not follow comes back to it at this rate: a hand that leans on
something is no following error, a joint that stands still is."""
_LOW_LEVEL_SILENCE_S = 0.1
_RESTING_RAD_S = 1e-4
_LONGEST_STEP_S = 0.005
"""A clock that jumps does not make the set-point jump."""


class Refusal(GlamError):
    """A command is refused: the name of the sub-error, and the text that goes with it."""

    def __init__(self, sub_error: str, text: str) -> None:
        super().__init__(text)
        self.sub_error, self.text = sub_error, text


class ArmState(IntEnum):
    """What the arm says of itself, with the numbers of the wire."""

    IN_FAULT = 4
    SERVOING_LOW_LEVEL = 6
    SERVOING_READY = 7
    SERVOING_PLAYING_SEQUENCE = 8
    SERVOING_MANUALLY_CONTROLLED = 9


class ServoingMode(IntEnum):
    """Who closes the loop, with the numbers of the wire."""

    SINGLE_LEVEL = 2
    LOW_LEVEL = 3
    BYPASS = 4


class JointMode(IntEnum):
    """What an actuator follows in low-level servoing, with the numbers of the wire."""

    POSITION = 1
    VELOCITY = 2
    TORQUE = 3


class Axes(Enum):
    """Along which axes a twist is given."""

    MIXED = "linear along the base's, angular along the tool's"
    TOOL = "the tool's"
    BASE = "the base's"


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the joints and fingers do.

    Attributes:
        positions: `(7,)` rad, any number of turns.
        speeds: `(7,)` rad/s.
        torques: `(7,)` N m that the motors exert, gravity's share included.
        gravity: `(7,)` N m of them that hold the arm's weight.
        gripper: 0 (open) to 1 (closed).
        gripper_speed: Its rate, 1/s.
        wrench: `(6,)` force (N) and torque (N m) from outside on the tool, base frame.
    """

    positions: Array
    speeds: Array
    torques: Array = field(default_factory=lambda: np.zeros(JOINT_COUNT))
    gravity: Array = field(default_factory=lambda: np.zeros(JOINT_COUNT))
    gripper: float = 0.0
    gripper_speed: float = 0.0
    wrench: Array = field(default_factory=lambda: np.zeros(6))


@dataclass(frozen=True, eq=False)
class Drive:
    """What the joints and fingers are told until the next step.

    Attributes:
        speeds: `(7,)` rad/s for the velocity servos.
        torques: `(7,)` N m beyond gravity for joints in torque mode, NaN for the others.
        gripper: For the fingers.
    """

    speeds: Array
    torques: Array
    gripper: GripperDrive


@dataclass(frozen=True)
class JointCommand:
    """What low-level servoing tells one actuator: all three, of which its mode picks one. SI units."""

    position: float
    speed: float
    torque: float


@dataclass(frozen=True)
class ActionName:
    """Which action: its identifier, 0 for one that is not stored, and its type by the number of the wire."""

    identifier: int
    kind: int


@dataclass(frozen=True)
class Event:
    """Something that clients may be told: `what` is ACTION_START, ARM_STATE and so on."""

    what: str
    action: ActionName | None = None
    abort: str = ""
    """Why an action was aborted: the name of a sub-error."""
    value: int = 0
    """The new arm state or servoing mode; the device of a fault."""
    fault: str = ""
    active: bool = False
    session: int = NOBODY


Stage = Callable[[Array], Path]
"""Plans a path from the set-point `(7,)` that the arm is at by then."""


@dataclass
class _Action:
    name: ActionName
    stages: deque[Stage]


class Robot:
    """One arm. Whoever calls it from several threads holds a lock around every call."""

    def __init__(self, chain: Chain, start: Measurement) -> None:
        """Powers the arm up at rest, in single-level servoing."""
        self.chain = chain
        self.measured = start
        self.mode = ServoingMode.SINGLE_LEVEL
        self.joint_modes = [JointMode.POSITION] * JOINT_COUNT
        self.soft_limits = SoftLimits()
        self.gripper = Gripper()
        self.events: deque[Event] = deque()
        self.lost_joints: frozenset[int] = frozenset()
        """Joints that do not follow, as after a broken belt."""
        self.jammed = False
        """The gripper does not move."""
        self._faults: dict[tuple[int, str], bool] = {}
        self._motion: Motion = Rest()
        self._action: _Action | None = None
        self._owner, self._stolen = NOBODY, False
        self._joint_commands: Sequence[JointCommand] = ()
        self._refreshed_at = -np.inf
        self._set_point, self._speeds = start.positions.copy(), np.zeros(JOINT_COUNT)
        self._stepped_at: float | None = None
        self.steps = 0
        """Counts the measurements."""
        self._state = ArmState.SERVOING_READY

    # What it says of itself

    @property
    def state(self) -> ArmState:
        """Its arm state."""
        if self._faults:
            return ArmState.IN_FAULT
        if self.mode is ServoingMode.LOW_LEVEL:
            return ArmState.SERVOING_LOW_LEVEL
        if self._action is not None:
            return ArmState.SERVOING_PLAYING_SEQUENCE
        if self._commanded or np.abs(self._speeds).max() > _RESTING_RAD_S:
            return ArmState.SERVOING_MANUALLY_CONTROLLED
        return ArmState.SERVOING_READY

    @property
    def controller(self) -> int:
        """The session in whose hands the arm is."""
        if self._stolen:
            return THIEF
        busy = self._commanded or self._action is not None or self.mode is ServoingMode.LOW_LEVEL
        return self._owner if busy else NOBODY

    @property
    def faults(self) -> tuple[tuple[int, str], ...]:
        """Device and name of every fault."""
        return tuple(self._faults)

    @property
    def set_point(self) -> Array:
        """Where the joints are commanded to be, `(7,)` rad."""
        return self._set_point

    # Single-level servoing

    def set_servoing_mode(self, mode: ServoingMode, session: int) -> None:
        """Ends every motion and changes the mode."""
        if mode is ServoingMode.LOW_LEVEL:
            self._require_no_fault("Failed to set servoing mode")
            self._require_control("Failed to set servoing mode", session)
        if mode is not self.mode:
            self._come_to_rest("CONTROL_MANUAL_STOP")
            self.mode, self._owner, self._joint_commands = mode, session, ()
            self._tell(Event("SERVOING_MODE", value=mode, session=session))
        self._note_state()

    def send_joint_speeds(self, speeds: Array, session: int) -> None:
        """Turns all joints at `(7,)` rad/s, until told otherwise."""
        self._take("Failed to execute joint speeds command", session)
        self._move(JointSpeeds(_finite(speeds, "joint speeds")), session)

    def send_joint_speed(self, joint: int, speed: float, session: int) -> None:
        """Turns one joint; the others stay."""
        speeds = np.zeros(JOINT_COUNT)
        speeds[_joint(joint)] = speed
        self.send_joint_speeds(speeds, session)

    def send_twist(self, twist: Array, axes: Axes, session: int) -> None:
        """Moves the tool at `(6,)` m/s and rad/s, until told otherwise."""
        self._take("Failed to execute twist command", session)
        twist = _finite(twist, "twist")
        shares = np.array(
            [np.linalg.norm(twist[:3]) / limits.TWIST_M_S, np.linalg.norm(twist[3:]) / limits.TWIST_RAD_S]
        )
        limited = twist / np.repeat(np.maximum(shares, 1.0), 3)
        self._move(Twist(self.chain, limited, axes is Axes.TOOL, axes is not Axes.BASE), session)

    def run(self, action: ActionName, stages: Sequence[Stage], session: int) -> None:
        """Starts an action that moves along paths, one after the other; without any, it is over at once."""
        self._take("Failed to execute action", session)
        self._come_to_rest("CONTROL_MANUAL_STOP")
        self._owner = session
        self._tell(Event("ACTION_START", action, session=session))
        self._action = _Action(action, deque(stages))
        self._next_stage()
        self._note_state()

    def pause(self) -> None:
        """Brings the action to a stand on its way."""
        self._path("Failed to pause action").clock.paused = True
        assert self._action is not None
        self._tell(Event("ACTION_PAUSE", self._action.name, session=self._owner))

    def resume(self) -> None:
        """Goes on with a paused action."""
        self._path("Failed to resume action").clock.paused = False

    def stop_action(self) -> None:
        """Aborts the action, if there is one."""
        if self._action is not None:
            self._come_to_rest("CONTROL_MANUAL_STOP")
            self._note_state()

    def stop(self) -> None:
        """Ends every motion; anybody may."""
        self._come_to_rest("CONTROL_MANUAL_STOP")
        self.gripper.hold()
        self._note_state()

    def silence(self, session: int) -> None:
        """A session has not been heard of for too long: ends what it had set in motion."""
        if session == self._owner:
            self.stop()

    def end_session(self, session: int) -> None:
        """A session is over: the arm is nobody's, and not in low-level servoing."""
        self.silence(session)
        if session == self._owner and self.mode is ServoingMode.LOW_LEVEL:
            self.set_servoing_mode(ServoingMode.SINGLE_LEVEL, session)

    def steal(self, stolen: bool) -> None:
        """Gives the arm to somebody who is not here, or back to whoever asks."""
        self._come_to_rest("CONTROL_MANUAL_STOP")
        self._stolen = stolen
        self._note_state()

    # The gripper

    def send_gripper(self, command: Callable[[Gripper], None], session: int) -> None:
        """Tells the gripper something."""
        self._take("Failed to execute gripper command", session)
        try:
            command(self.gripper)
        except ValueError as error:
            raise Refusal("INVALID_PARAM", "Failed to execute gripper command: Argument Invalid") from error

    # Faults

    def emergency_stop(self, session: int) -> None:
        """Stands still at once, in a fault until it is cleared."""
        self.add_fault(BASE, "EMERGENCY_STOP_ACTIVATED", session=session)

    def add_fault(self, device: int, name: str, lasting: bool = False, session: int = NOBODY) -> None:
        """A device reports a fault, which stops the arm; one that lasts comes back until `mend`."""
        new = (device, name) not in self._faults
        self._faults[device, name] = lasting or self._faults.get((device, name), False)
        self._come_to_rest("ROBOT_IN_FAULT")
        self._freeze()
        if self.mode is ServoingMode.LOW_LEVEL:
            self.mode = ServoingMode.SINGLE_LEVEL
            self._tell(Event("SERVOING_MODE", value=self.mode, session=session))
        if new:
            self._tell(Event("FAULT", value=device, fault=name, active=True, session=session))
        self._note_state()

    def clear_faults(self, device: int | None = None) -> None:
        """Acknowledges every fault, or those of one device, whose cause is gone."""
        for key, lasting in tuple(self._faults.items()):
            if not lasting and device in (None, key[0]):
                del self._faults[key]
                self._tell(Event("FAULT", value=key[0], fault=key[1], active=False))
        self._note_state()

    def mend(self) -> None:
        """The cause of every lasting fault goes away; whoever drives the arm still has to clear it."""
        self._faults = dict.fromkeys(self._faults, False)

    # Low-level servoing

    def set_joint_mode(self, device: int, mode: JointMode) -> None:
        """What an actuator follows; `device` counts actuators from 1."""
        self.joint_modes[_joint(device - 1)] = mode

    def refresh(self, commands: Sequence[JointCommand], session: int, now: float) -> None:
        """Takes one cycle of low-level commands.

        Raises:
            Refusal: The arm is not in low-level servoing, or there is not one command per actuator.
        """
        if self.mode is not ServoingMode.LOW_LEVEL:
            raise Refusal("WRONG_SERVOING_MODE", "Wrong servoing mode, must be low level servoing mode")
        if self._stolen:
            self._require_control("Failed to refresh", session)
        if len(commands) != JOINT_COUNT:
            text = f"expected commands for {JOINT_COUNT} actuators, not {len(commands)}"
            raise Refusal("CONTROL_ACTUATOR_COUNT_MISMATCH", text)
        for command in commands:
            _finite(np.array([command.position, command.speed, command.torque]), "actuator command")
        self._joint_commands, self._refreshed_at = tuple(commands), now

    # Time

    def reseat(self, measured: Measurement) -> None:
        """The joints were put somewhere by hand: nothing moves from there."""
        self._come_to_rest("CONTROL_MANUAL_STOP")
        self.measured = measured
        self.gripper = Gripper()
        self._freeze()
        self._note_state()

    def step(self, measured: Measurement, now: float) -> Drive:
        """Takes a measurement; returns what to do until the next one."""
        dt = 0.0 if self._stepped_at is None else min(max(now - self._stepped_at, 0.0), _LONGEST_STEP_S)
        self._stepped_at, self.measured = now, measured
        self.steps += 1
        self.gripper.measure(measured.gripper, measured.gripper_speed)
        self._watch(measured)
        torques = np.full(JOINT_COUNT, np.nan)
        if self._faults:
            self._freeze()
        elif dt > 0.0:
            if self.mode is ServoingMode.LOW_LEVEL:
                self._step_low_level(torques, now, dt)
            else:
                self._step_single_level(dt)
        self._note_state()
        speeds = self._speeds + _STIFFNESS_1_S * (self._set_point - measured.positions)
        speeds = np.clip(speeds, -limits.SPEED_RAD_S, limits.SPEED_RAD_S)
        if self._faults:
            speeds[:] = 0.0
        lost = list(self.lost_joints)
        speeds[lost], torques[lost] = 0.0, np.nan
        grip = GripperDrive(measured.gripper, 0.0) if self._faults or self.jammed else self.gripper.drive
        return Drive(speeds, torques, grip)

    def _step_single_level(self, dt: float) -> None:
        target = self._motion.speeds(self._set_point, dt)
        target = np.clip(target, -self.soft_limits.speeds, self.soft_limits.speeds)
        self._advance(target, limits.STREAM_ACCELERATION_RAD_S2, dt)
        if self._motion.failure:
            self._come_to_rest(self._motion.failure)
        elif self._motion.finished:
            self._next_stage()

    def _step_low_level(self, torques: Array, now: float, dt: float) -> None:
        """Follows the newest cycle; when cycles fail to come, the arm stays where it is."""
        commands = self._joint_commands
        if not commands or now - self._refreshed_at > _LOW_LEVEL_SILENCE_S:
            self._advance(np.zeros(JOINT_COUNT), limits.STREAM_ACCELERATION_RAD_S2, dt)
            return
        positions = limits.shortest(np.array([command.position for command in commands]), self._set_point)
        target = (positions - self._set_point) / dt
        for joint, (command, mode) in enumerate(zip(commands, self.joint_modes, strict=True)):
            if mode is JointMode.VELOCITY:
                target[joint] = command.speed
            elif mode is JointMode.TORQUE:
                effort = np.clip(command.torque, -limits.EFFORT_NM[joint], limits.EFFORT_NM[joint])
                torques[joint] = effort - self.measured.gravity[joint]
                target[joint] = (self.measured.positions[joint] - self._set_point[joint]) / dt
            elif abs(positions[joint] - self.measured.positions[joint]) > limits.FOLLOWING_ERROR_RAD:
                self.add_fault(joint + 1, "FOLLOWING_ERROR")
                return
        self._advance(np.clip(target, -limits.SPEED_RAD_S, limits.SPEED_RAD_S), np.full(JOINT_COUNT, np.inf), dt)

    def _advance(self, target: Array, accelerations: Array, dt: float) -> None:
        """Moves the set-point: no faster, no more suddenly and no further than the joints can."""
        step = accelerations * dt
        speeds = self._speeds + np.clip(target - self._speeds, -step, step)
        braking = 2.0 * limits.STREAM_ACCELERATION_RAD_S2
        highest = np.sqrt(braking * np.maximum(limits.POSITION_RAD - self._set_point, 0.0))
        lowest = -np.sqrt(braking * np.maximum(limits.POSITION_RAD + self._set_point, 0.0))
        self._speeds = np.clip(speeds, lowest, highest)
        self._set_point = self._set_point + self._speeds * dt
        moving = np.abs(self._speeds) > _RESTING_RAD_S
        self._set_point += np.where(moving, _FORGETTING_1_S * dt, 0.0) * (self.measured.positions - self._set_point)

    def _watch(self, measured: Measurement) -> None:
        """The actuators' own protections."""
        behind = np.abs(self._set_point - measured.positions) > limits.FOLLOWING_ERROR_RAD
        racing = np.abs(measured.speeds) > limits.MAX_VELOCITY_FACTOR * limits.SPEED_RAD_S
        for name, joints in (("FOLLOWING_ERROR", behind), ("MAXIMUM_VELOCITY", racing)):
            for joint in np.flatnonzero(joints):
                if (joint + 1, name) not in self._faults:
                    self.add_fault(int(joint) + 1, name)

    # Privately

    @property
    def _commanded(self) -> bool:
        """Whether a speed command keeps the arm moving."""
        return isinstance(self._motion, JointSpeeds | Twist) and bool(self._motion.target.any())

    def _take(self, what: str, session: int) -> None:
        """Raises Refusal unless this session may move the arm now."""
        self._require_no_fault(what)
        if self.mode is not ServoingMode.SINGLE_LEVEL:
            text = "Wrong servoing mode, must be single level servoing mode"
            raise Refusal("WRONG_SERVOING_MODE", text)
        self._require_control(what, session)

    def _require_no_fault(self, what: str) -> None:
        if self._faults:
            raise Refusal("ROBOT_IN_FAULT", f"{what}: Command failed arm is in fault state")

    def _require_control(self, what: str, session: int) -> None:
        if self.controller not in (NOBODY, session):
            raise Refusal("SESSION_NOT_IN_CONTROL", f"{what}: Session is not in control of the robot")

    def _move(self, motion: Motion, session: int) -> None:
        if self._action is not None:
            self._come_to_rest("CONTROL_MANUAL_STOP")
        self._motion, self._owner = motion, session
        self._note_state()

    def _path(self, what: str) -> Path:
        if self._action is None:
            raise Refusal("CONTROL_NO_ACTION", f"{what}: No action is being executed")
        assert not isinstance(self._motion, Rest | JointSpeeds | Twist)
        return self._motion  # type: ignore[return-value]

    def _next_stage(self) -> None:
        """Goes on with the next path of the action, or ends it."""
        action = self._action
        if action is None:
            return
        if action.stages:
            self._motion = action.stages.popleft()(self._set_point)
            return
        self._action, self._motion = None, Rest()
        self._tell(Event("ACTION_END", action.name, session=self._owner))

    def _come_to_rest(self, why: str) -> None:
        """Ends the motion; an action is aborted."""
        action, self._action, self._motion = self._action, None, Rest()
        if action is not None:
            self._tell(Event("ACTION_ABORT", action.name, abort=why, session=self._owner))

    def _freeze(self) -> None:
        """The brakes: the set-point is where the joints are."""
        self._set_point, self._speeds = self.measured.positions.copy(), np.zeros(JOINT_COUNT)

    def _note_state(self) -> None:
        if self.state is not self._state:
            self._state = self.state
            self._tell(Event("ARM_STATE", value=self._state, session=self._owner))

    def _tell(self, event: Event) -> None:
        self.events.append(event)


def _finite(values: Array, what: str) -> Array:
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise Refusal("INVALID_PARAM", f"the {what} must be finite")
    return values


def _joint(index: int) -> int:
    if not 0 <= index < JOINT_COUNT:
        raise Refusal("INVALID_PARAM", f"there is no joint {index}; they count from 0 to {JOINT_COUNT - 1}")
    return index
