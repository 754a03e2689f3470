"""From filtered commands of the tool to joint speeds: each command is a goal, with the time when it is due."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glam_core.ik import DifferentialIK
from glam_core.kinematics import Gen3Kinematics

Array = NDArray[np.float64]

_LONGEST_PREDICTION_S = 0.05


class ToolMotion:
    """The way of one tool: at every tick straight to the newest goal, so fast that it is there when the goal is due.

    Just before that it slows down. Policies were taught by arms that move like this: where the arm is faster or later,
    actions that are relative to the measured tool add up to something else.

    Args:
        lead_s: Measured time from a command to the motion of the arm: how far ahead of the measurement it is met.
    """

    def __init__(self, lead_s: float = 0.0) -> None:
        self._lead_s = lead_s
        self._ik = DifferentialIK(Gen3Kinematics())
        self.reset()

    def reset(self) -> None:
        """Forgets the goal, and that the arm was moving."""
        self._goal: Array | None = None
        self._due = 0.0
        self._speeds = np.zeros(7)

    def aim(self, T_base_tool: Array, due: float) -> None:
        """Takes a goal (4, 4) and when it is due (monotonic clock, s); a goal that is repeated keeps its time."""
        if self._goal is None or not np.array_equal(self._goal, T_base_tool):
            self._goal, self._due = T_base_tool, due

    def joint_speeds(self, positions: Array, measured_at: float, now: float) -> Array:
        """Joint speeds `(7,)` rad/s towards the goal.

        Args:
            positions: `(7,)` rad, measured.
            measured_at: When that was: monotonic clock, s.
            now: Monotonic clock, s.
        """
        assert self._goal is not None
        ahead = min(max(now - measured_at, 0.0) + self._lead_s, _LONGEST_PREDICTION_S)
        self._speeds = self._ik.joint_speeds(
            positions + ahead * self._speeds, self._goal, self._due - now - self._lead_s
        )
        return self._speeds
