"""Differential inverse kinematics of the Gen3: from a tool pose to joint speeds, at 40 Hz.

Damped least squares with a posture term in the null space. The result respects the arm's joint speed limits (the whole
motion is scaled, so the tool keeps its direction) and slows down before a joint limit. The kinematics are given to it:
the simulated cell's are MuJoCo's, the real arm's are numpy's.
"""

from __future__ import annotations

import math

import numpy as np

from glam_core.errors import GlamError
from glam_core.gen3 import COMMAND_STEP_S, CONTROL_STEP_S, HOME_RAD, JOINT_LIMITS_RAD, JOINT_SPEED_LIMITS_RAD_S
from glam_core.kinematics import Kinematics
from glam_core.pose import log_so3

MAX_TOOL_SPEED_M_S = 0.5
MAX_TOOL_ROTATION_RAD_S = 1.75
_DAMPING = 0.01
_POSTURE_GAIN_1_S = 1.0
_SETTLE_S = 2 * CONTROL_STEP_S
_SOLVE_TICKS = 400
_LIMIT_MARGIN_RAD = 0.05
_LIMIT_GAIN_1_S = 5.0

_SPEED_LIMITS = np.array(JOINT_SPEED_LIMITS_RAD_S)
_CONTINUOUS = np.array([limit is None for limit in JOINT_LIMITS_RAD])
_POSITION_LIMITS = np.array([np.inf if limit is None else limit for limit in JOINT_LIMITS_RAD])


def share_left(time_left_s: float) -> float:
    """How much of its way is still before a tool that `DifferentialIK` brings to a goal within `COMMAND_STEP_S`.

    All of it when the goal was given, half of it 50 ms before it is due, an eighth when it is due; it never quite ends.
    """
    if time_left_s >= _SETTLE_S:
        return min(time_left_s / COMMAND_STEP_S, 1.0)
    return _SETTLE_S / COMMAND_STEP_S * 2.0 ** ((time_left_s - _SETTLE_S) / CONTROL_STEP_S)


class DifferentialIK:
    """Turns a goal pose of the tool into joint speeds, one control tick at a time."""

    def __init__(self, kinematics: Kinematics, home: np.ndarray = HOME_RAD) -> None:
        self._home = np.array(home, dtype=float)
        self._kinematics = kinematics

    def tool_pose(self, joint_positions: np.ndarray) -> np.ndarray:
        """Returns `T_base_tool` (4, 4) at `joint_positions`, (7,) rad."""
        self._kinematics.update(joint_positions)
        return self._kinematics.tool_pose()

    def joint_speeds(self, joint_positions: np.ndarray, T_base_goal: np.ndarray, time_left_s: float) -> np.ndarray:
        """Returns joint speeds (7,) rad/s that bring the tool to the goal in `time_left_s`, limits permitting.

        Args:
            joint_positions: (7,) rad, measured; any number of turns on continuous joints.
            T_base_goal: (4, 4) goal pose of the tool in the base frame.
            time_left_s: time until the goal is due; a goal that is overdue is approached smoothly.
        """
        self._kinematics.update(joint_positions)
        T_base_tool = self._kinematics.tool_pose()
        twist = np.empty(6)
        horizon = max(time_left_s, _SETTLE_S)
        twist[:3] = _limited((T_base_goal[:3, 3] - T_base_tool[:3, 3]) / horizon, MAX_TOOL_SPEED_M_S)
        twist[3:] = _limited(
            rotation_vector(T_base_goal[:3, :3] @ T_base_tool[:3, :3].T) / horizon, MAX_TOOL_ROTATION_RAD_S
        )
        return self._resolve(joint_positions, twist)

    def _resolve(self, joint_positions: np.ndarray, twist: np.ndarray) -> np.ndarray:
        """Joint speeds (7,) rad/s for a twist of the tool, at the kinematics as they are."""
        jacobian = self._kinematics.jacobian()
        posture = self._home - joint_positions
        posture[_CONTINUOUS] = (posture[_CONTINUOUS] + np.pi) % (2 * np.pi) - np.pi
        posture *= _POSTURE_GAIN_1_S
        gram = jacobian @ jacobian.T
        gram[np.diag_indices(6)] += _DAMPING**2
        speeds = posture + jacobian.T @ np.linalg.solve(gram, twist - jacobian @ posture)

        speeds /= max(1.0, float(np.max(np.abs(speeds) / _SPEED_LIMITS)))
        room = _POSITION_LIMITS - _LIMIT_MARGIN_RAD
        lowest = np.clip(-_LIMIT_GAIN_1_S * (room + joint_positions), -_SPEED_LIMITS, _SPEED_LIMITS)
        highest = np.clip(_LIMIT_GAIN_1_S * (room - joint_positions), -_SPEED_LIMITS, _SPEED_LIMITS)
        return np.clip(speeds, lowest, highest)

    def solve(self, T_base_goal: np.ndarray, start: np.ndarray | None = None, tolerance: float = 2e-4) -> np.ndarray:
        """Returns joint positions (7,) rad that reach the goal, by walking there from `start` (home if None).

        Raises:
            GlamError: the goal cannot be reached to `tolerance` (m and rad).
        """
        joints = self._home.copy() if start is None else np.array(start, dtype=float)
        miss = twist = np.inf
        for _ in range(_SOLVE_TICKS):
            joints = joints + CONTROL_STEP_S * self.joint_speeds(joints, T_base_goal, 0.0)
            T_base_tool = self.tool_pose(joints)
            miss = np.linalg.norm(T_base_goal[:3, 3] - T_base_tool[:3, 3])
            twist = np.linalg.norm(rotation_vector(T_base_goal[:3, :3] @ T_base_tool[:3, :3].T))
            if miss < tolerance and twist < tolerance:
                return joints
        position = np.round(T_base_goal[:3, 3], 3).tolist()
        raise GlamError(
            f"no joint positions found for the tool at {position} m: {miss:.4f} m and {twist:.4f} rad remain; "
            "choose a goal inside the arm's workspace (about 0.2 to 0.8 m from the base)"
        )


def _limited(vector: np.ndarray, limit: float) -> np.ndarray:
    """Shortens a vector to `limit`, keeping its direction."""
    length = float(np.sqrt(vector @ vector))
    return vector if length <= limit else vector * (limit / length)


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Rotation vector (rad) of a rotation matrix: a fast path for all but half turns."""
    x = rotation[2, 1] - rotation[1, 2]
    y = rotation[0, 2] - rotation[2, 0]
    z = rotation[1, 0] - rotation[0, 1]
    sine = 0.5 * math.sqrt(x * x + y * y + z * z)
    cosine = 0.5 * (rotation[0, 0] + rotation[1, 1] + rotation[2, 2] - 1.0)
    if cosine < -0.9:
        return log_so3(rotation)
    scale = 0.5 if sine < 1e-9 else 0.5 * math.atan2(sine, cosine) / sine
    return np.array([x * scale, y * scale, z * scale])
