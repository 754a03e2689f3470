"""Where the links of a Gen3 are, for /tf: the published chain of its seven joints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

JOINT_COUNT = 7
FLANGE = "end_effector_link"


def _origin(rows: Sequence[Sequence[float]], position: Sequence[float]) -> NDArray[np.float64]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rows, position
    return T


_FLIP = ((1, 0, 0), (0, -1, 0), (0, 0, -1))  # half a turn about x
_UP = ((1, 0, 0), (0, 0, -1), (0, 1, 0))  # quarter turn about x
_DOWN = ((1, 0, 0), (0, 0, 1), (0, -1, 0))  # and back

# Link, and the pose of its joint in the parent link at joint angle 0 (m).
_LINKS = (
    ("shoulder_link", _origin(_FLIP, (0.0, 0.0, 0.15643))),
    ("half_arm_1_link", _origin(_UP, (0.0, 0.005375, -0.12838))),
    ("half_arm_2_link", _origin(_DOWN, (0.0, -0.21038, -0.006375))),
    ("forearm_link", _origin(_UP, (0.0, 0.006375, -0.21038))),
    ("spherical_wrist_1_link", _origin(_DOWN, (0.0, -0.20843, -0.006375))),
    ("spherical_wrist_2_link", _origin(_UP, (0.0, 0.00017505, -0.10593))),
    ("bracelet_link", _origin(_DOWN, (0.0, -0.10593, -0.00017505))),
)
_T_bracelet_flange = _origin(_FLIP, (0.0, 0.0, -0.061525))


def link_poses(joint_positions: NDArray[np.float64]) -> list[tuple[str, NDArray[np.float64]]]:
    """Every link in its parent, from the shoulder in the base to the flange in the bracelet.

    Args:
        joint_positions: `(7,)` rad.

    Returns:
        Name of the link and its pose `T_parent_link` (4, 4), in the order of the chain.
    """
    poses = []
    for (name, origin), angle in zip(_LINKS, joint_positions, strict=True):
        c, s = np.cos(angle), np.sin(angle)
        turned = origin.copy()
        turned[:3, 0] = c * origin[:3, 0] + s * origin[:3, 1]
        turned[:3, 1] = c * origin[:3, 1] - s * origin[:3, 0]
        poses.append((name, turned))
    return [*poses, (FLANGE, _T_bracelet_flange)]
