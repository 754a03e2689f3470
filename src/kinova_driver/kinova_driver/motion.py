"""From filtered commands of the tool to joint speeds: along the way from one to the next, feed-forward plus P."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glam_core.ik import DifferentialIK, rotation_vector
from glam_core.kinematics import Gen3Kinematics
from glam_core.pose import interpolate

Array = NDArray[np.float64]

COMMAND_STEP_S = 0.1
"""A command is to be reached this long after it was given: the period of actions."""
GAIN_1_S = 8.0
"""How fast an error of the tool is removed, on top of the speed of the reference."""
_STRETCH_S = 0.005
"""Shorter stretches of the reference are one."""


@dataclass(frozen=True, eq=False)
class _Waypoint:
    """Where the tool is to be, and when: monotonic clock, s."""

    T_base_tool: Array
    due: float


class ToolMotion:
    """The way of one tool. Commands may come at any rate: each is a waypoint that is due a little later.

    Args:
        lead_s: Measured time from a command to the motion of the arm: the feed-forward looks ahead by it.
        gain_1_s: How fast an error is removed.
    """

    def __init__(self, lead_s: float = 0.0, gain_1_s: float = GAIN_1_S) -> None:
        self._lead_s, self._gain_1_s = lead_s, gain_1_s
        self._ik = DifferentialIK(Gen3Kinematics())
        self._way: deque[_Waypoint] = deque()

    def reset(self) -> None:
        """Forgets the way: the next command is approached from where the tool is."""
        self._way.clear()

    def aim(self, T_base_tool: Array, T_base_measured: Array, now: float) -> None:
        """Adds a waypoint, due `COMMAND_STEP_S` from now. One that repeats the last keeps its time.

        Args:
            T_base_tool: (4, 4) where the tool is to be.
            T_base_measured: (4, 4) where it is; the way begins there.
            now: Monotonic clock, s.
        """
        if not self._way:
            self._way.append(_Waypoint(T_base_measured, now))
        last = self._way[-1]
        if np.array_equal(last.T_base_tool, T_base_tool):
            return
        if last.due < now:  # it rested there: the way to the next begins now
            self._way.append(_Waypoint(last.T_base_tool, now))
        due = now + COMMAND_STEP_S
        if len(self._way) > 1 and due - self._way[-1].due < _STRETCH_S:
            self._way.pop()
        self._way.append(_Waypoint(T_base_tool, due))

    def reference(self, at: float) -> tuple[Array, Array]:
        """Where the tool should be at a moment, (4, 4), and its velocity (6,) m/s and rad/s."""
        way = self._way
        if at >= way[-1].due or len(way) == 1:
            return way[-1].T_base_tool, np.zeros(6)
        index = next(i for i, waypoint in enumerate(way) if waypoint.due > at)
        if index == 0:
            return way[0].T_base_tool, np.zeros(6)
        start, end = way[index - 1], way[index]
        duration = end.due - start.due
        velocity = np.empty(6)
        velocity[:3] = (end.T_base_tool[:3, 3] - start.T_base_tool[:3, 3]) / duration
        velocity[3:] = rotation_vector(end.T_base_tool[:3, :3] @ start.T_base_tool[:3, :3].T) / duration
        return interpolate(start.T_base_tool, end.T_base_tool, (at - start.due) / duration), velocity

    def joint_speeds(self, positions: Array, measured_at: float, now: float) -> Array:
        """Joint speeds `(7,)` rad/s that keep the tool on its way.

        Args:
            positions: `(7,)` rad, measured.
            measured_at: When that was: monotonic clock, s.
            now: Monotonic clock, s.
        """
        self._drop_passed(min(measured_at, now))
        reference, _ = self.reference(measured_at)
        # Looking ahead ends with the way: the next waypoint usually comes just in time.
        end = self._way[-1].due
        _, velocity = self.reference(min(now + self._lead_s, end - 1e-6) if now < end else now)
        return self._ik.tracking_speeds(positions, reference, velocity, self._gain_1_s)

    def _drop_passed(self, at: float) -> None:
        while len(self._way) > 1 and self._way[1].due <= at:
            self._way.popleft()
