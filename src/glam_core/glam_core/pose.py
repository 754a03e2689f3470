"""Rigid-body maths as stateless functions. `T_a_b` maps coordinates of frame b into frame a.

Rotations are `(..., 3, 3)` matrices, transforms `(..., 4, 4)`, all float64; leading dimensions are batches. Rotation 6D
is the first two columns of the matrix, concatenated: `[R[:, 0], R[:, 1]]`. Quaternions are `(x, y, z, w)`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import SpecError

Array = NDArray[np.float64]

_SMALL_ANGLE = 1e-6
_DEGENERATE = 1e-9


def exp_so3(rotation_vector: ArrayLike) -> Array:
    """Rotation matrix of a rotation vector (Rodrigues).

    Args:
        rotation_vector: `(..., 3)`, axis times angle, rad.

    Returns:
        `(..., 3, 3)` rotation matrices.
    """
    vector = _array(rotation_vector, (3,), "rotation vector")
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    small = angle < _SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    sine = np.where(small, 1.0 - angle**2 / 6.0, np.sin(safe) / safe)
    # 2 sin^2(a/2) / a^2 rather than (1 - cos a) / a^2: no cancellation at small angles.
    cosine = np.where(small, 0.5 - angle**2 / 24.0, 2.0 * (np.sin(safe / 2.0) / safe) ** 2)
    skew = _skew(vector)
    return np.eye(3) + sine * skew + cosine * (skew @ skew)


def log_so3(rotation: ArrayLike) -> Array:
    """Rotation vector of a rotation matrix, with an angle in [0, pi]; stable at 0 and at pi.

    Args:
        rotation: `(..., 3, 3)`.

    Returns:
        `(..., 3)` rotation vectors, rad.
    """
    quaternion = quaternion_xyzw_from_matrix(rotation)  # w >= 0
    vector, scalar = quaternion[..., :3], quaternion[..., 3:]
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    small = norm < _SMALL_ANGLE
    safe = np.where(small, 1.0, norm)
    scale = np.where(small, 2.0, 2.0 * np.arctan2(safe, scalar) / safe)
    return scale * vector


def matrix_from_rotation_6d(rotation_6d: ArrayLike) -> Array:
    """Rotation matrix of a rotation 6D, by Gram-Schmidt (Zhou et al. 2019).

    Args:
        rotation_6d: `(..., 6)`; need not be orthonormal.

    Returns:
        `(..., 3, 3)` rotation matrices.

    Raises:
        SpecError: A column is zero, or both are parallel.
    """
    values = _array(rotation_6d, (6,), "rotation 6D")
    first, second = values[..., :3], values[..., 3:]
    x = _unit(first)
    y = _unit(second - np.sum(x * second, axis=-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def rotation_6d_from_matrix(rotation: ArrayLike) -> Array:
    """The first two columns of `(..., 3, 3)` matrices, concatenated to `(..., 6)`."""
    matrix = _array(rotation, (3, 3), "rotation")
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def quaternion_xyzw_from_matrix(rotation: ArrayLike) -> Array:
    """Unit quaternion `(x, y, z, w)` with w >= 0 (Shepperd's method: divide by the largest component).

    Args:
        rotation: `(..., 3, 3)`.

    Returns:
        `(..., 4)`.
    """
    m = _array(rotation, (3, 3), "rotation")
    if m.ndim == 2:
        return np.array(_quaternion(m))
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    squares = np.stack([1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22], axis=-1)
    # Row i is 4 q_i (x, y, z, w): the outer product of the quaternion with itself.
    outer = np.stack(
        [
            np.stack([squares[..., 0], xy, xz, wx], axis=-1),
            np.stack([xy, squares[..., 1], yz, wy], axis=-1),
            np.stack([xz, yz, squares[..., 2], wz], axis=-1),
            np.stack([wx, wy, wz, squares[..., 3]], axis=-1),
        ],
        axis=-2,
    )
    largest = np.argmax(squares, axis=-1)[..., None, None]
    quaternion = np.take_along_axis(outer, largest, axis=-2)[..., 0, :]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    return np.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def matrix_from_quaternion_xyzw(quaternion: ArrayLike) -> Array:
    """Rotation matrix of a quaternion `(..., 4)` in the order x, y, z, w; it is normalised first.

    Raises:
        SpecError: The quaternion is (nearly) zero.
    """
    q = _unit(_array(quaternion, (4,), "quaternion"))
    x, y, z, w = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def transform(rotation: ArrayLike, position: ArrayLike) -> Array:
    """Homogeneous transform `(..., 4, 4)` of `(..., 3, 3)` rotations and `(..., 3)` positions (m)."""
    matrix = _array(rotation, (3, 3), "rotation")
    vector = _array(position, (3,), "position")
    result = np.zeros((*np.broadcast_shapes(matrix.shape[:-2], vector.shape[:-1]), 4, 4))
    result[..., :3, :3] = matrix
    result[..., :3, 3] = vector
    result[..., 3, 3] = 1.0
    return result


def inverse(T: ArrayLike) -> Array:
    """The inverse `T_b_a` of rigid transforms `T_a_b` `(..., 4, 4)`."""
    matrix = _array(T, (4, 4), "transform")
    transposed = np.swapaxes(matrix[..., :3, :3], -1, -2)
    return transform(transposed, -(transposed @ matrix[..., :3, 3:])[..., 0])


def interpolate(T_a: ArrayLike, T_b: ArrayLike, fraction: float) -> Array:
    """The pose at `fraction` of the way from `T_a` to `T_b`: straight in position, geodesic in rotation.

    Args:
        T_a: `(..., 4, 4)`, returned at fraction 0.
        T_b: `(..., 4, 4)`, returned at fraction 1.
        fraction: Usually in [0, 1]; beyond that it extrapolates.
    """
    start, end = _array(T_a, (4, 4), "transform"), _array(T_b, (4, 4), "transform")
    relative = np.swapaxes(start[..., :3, :3], -1, -2) @ end[..., :3, :3]
    rotation = start[..., :3, :3] @ exp_so3(fraction * log_so3(relative))
    position = start[..., :3, 3] + fraction * (end[..., :3, 3] - start[..., :3, 3])
    return transform(rotation, position)


def tool_down(position: ArrayLike, yaw: float) -> Array:
    """`T_base_tool (4, 4)` of a tool that points straight down: rotation `Rz(yaw) @ diag(1, -1, -1)`.

    Args:
        position: `(3,)` m, base frame.
        yaw: rad.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    return transform([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]], position)


def yaw_of(T: ArrayLike) -> float:
    """Yaw (rad, in [-pi, pi]) of `T_base_tool (4, 4)`: the heading of the tool's x axis in the base's xy plane."""
    matrix = _array(T, (4, 4), "transform")
    return float(np.arctan2(matrix[1, 0], matrix[0, 0]))


def wrap_angle(angle: ArrayLike) -> Array:
    """The same angle (rad) in [-pi, pi]."""
    return np.remainder(np.asarray(angle, dtype=np.float64) + np.pi, 2.0 * np.pi) - np.pi


def _quaternion(rotation: Array) -> tuple[float, float, float, float]:
    """`quaternion_xyzw_from_matrix` of one matrix, at a hundredth of the cost: every message with a pose needs one."""
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = rotation.tolist()
    squares = (1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22)
    rows = (
        (squares[0], m01 + m10, m02 + m20, m21 - m12),
        (m01 + m10, squares[1], m12 + m21, m02 - m20),
        (m02 + m20, m12 + m21, squares[2], m10 - m01),
        (m21 - m12, m02 - m20, m10 - m01, squares[3]),
    )
    x, y, z, w = rows[max(range(4), key=squares.__getitem__)]
    norm = math.copysign(math.sqrt(x * x + y * y + z * z + w * w), w)
    return x / norm, y / norm, z / norm, w / norm


def _array(values: ArrayLike, trailing: tuple[int, ...], what: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape[-len(trailing) :] != trailing:
        raise SpecError(f"a {what} has shape (..., {', '.join(map(str, trailing))}), not {array.shape}")
    return array


def _skew(vector: Array) -> Array:
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _unit(vector: Array) -> Array:
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    if not np.all(norm > _DEGENERATE):
        raise SpecError("a rotation is degenerate: a direction is zero, not finite, or parallel to another")
    return vector / norm
