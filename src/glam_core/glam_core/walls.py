"""The walls that tool, elbow and wrist stay behind: the faces of their workspaces and of keep-out zones.

Everything is a batch of N arms, each with P guarded points and M walls, and a predicted way of S samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glam_core.kinematics import GUARDED
from glam_core.limits import SafetyLimits

Array = NDArray[np.float64]

POINTS = tuple(GUARDED)
_TOOL = POINTS.index("tool")
_AXES = np.arange(3)


class Ahead(NamedTuple):
    """What the predicted way of each guarded point meets.

    Attributes:
        excess: `(N, M)` how far a point gets beyond a wall, m; for one that is beyond already, how much further.
        horizon: `(N, M)` when it is farthest, s.
        normals: `(N, M, 3)` unit vectors that point through the walls.
        reached: `(N, M)` the coordinate that the point would reach, m.
    """

    excess: Array
    horizon: Array
    normals: Array
    reached: Array


class Walls:
    """The walls of one set of limits.

    Attributes:
        names: The limit that each of the M walls belongs to, with the point that it is for.
        points: `(M,)` which point that is, in the order of `POINTS`.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        low = np.tile(limits.link_workspace_min, (len(POINTS), 1))
        high = np.tile(limits.link_workspace_max, (len(POINTS), 1))
        low[_TOOL], high[_TOOL] = limits.workspace_min, limits.workspace_max
        self._box_bounds = np.stack([high, -low], axis=1)  # (P, 2, 3)
        margins = np.full((len(POINTS), 1), limits.link_radius_m)
        margins[_TOOL] = 0.0
        self._zone_low = np.array([np.array(zone.min) - margins for zone in limits.keep_out]).reshape(-1, 3)
        self._zone_high = np.array([np.array(zone.max) + margins for zone in limits.keep_out]).reshape(-1, 3)
        self._zone_points = np.tile(np.arange(len(POINTS)), len(limits.keep_out))
        box_names = [
            f"{'' if point == 'tool' else 'link_'}workspace_{side}.{axis}.{point}"
            for point in POINTS
            for side in ("max", "min")
            for axis in "xyz"
        ]
        self.names = (*box_names, *(f"keep_out.{zone.name}.{point}" for zone in limits.keep_out for point in POINTS))
        self.points = np.concatenate([np.repeat(np.arange(len(POINTS)), 6), self._zone_points])

    def look(self, points: Array, ahead: Array, times: Array) -> Ahead:
        """What stands in the way.

        Args:
            points: `(N, P, 3)` m, where the guarded points are.
            ahead: `(N, S, P, 3)` m, where they would get to.
            times: `(N, S)` s, how long that takes at the speed that is asked for.
        """
        boxes = self._boxes(points, ahead, times)
        if not len(self._zone_low):
            return boxes
        zones = self._zones(points, ahead, times)
        return Ahead(*(np.concatenate(parts, axis=1) for parts in zip(boxes, zones, strict=True)))

    def _boxes(self, points: Array, ahead: Array, times: Array) -> Ahead:
        count = len(points)
        signed = np.stack([ahead, -ahead], axis=3)  # (N, S, P, 2, 3)
        allowed = np.maximum(self._box_bounds, np.stack([points, -points], axis=2))  # (N, P, 2, 3)
        signed = signed.reshape(count, times.shape[1], -1)
        excess, reached, horizon = _farthest(signed, allowed.reshape(count, -1), times)
        normals = np.broadcast_to(_BOX_NORMALS, (count, *_BOX_NORMALS.shape))
        return Ahead(excess, horizon, normals, reached * _BOX_NORMALS.sum(axis=-1))

    def _zones(self, points: Array, ahead: Array, times: Array) -> Ahead:
        low, high = self._zone_low, self._zone_high  # (Q, 3)
        here, way = points[:, self._zone_points], ahead[:, :, self._zone_points]  # (N, Q, 3), (N, S, Q, 3)
        # The face that a point is in front of, as an outward distance from each of the six.
        sides = np.concatenate([low - here, here - high], axis=-1)
        face = np.argmax(sides, axis=-1)
        axis, sign = face % 3, np.where(face < 3, 1.0, -1.0)
        normals = (axis[..., None] == _AXES) * sign[..., None]
        inside = np.take_along_axis(sides, face[..., None], axis=-1)[..., 0] < 0.0
        along = np.einsum("nsqi,nqi->nsq", way, normals)
        bounds = np.where(sign > 0.0, np.take_along_axis(low[None], axis[..., None], -1)[..., 0], 0.0)
        bounds += np.where(sign < 0.0, -np.take_along_axis(high[None], axis[..., None], -1)[..., 0], 0.0)
        bounds = np.where(inside, np.einsum("nqi,nqi->nq", here, normals), bounds)
        starts = np.concatenate([here[:, None], way[:, :-1]], axis=1)
        hit = inside | crosses_box(starts, way, low, high).any(axis=1)
        excess, reached, horizon = _farthest(along, bounds, times)
        return Ahead(np.where(hit, excess, -1.0), horizon, normals, reached * normals.sum(axis=-1))


_BOX_NORMALS = np.tile(np.concatenate([np.eye(3), -np.eye(3)]), (len(POINTS), 1))


def crosses_box(start: Array, end: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    """Whether straight lines `(..., 3)` between two points enter boxes `(..., 3)`; touching one is not entering it."""
    move = end - start
    still = move == 0.0
    scale = 1.0 / np.where(still, 1.0, move)
    one, other = (low - start) * scale, (high - start) * scale
    within = (start > low) & (start < high)
    first = np.where(still, np.where(within, 0.0, np.inf), np.minimum(one, other))
    last = np.where(still, np.where(within, 1.0, -np.inf), np.maximum(one, other))
    return np.maximum(first.max(axis=-1), 0.0) < np.minimum(last.min(axis=-1), 1.0)


def _farthest(along: Array, allowed: Array, times: Array) -> tuple[Array, Array, Array]:
    """The sample that gets farthest: by how much beyond what is allowed, how far, and when; `(N, M)` each."""
    sample = np.argmax(along, axis=1)
    reached = np.take_along_axis(along, sample[:, None], axis=1)[:, 0]
    return reached - allowed, reached, np.take_along_axis(times, sample, axis=1)
