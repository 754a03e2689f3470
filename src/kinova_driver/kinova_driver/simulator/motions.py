"""What moves the joints in single-level servoing: each motion says how fast they should turn next.

A motion is told where the arm's set-point stands, not where the arm is: the set-point is what it moves.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from glam_core.pose import interpolate, log_so3
from kinova_driver.simulator.chain import Chain
from kinova_driver.simulator.limits import JOINT_COUNT, SoftLimits

Array = NDArray[np.float64]

_PEAK_SPEED, _PEAK_ACCELERATION = 1.875, 5.7735
"""Of the quintic from 0 to 1 in unit time."""
_SHORTEST_S = 0.1
_DEFAULT_M_S, _DEFAULT_RAD_S = 0.25, 0.9
_ARRIVED_M, _ARRIVED_RAD = 1e-3, 5e-3
_LOST_M = 0.05
"""A tool that is so far from its path has lost it: out of reach, or past a joint's limit."""
_PATIENCE_S = 1.0
"""How long a tool may stay away from the end of its path before the motion fails."""
_GAIN_1_S = 10.0
"""How fast a set-point that has left its path comes back."""
_RAMP_S = 0.2
"""A pause brings a path to rest within this, and resuming it takes as long."""


class Motion(Protocol):
    """One motion of the arm."""

    finished: bool
    failure: str
    """Name of the sub-error that it ends with; empty while there is none."""

    def speeds(self, positions: Array, dt: float) -> Array:
        """Joint speeds `(7,)` rad/s for the next `dt` seconds, from the set-point `positions` (7,) rad."""
        ...


class Rest:
    """Stays where it is."""

    finished, failure = False, ""

    def speeds(self, positions: Array, dt: float) -> Array:
        """None."""
        return np.zeros(JOINT_COUNT)


class JointSpeeds:
    """Turns the joints for ever."""

    finished, failure = False, ""

    def __init__(self, speeds: Array) -> None:
        self.target = speeds

    def speeds(self, positions: Array, dt: float) -> Array:
        """The speeds that were asked for."""
        return self.target


class Twist:
    """Moves the tool for ever. The axes of each part, base or tool, are those that the command names."""

    finished, failure = False, ""

    def __init__(self, chain: Chain, twist: Array, linear_in_tool: bool, angular_in_tool: bool) -> None:
        self._chain, self.target = chain, twist
        self._linear_in_tool, self._angular_in_tool = linear_in_tool, angular_in_tool

    def speeds(self, positions: Array, dt: float) -> Array:
        """By the pseudo-inverse of the Jacobian: the smallest joint speeds that do it."""
        self._chain.update(positions)
        R = self._chain.pose()[:3, :3]
        linear, angular = self.target[:3], self.target[3:]
        twist = np.concatenate(
            [R @ linear if self._linear_in_tool else linear, R @ angular if self._angular_in_tool else angular]
        )
        return self._chain.joint_speeds(twist)


class _Clock:
    """The time along a path, which a pause slows down to a stand."""

    def __init__(self, duration_s: float) -> None:
        self.duration_s = max(duration_s, _SHORTEST_S)
        self.passed_s, self.paused, self._rate = 0.0, False, 1.0

    @property
    def progress(self) -> float:
        """How far along the path it is, 0 to 1."""
        u = min(1.0, self.passed_s / self.duration_s)
        return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)

    def advance(self, dt: float) -> tuple[float, float]:
        """Lets time pass; returns the progress before and after."""
        before = self.progress
        goal = 0.0 if self.paused else 1.0
        self._rate += float(np.clip(goal - self._rate, -dt / _RAMP_S, dt / _RAMP_S))
        self.passed_s += self._rate * dt
        return before, self.progress


class JointPath:
    """All joints to a goal, at rest at both ends, together."""

    failure = ""

    def __init__(self, start: Array, goal: Array, limits: SoftLimits, duration_s: float = 0.0) -> None:
        """Plans it; `duration_s` is a wish that the limits may lengthen."""
        self._start, self._goal = start.copy(), goal.copy()
        way = np.abs(goal - start)
        needed = np.maximum(_PEAK_SPEED * way / limits.speeds, np.sqrt(_PEAK_ACCELERATION * way / limits.accelerations))
        self.clock = _Clock(max(duration_s, float(needed.max())))
        self.finished = False

    def speeds(self, positions: Array, dt: float) -> Array:
        """Along the path, and back to it."""
        before, after = self.clock.advance(dt)
        way = self._goal - self._start
        miss = self._start + before * way - positions
        self.finished = after >= 1.0 and bool(np.abs(self._goal - positions).max() < _ARRIVED_RAD)
        return (after - before) * way / dt + _GAIN_1_S * miss


class PosePath:
    """The tool along a straight line to a pose, turning on the way, at rest at both ends."""

    def __init__(
        self,
        chain: Chain,
        start: Array,
        T_base_goal: Array,
        speed_m_s: float = 0.0,
        speed_rad_s: float = 0.0,
        duration_s: float = 0.0,
    ) -> None:
        """Plans it from the joint positions `start` (7,); 0 stands for the arm's own choice."""
        self._chain, self._goal = chain, T_base_goal
        chain.update(start)
        self._start = chain.pose()
        way = float(np.linalg.norm(T_base_goal[:3, 3] - self._start[:3, 3]))
        turn = float(np.linalg.norm(log_so3(self._start[:3, :3].T @ T_base_goal[:3, :3])))
        needed = _PEAK_SPEED * max(way / (speed_m_s or _DEFAULT_M_S), turn / (speed_rad_s or _DEFAULT_RAD_S))
        self.clock = _Clock(max(duration_s, needed))
        self.finished, self.failure = False, ""

    def speeds(self, positions: Array, dt: float) -> Array:
        """Along the path, and back to it, as far as the joints can."""
        before, after = self.clock.advance(dt)
        T_base_path, T_base_next = (interpolate(self._start, self._goal, u) for u in (before, after))
        self._chain.update(positions)
        miss = _between(self._chain.pose(), T_base_path)
        if np.linalg.norm(miss[:3]) > _LOST_M:
            self.failure = "CONTROL_OUTSIDE_WORKSPACE"
        elif after >= 1.0:
            self.finished = bool(np.linalg.norm(miss[:3]) < _ARRIVED_M and np.linalg.norm(miss[3:]) < _ARRIVED_RAD)
            if not self.finished and self.clock.passed_s > self.clock.duration_s + _PATIENCE_S:
                self.failure = "CONTROL_OUTSIDE_WORKSPACE"
        return self._chain.joint_speeds(_between(T_base_path, T_base_next) / dt + _GAIN_1_S * miss)


class Wait:
    """Stays for a time."""

    failure = ""

    def __init__(self, duration_s: float) -> None:
        self.clock = _Clock(duration_s)
        self.finished = False

    def speeds(self, positions: Array, dt: float) -> Array:
        """None, until the time is over."""
        self.finished = self.clock.advance(dt)[1] >= 1.0
        return np.zeros(JOINT_COUNT)


Path = JointPath | PosePath | Wait
"""What an action runs along: it can be paused, and it ends."""


def _between(T_base_a: Array, T_base_b: Array) -> Array:
    """The twist `(6,)` in the base frame that leads from one pose to the other in unit time."""
    return np.concatenate([T_base_b[:3, 3] - T_base_a[:3, 3], log_so3(T_base_b[:3, :3] @ T_base_a[:3, :3].T)])
