"""The one place where Kortex's units meet ours: degrees, angles that wrap at 360, percent, and the sign of torques.

Everything on the arm's side is named `kortex`; everything else is SI and radians. Nothing here takes a number that is
not finite.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import SpecError
from glam_core.gen3 import JOINT_LIMITS_RAD
from glam_core.pose import transform

Array = NDArray[np.float64]

CONTINUOUS_JOINTS = tuple(index for index, limit in enumerate(JOINT_LIMITS_RAD) if limit is None)
"""Joints of the Gen3 without a stop, 0-based; the others never turn past half a turn."""


def radians(kortex_degrees: ArrayLike) -> Array:
    """Angles or angular speeds in rad, rad/s."""
    return np.deg2rad(finite(kortex_degrees, "angle"))


def degrees(angle: ArrayLike) -> Array:
    """Angles or angular speeds as Kortex takes them, deg, deg/s."""
    return np.rad2deg(finite(angle, "angle"))


def kortex_joint_angles(positions: ArrayLike) -> Array:
    """Joint angles as Kortex writes them.

    Args:
        positions: `(...,)` rad, any turn.

    Returns:
        `(...,)` deg, at least 0 and less than 360.
    """
    wrapped = np.mod(degrees(positions), 360.0)
    return np.where(wrapped >= 360.0, 0.0, wrapped)  # of a tiny negative angle, the remainder rounds to 360


def joint_positions(kortex_angles: ArrayLike, previous: ArrayLike | None = None) -> Array:
    """Joint positions of a measurement, without jumps where Kortex wraps.

    Args:
        kortex_angles: `(7,)` deg, 0 to 360.
        previous: `(7,)` rad, the measurement before; None for the first one.

    Returns:
        `(7,)` rad. A joint with stops is between minus and plus half a turn; a continuous one is within half a turn of
        `previous`, however often it went around.
    """
    angles = radians(kortex_angles)
    positions = _within_half_a_turn(angles)
    if previous is None:
        return positions
    before = finite(previous, "previous position")
    if before.shape != positions.shape:
        raise SpecError(f"{positions.size} joints were measured, and {before.size} before")
    turning = list(CONTINUOUS_JOINTS)
    positions[turning] = before[turning] + _within_half_a_turn(angles[turning] - before[turning])
    return positions


def shortest_arc(start: ArrayLike, goal: ArrayLike) -> Array:
    """The turn from `start` to `goal` (rad), per joint: the short way round where a joint is continuous."""
    move = finite(goal, "goal") - finite(start, "start")
    turning = list(CONTINUOUS_JOINTS)
    move[turning] = _within_half_a_turn(move[turning])
    return move


def kortex_twist(twist: ArrayLike) -> Array:
    """A twist `(6,)` in m/s and rad/s as Kortex takes it: m/s and deg/s."""
    values = finite(twist, "twist")
    return np.concatenate([values[:3], np.rad2deg(values[3:])])


def twist(kortex_values: ArrayLike) -> Array:
    """A Kortex twist `(6,)` in m/s and deg/s as m/s and rad/s."""
    values = finite(kortex_values, "twist")
    return np.concatenate([values[:3], np.deg2rad(values[3:])])


def pose(kortex_values: ArrayLike) -> Array:
    """The pose of a tool.

    Args:
        kortex_values: `(6,)` x y z in m, then theta_x, theta_y, theta_z in deg: turns about the fixed axes of the base,
            x first.

    Returns:
        `T_base_tool` (4, 4).
    """
    values = finite(kortex_values, "pose")
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(values[3:])), np.sin(np.deg2rad(values[3:]))
    rotation = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return transform(rotation, values[:3])


def kortex_pose(T_base_tool: ArrayLike) -> Array:
    """The six numbers of a pose `(4, 4)`: m and deg; the inverse of `pose`."""
    T = finite(T_base_tool, "pose")
    level = math.hypot(T[0, 0], T[1, 0])
    y = math.atan2(-T[2, 0], level)
    if level > 1e-9:
        x, z = math.atan2(T[2, 1], T[2, 2]), math.atan2(T[1, 0], T[0, 0])
    else:  # pointing along the base's z axis: only x and z together have a meaning
        x, z = math.atan2(-T[1, 2], T[1, 1]), 0.0
    return np.concatenate([T[:3, 3], np.rad2deg([x, y, z])])


def torques(kortex_torques: ArrayLike) -> Array:
    """Torques of the joints, N m. Kortex reports what the joint withstands; here it is what the joint exerts."""
    return -finite(kortex_torques, "torque")


def fraction(percent: float, open_at: float = 0.0, closed_at: float = 1.0) -> float:
    """The position of a gripper.

    Args:
        percent: As Kortex measures it, 0 to 100.
        open_at: What is measured where it is open, as a fraction of 100 percent.
        closed_at: What is measured where it is closed.

    Returns:
        0 (open) to 1 (closed).
    """
    value = (float(finite(percent, "gripper position")) / 100.0 - open_at) / (closed_at - open_at)
    return min(max(value, 0.0), 1.0)


def percent(position: float) -> float:
    """A position of the gripper, 0 to 1, in percent."""
    return 100.0 * kortex_finger(position)


def kortex_finger(position: float) -> float:
    """A position of the gripper as the high-level command takes it: 0 (open) to 1 (closed).

    Raises:
        SpecError: It lies outside.
    """
    value = float(finite(position, "gripper position"))
    if not 0.0 <= value <= 1.0:
        raise SpecError(f"the gripper is 0 (open) to 1 (closed), not {value}")
    return value


def milliseconds(seconds: float) -> int:
    """A time as Kortex takes it: whole milliseconds, at least one."""
    return max(1, round(1000.0 * float(finite(seconds, "time"))))


def finite(values: ArrayLike, what: str) -> Array:
    """The values as float64; a copy that the caller may keep.

    Raises:
        SpecError: One of them is not finite.
    """
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise SpecError(f"the {what} is not finite: {array.tolist()}")
    return array


def _within_half_a_turn(angles: Array) -> Array:
    """The same direction as `angles`, at least -pi and less than pi."""
    return np.mod(angles + math.pi, 2.0 * math.pi) - math.pi
