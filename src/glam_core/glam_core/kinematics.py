"""Where the links of a Gen3 are, and how they move with its joints. Numpy alone, so it runs beside the real arm.

All functions take leading dimensions as batches. Frames are in the order of `FRAMES`: the links, the flange, the tool.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import SpecError, closest
from glam_core.gen3 import ELBOW, FINGERS, FLANGE, JOINTS, LINKS, OPENING_M, TOOL, TOOL_OFFSET_M, WRIST, Link

Array = NDArray[np.float64]

FRAMES = (*(link.name for link in LINKS), FLANGE.name, TOOL)


class Kinematics(Protocol):
    """Forward kinematics and Jacobian of the tool, at the joint positions of the last `update`."""

    def update(self, joint_positions: Array) -> None:
        """Moves the chain to `joint_positions`, (7,) rad."""
        ...

    def tool_pose(self) -> Array:
        """Returns `T_base_tool` (4, 4)."""
        ...

    def jacobian(self) -> Array:
        """Returns the tool's Jacobian (6, 7): linear (m/s) over angular (rad/s), base frame."""
        ...


class Frames(NamedTuple):
    """Every frame of `FRAMES` in the base frame.

    Attributes:
        rotations: `(..., 9, 3, 3)`.
        origins: `(..., 9, 3)`, m.
    """

    rotations: Array
    origins: Array

    def pose(self, name: str) -> Array:
        """Returns `T_base_<name>` (..., 4, 4)."""
        index = frame_index(name)
        T = np.zeros((*self.origins.shape[:-2], 4, 4))
        T[..., :3, :3] = self.rotations[..., index, :, :]
        T[..., :3, 3] = self.origins[..., index, :]
        T[..., 3, 3] = 1.0
        return T


def _quarter_turn_x(quarters: int) -> Array:
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


_JOINT_COUNT = len(JOINTS)
_ORIGINS = np.stack([_quarter_turn_x(link.quarter_turns) for link in LINKS])
_OFFSETS = np.array([link.position for link in LINKS])
_R_bracelet_flange = _quarter_turn_x(FLANGE.quarter_turns)
_R_flange_tool = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def frame_index(name: str) -> int:
    """Where a frame stands in `FRAMES`; raises SpecError for an unknown name."""
    if name not in FRAMES:
        raise SpecError(closest(name, FRAMES, "frame of the arm"))
    return FRAMES.index(name)


GUARDED = {"tool": frame_index(TOOL), "elbow": frame_index(ELBOW), "wrist": frame_index(WRIST)}
"""The points of the arm that have to stay inside of a workspace, and their frames' places in `FRAMES`."""


def forward(joint_positions: ArrayLike) -> Frames:
    """Every frame of the arm in its base frame.

    Args:
        joint_positions: `(..., 7)` rad.
    """
    joints = _joints(joint_positions)
    turned = _turned(joints)
    batch = joints.shape[:-1]
    rotations = np.empty((*batch, len(FRAMES), 3, 3))
    origins = np.empty((*batch, len(FRAMES), 3))
    rotation, origin = np.broadcast_to(np.eye(3), (*batch, 3, 3)), np.zeros((*batch, 3))
    for index in range(_JOINT_COUNT):
        origin = origin + rotation @ _OFFSETS[index]
        rotation = rotation @ turned[..., index, :, :]
        rotations[..., index, :, :], origins[..., index, :] = rotation, origin
    flange, tool = _JOINT_COUNT, _JOINT_COUNT + 1
    origins[..., flange, :] = origin + rotation @ np.array(FLANGE.position)
    rotations[..., flange, :, :] = rotation @ _R_bracelet_flange
    origins[..., tool, :] = origins[..., flange, :] + TOOL_OFFSET_M * rotations[..., flange, :, 2]
    rotations[..., tool, :, :] = rotations[..., flange, :, :] @ _R_flange_tool
    return Frames(rotations, origins)


def jacobian(frames: Frames, name: str = TOOL) -> Array:
    """How the origin of a frame moves with the joints.

    Args:
        frames: The arm, as `forward` returns it.
        name: One of `FRAMES`.

    Returns:
        `(..., 6, 7)`: linear (m/s) over angular (rad/s), base frame. Joints beyond the frame have no effect.
    """
    index = frame_index(name)
    axes = frames.rotations[..., :_JOINT_COUNT, :, 2]
    arms = frames.origins[..., index, None, :] - frames.origins[..., :_JOINT_COUNT, :]
    columns = np.empty((*axes.shape[:-1], 6))
    columns[..., :3] = _cross(axes, arms)
    columns[..., 3:] = axes
    columns[..., index + 1 :, :] = 0.0
    return np.swapaxes(columns, -1, -2)


def point_jacobians(frames: Frames, indices: ArrayLike) -> Array:
    """The linear part of `jacobian` for several frames at once.

    Args:
        frames: The arm, as `forward` returns it.
        indices: `(P,)` places in `FRAMES`.

    Returns:
        `(..., P, 3, 7)` m/s per rad/s.
    """
    chosen = np.asarray(indices)
    axes = frames.rotations[..., None, :_JOINT_COUNT, :, 2]
    arms = frames.origins[..., chosen, None, :] - frames.origins[..., None, :_JOINT_COUNT, :]
    columns = _cross(axes, arms)
    columns[..., np.arange(_JOINT_COUNT)[None, :] > chosen[:, None], :] = 0.0
    return np.swapaxes(columns, -1, -2)


def link_poses(joint_positions: ArrayLike) -> list[tuple[str, Array]]:
    """Every link in its parent, for /tf: from the shoulder in the base to the flange in the bracelet.

    Args:
        joint_positions: `(7,)` rad.

    Returns:
        Name of the link and its pose `T_parent_link` (4, 4), in the order of the chain.
    """
    turned = _turned(_joints(joint_positions))
    poses = [(link.name, _transform(rotation, link)) for link, rotation in zip(LINKS, turned, strict=True)]
    return [*poses, (FLANGE.name, _transform(_R_bracelet_flange, FLANGE))]


def finger_poses(closed: float) -> list[tuple[str, Array]]:
    """The fingers in the flange, at the fingertips' inner faces.

    Args:
        closed: The gripper, 0 (open) to 1 (closed).

    Returns:
        Name of the finger and its pose `T_flange_finger` (4, 4).
    """
    poses = []
    for name, side in FINGERS:
        T = np.eye(4)
        T[:3, :3] = _R_flange_tool
        T[:3, 3] = _R_flange_tool @ (0.0, side * 0.5 * OPENING_M * (1.0 - closed), 0.0)
        T[2, 3] += TOOL_OFFSET_M
        poses.append((name, T))
    return poses


class Gen3Kinematics:
    """`Kinematics` of one arm in numpy."""

    def __init__(self) -> None:
        self.update(np.zeros(_JOINT_COUNT))

    def update(self, joint_positions: Array) -> None:
        """Moves the chain to `joint_positions`, (7,) rad."""
        self.frames = forward(joint_positions)

    def tool_pose(self) -> Array:
        """Returns `T_base_tool` (4, 4) of the last update."""
        return self.frames.pose(TOOL)

    def jacobian(self) -> Array:
        """Returns the tool's Jacobian (6, 7) of the last update."""
        return jacobian(self.frames)


def _joints(joint_positions: ArrayLike) -> Array:
    joints = np.asarray(joint_positions, dtype=np.float64)
    if joints.shape[-1:] != (_JOINT_COUNT,):
        raise SpecError(f"a Gen3 has {_JOINT_COUNT} joint positions (..., {_JOINT_COUNT}) rad, not {joints.shape}")
    return joints


def _turned(joints: Array) -> Array:
    """Rotation of each link in its parent, `(..., 7, 3, 3)`."""
    c, s = np.cos(joints)[..., None], np.sin(joints)[..., None]
    turned = np.empty((*joints.shape, 3, 3))
    turned[..., 0] = c * _ORIGINS[:, :, 0] + s * _ORIGINS[:, :, 1]
    turned[..., 1] = c * _ORIGINS[:, :, 1] - s * _ORIGINS[:, :, 0]
    turned[..., 2] = _ORIGINS[:, :, 2]
    return turned


def _transform(rotation: Array, link: Link) -> Array:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation, link.position
    return T


def _cross(a: Array, b: Array) -> Array:
    """np.cross along the last axis, at a fraction of its cost for few vectors."""
    result = np.empty(np.broadcast_shapes(a.shape, b.shape))
    result[..., 0] = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    result[..., 1] = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    result[..., 2] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return result
