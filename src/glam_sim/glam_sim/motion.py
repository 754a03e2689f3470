"""How a command becomes motion in the simulation: the arm, the floating hand, and their fingers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import mujoco
import numpy as np

from glam_core.gen3 import JOINT_LIMITS_RAD, JOINT_SPEED_LIMITS_RAD_S
from glam_core.pose import wrap_angle, yaw_of
from glam_sim.control import differential_ik
from glam_sim.model import CONTROL_STEP_S, FINGER_TRAVEL_M, JOINTS, OPENING_M

_SPEED_LIMITS = np.array(JOINT_SPEED_LIMITS_RAD_S)
_POSITION_LIMITS = np.array([np.inf if limit is None else limit - 0.02 for limit in JOINT_LIMITS_RAD])
_HAND_REACH_M = 0.06
_HAND_TURN_RAD = 0.4
_GRIP_LEAD = 0.25
"""How far a finger's set-point may run ahead of the finger; what is beyond the force limit is of no use."""


class JointDrive(NamedTuple):
    """What the joints and the gripper of an arm are told for one physics step, instead of a pose.

    Attributes:
        speeds: (7,) rad/s.
        torques: (7,) N m beyond those that hold the arm's weight; NaN for joints that turn at their speed.
        gripper: 0 (open) to 1 (closed).
        gripper_speed: Share of the gripper's full speed, 0 to 1.
    """

    speeds: np.ndarray
    torques: np.ndarray
    gripper: float
    gripper_speed: float


class JointState(NamedTuple):
    """What the joints of an arm do.

    Attributes:
        positions: (7,) rad.
        velocities: (7,) rad/s.
        torques: (7,) N m that the motors exert, what holds the arm's weight included.
        gravity: (7,) N m of them that hold the arm's weight.
        gripper: 0 (open) to 1 (closed).
        gripper_speed: Its rate, 1/s.
        wrench: (6,) force (N) and torque (N m) of contacts on the tool, base frame.
    """

    positions: np.ndarray
    velocities: np.ndarray
    torques: np.ndarray
    gravity: np.ndarray
    gripper: float
    gripper_speed: float
    wrench: np.ndarray


class Motion(Protocol):
    """Moves one tool. All poses are `T_base_tool` (4, 4)."""

    joints: tuple[str, ...]

    @property
    def positions(self) -> np.ndarray:
        """Joint positions (J,)."""
        ...

    @property
    def velocities(self) -> np.ndarray:
        """Joint velocities (J,)."""
        ...

    def reset(self, T_base_tool: np.ndarray) -> None:
        """Puts the tool there at rest."""
        ...

    def tick(self, T_base_goal: np.ndarray, time_left_s: float) -> None:
        """Sets the actuators for the next control step, to be at the goal in `time_left_s`."""
        ...


class ArmMotion:
    """The Gen3: differential IK to joint speeds, which the joints' velocity servos follow."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, prefix: str) -> None:
        self.joints = JOINTS
        ids = [model.joint(prefix + joint).id for joint in JOINTS]
        self._positions = slice(model.jnt_qposadr[ids[0]], model.jnt_qposadr[ids[0]] + len(JOINTS))
        self._velocities = slice(model.jnt_dofadr[ids[0]], model.jnt_dofadr[ids[0]] + len(JOINTS))
        first = model.actuator(prefix + JOINTS[0]).id
        self._controls = slice(first, first + len(JOINTS))
        self._gains = model.actuator_gainprm[self._controls, 0]
        self._data = data
        self._ik = differential_ik()

    @property
    def positions(self) -> np.ndarray:
        """Joint positions (7,) rad."""
        return self._data.qpos[self._positions].copy()

    @property
    def velocities(self) -> np.ndarray:
        """Joint velocities (7,) rad/s."""
        return self._data.qvel[self._velocities].copy()

    def reset(self, T_base_tool: np.ndarray) -> None:
        """Puts the arm at the joint positions nearest to its home that hold the tool there."""
        self._data.qpos[self._positions] = self._ik.solve(T_base_tool)
        self._data.qvel[self._velocities] = 0.0

    def tick(self, T_base_goal: np.ndarray, time_left_s: float) -> None:
        """Sets the joint speeds for the next control step."""
        joints = self._data.qpos[self._positions]
        self._data.ctrl[self._controls] = self._ik.joint_speeds(joints, T_base_goal, time_left_s)

    def tick_joints(self, joints: np.ndarray, time_left_s: float) -> None:
        """Sets the joint speeds for the next control step, to have the joints (7,) rad there in `time_left_s`."""
        way = self._way(joints) / max(time_left_s, 2 * CONTROL_STEP_S)
        self._data.ctrl[self._controls] = way / max(1.0, float(np.max(np.abs(way) / _SPEED_LIMITS)))

    def joints_at(self, T_base_goal: np.ndarray, duration_s: float) -> np.ndarray:
        """Joint positions (7,) rad to which the way to a goal leads within `duration_s`, if the servos were perfect."""
        joints = self.positions
        for step in range(round(duration_s / CONTROL_STEP_S)):
            time_left_s = duration_s - step * CONTROL_STEP_S
            joints = joints + CONTROL_STEP_S * self._ik.joint_speeds(joints, T_base_goal, time_left_s)
        return joints

    def _way(self, joints: np.ndarray) -> np.ndarray:
        """Turns (7,) rad to positions, within the joints' ranges, the short way round where there is no limit."""
        now = self._data.qpos[self._positions]
        reachable = np.clip(joints, -_POSITION_LIMITS, _POSITION_LIMITS)
        return np.where(np.isinf(_POSITION_LIMITS), wrap_angle(joints - now), reachable - now)

    def drive(self, speeds: np.ndarray, torques: np.ndarray) -> None:
        """Sets the actuators for one physics step: speeds, or torques (N m) where these are not NaN."""
        # A velocity servo exerts its gain times what it lacks in speed.
        at_torque = self._data.qvel[self._velocities] + torques / self._gains
        self._data.ctrl[self._controls] = np.where(np.isnan(torques), speeds, at_torque)

    @property
    def gravity(self) -> np.ndarray:
        """Torques (7,) N m that hold the arm's weight."""
        return self._data.qfrc_gravcomp[self._velocities].copy()

    @property
    def torques(self) -> np.ndarray:
        """Torques (7,) N m that the motors exert, `gravity` included."""
        return self._data.qfrc_actuator[self._velocities] + self.gravity


class HandMotion:
    """The floating gripper: springs and dampers pull it to the goal, as a person's arm would; it always points down."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, prefix: str) -> None:
        self.joints = ("hand_x", "hand_y", "hand_z", "hand_yaw")
        ids = [model.joint(prefix + joint).id for joint in self.joints]
        self._positions = slice(model.jnt_qposadr[ids[0]], model.jnt_qposadr[ids[0]] + 4)
        self._velocities = slice(model.jnt_dofadr[ids[0]], model.jnt_dofadr[ids[0]] + 4)
        first = model.actuator(prefix + self.joints[0]).id
        self._controls = slice(first, first + 4)
        self._data = data

    @property
    def positions(self) -> np.ndarray:
        """x, y, z (m) and yaw (rad) of the tool, (4,)."""
        return self._data.qpos[self._positions].copy()

    @property
    def velocities(self) -> np.ndarray:
        """Rates of `positions`, (4,)."""
        return self._data.qvel[self._velocities].copy()

    def reset(self, T_base_tool: np.ndarray) -> None:
        """Puts the hand there."""
        pose = [*T_base_tool[:3, 3], yaw_of(T_base_tool)]
        self._data.qpos[self._positions] = pose
        self._data.qvel[self._velocities] = 0.0
        self._data.ctrl[self._controls] = pose

    def tick(self, T_base_goal: np.ndarray, time_left_s: float) -> None:
        """Hangs the springs at the goal, within arm's reach of the hand."""
        del time_left_s  # the springs know no deadline: that is part of the other dynamics
        now = self._data.qpos[self._positions]
        reach = T_base_goal[:3, 3] - now[:3]
        reach *= min(1.0, _HAND_REACH_M / max(float(np.linalg.norm(reach)), 1e-9))
        turn = float(np.clip(wrap_angle(yaw_of(T_base_goal) - now[3]), -_HAND_TURN_RAD, _HAND_TURN_RAD))
        self._data.ctrl[self._controls] = [*(now[:3] + reach), now[3] + turn]


class Fingers:
    """The parallel fingers: a position target that moves at a limited speed, with a limited force.

    Attributes:
        pace: factor of the speed.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, prefix: str, speed_m_s: float) -> None:
        self._data = data
        names = [f"{prefix}left_finger", f"{prefix}right_finger"]
        self._positions = [int(model.joint(name).qposadr[0]) for name in names]
        self._velocities = [int(model.joint(name).dofadr[0]) for name in names]
        self._controls = [model.actuator(name).id for name in names]
        self._step = speed_m_s / OPENING_M * CONTROL_STEP_S
        self.pace = 1.0
        self._target = 0.0

    @property
    def closed(self) -> float:
        """The measured gripper, 0 (open) to 1 (closed)."""
        left, right = self._positions
        closed = (self._data.qpos[left] + self._data.qpos[right]) / OPENING_M
        return float(min(1.0, max(0.0, closed)))

    def reset(self, closed: float) -> None:
        """Puts the fingers there at rest."""
        self._data.qpos[self._positions] = closed * FINGER_TRAVEL_M
        self._data.ctrl[self._controls] = closed * FINGER_TRAVEL_M
        self._target = closed

    @property
    def speed(self) -> float:
        """The rate of `closed`, 1/s."""
        return float(self._data.qvel[self._velocities].sum()) / OPENING_M

    def tick(self, goal: float, share: float = 1.0) -> None:
        """Moves the set-point towards the goal, 0..1, as far as in one control step, or a `share` of it."""
        closed = self.closed
        start = min(self._target, closed) if goal < closed else max(self._target, closed)
        step = share * self.pace * self._step
        target = start + min(step, max(-step, goal - start))
        self._target = min(closed + _GRIP_LEAD, max(closed - _GRIP_LEAD, target))
        self._data.ctrl[self._controls] = self._target * FINGER_TRAVEL_M
