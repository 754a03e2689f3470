"""Between the numbers of the wire (degrees, percent) and those of the simulated arm (SI, radians).

Written apart from the driver's own conversions, so that a mistake on one side does not cancel itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinova_driver.kortex.definitions import Base
from kinova_driver.simulator.limits import JOINT_COUNT
from kinova_driver.simulator.robot import Refusal

Array = NDArray[np.float64]

_BELOW_360 = 359.99997


def pose_from(message: Any) -> Array:
    """`T` (4, 4) of a message with x, y, z (m) and theta_x, theta_y, theta_z (degrees, about fixed axes, in order)."""
    angles = [math.radians(value) for value in (message.theta_x, message.theta_y, message.theta_z)]
    (cx, cy, cz), (sx, sy, sz) = [math.cos(a) for a in angles], [math.sin(a) for a in angles]
    T = np.eye(4)
    T[:3, :3] = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    T[:3, 3] = message.x, message.y, message.z
    if not np.isfinite(T).all():
        raise Refusal("INVALID_PARAM", "the pose must be finite")
    return T


def angles_of(T: Array) -> tuple[float, float, float]:
    """theta_x, theta_y, theta_z of a pose, degrees."""
    theta_y = math.asin(min(1.0, max(-1.0, -T[2, 0])))
    return (
        math.degrees(math.atan2(T[2, 1], T[2, 2])),
        math.degrees(theta_y),
        math.degrees(math.atan2(T[1, 0], T[0, 0])),
    )


def pose_message(T: Array) -> Any:
    """A `Base.Pose`."""
    theta_x, theta_y, theta_z = angles_of(T)
    return Base.Pose(x=T[0, 3], y=T[1, 3], z=T[2, 3], theta_x=theta_x, theta_y=theta_y, theta_z=theta_z)


def degrees_of(positions: Array) -> Array:
    """Joint positions as they are told: degrees, at least 0 and below 360 also in single precision."""
    degrees = np.degrees(positions) % 360.0
    return np.where(degrees > _BELOW_360, 0.0, degrees)


def joint_angles_message(positions: Array) -> Any:
    """A `Base.JointAngles`."""
    angles = [Base.JointAngle(joint_identifier=i, value=value) for i, value in enumerate(degrees_of(positions))]
    return Base.JointAngles(joint_angles=angles)


def joint_values(items: Any, what: str) -> Array:
    """`(7,)` rad from messages with `joint_identifier` and `value` (degrees), each joint once, in any order.

    Programs that leave all identifiers out mean the joints in their order.
    """
    if len(items) == JOINT_COUNT and not any(item.joint_identifier for item in items):
        values = np.radians([item.value for item in items])
        if np.isfinite(values).all():
            return values
    by_joint = {item.joint_identifier: item.value for item in items}
    if len(items) != JOINT_COUNT or set(by_joint) != set(range(JOINT_COUNT)):
        text = f"{what}: expected joints 0 to {JOINT_COUNT - 1}, not {sorted(item.joint_identifier for item in items)}"
        raise Refusal("CONTROL_ACTUATOR_COUNT_MISMATCH", text)
    values = np.radians([by_joint[joint] for joint in range(JOINT_COUNT)])
    if not np.isfinite(values).all():
        raise Refusal("INVALID_PARAM", f"{what}: the values must be finite")
    return values


def twist_from(message: Any) -> Array:
    """`(6,)` m/s and rad/s of a `Base.Twist`."""
    linear = [message.linear_x, message.linear_y, message.linear_z]
    return np.array(linear + [math.radians(v) for v in (message.angular_x, message.angular_y, message.angular_z)])
