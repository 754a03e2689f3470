"""The last word on joint speeds before they reach an arm: joints, tool, elbow and wrist stay inside of their limits.

Joint speeds never expire on the arm, so a command is judged by where it leads when nothing follows it: at this speed
until the silence is noticed (`command_timeout_s`), then braking. Standing still is always allowed, and slowing down is
never limited; so every set of allowed speeds contains zero, and what can not be mended by sliding is mended by scaling.

A command inside of all limits passes unchanged, to the bit. `JointLimiter` does the arithmetic for many arms at once,
so that millions of commands can be tried; `JointFilter` is what one arm has, with names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import SafetyError, closest
from glam_core.gen3 import CONTROL_STEP_S, JOINTS
from glam_core.kinematics import GUARDED, forward, point_jacobians
from glam_core.limits import SafetyLimits
from glam_core.safety import Clamp
from glam_core.walls import POINTS, Walls

Array = NDArray[np.float64]
Range = tuple[Array, Array]
"""Lowest and highest joint speeds, `(N, 7)` rad/s each."""

_EPSILON = 1e-9
_INDICES = list(GUARDED.values())
_TOOL = POINTS.index("tool")
_SAMPLES = 4
"""How many points of the predicted motion are looked at, after the very next step."""
_LONGEST_BRAKING_S = 10.0
_SLIDES = 4
"""How often the speeds are moved back along the walls before they are scaled."""
_SCALES = (0.5, 0.25, 0.1, 0.0)
_SWEEPS = 8
_DAMPING = 1e-4


class Limited(NamedTuple):
    """The outcome for N arms: speeds, and for each limit what was asked and what was given where it changed them.

    Attributes:
        speeds: `(N, 7)` rad/s.
        changes: Name of the limit, which of the N arms it changed, what was asked (N,), and what was given (N,).
    """

    speeds: Array
    changes: list[tuple[str, NDArray[np.bool_], Array, Array]]


class JointLimiter:
    """Limits the joint speeds of N arms with the same limits. It keeps the last speeds; `reset` puts them to zero."""

    def __init__(self, limits: SafetyLimits, count: int = 1) -> None:
        self.limits, self._count = limits, count
        self._low, self._high = limits.joint_ranges
        self._fastest, self._growth = limits.joint_speeds, limits.joint_accelerations
        self._walls = Walls(limits)
        self.reset()

    def reset(self) -> None:
        """The arms are at rest, and the next speeds grow from there."""
        self._speeds = np.zeros((self._count, len(JOINTS)))
        self._tool_velocities = np.zeros((self._count, 3))

    def limit(self, speeds: Array, positions: Array, step_s: Array) -> Limited:
        """Returns speeds near to those asked for that keep all limits.

        Args:
            speeds: `(N, 7)` rad/s.
            positions: `(N, 7)` rad, measured.
            step_s: `(N,)` s since the last speeds, as long as they may grow for.
        """
        changes: list[tuple[str, NDArray[np.bool_], Array, Array]] = []
        frames = forward(positions)
        points = frames.origins[:, _INDICES]
        jacobians = point_jacobians(frames, _INDICES)
        reachable, within_range = self._reachable(step_s), self._within_range(positions)
        given = self._limit_speed(speeds, changes)
        given = self._limit_acceleration(given, reachable, changes)
        given = self._limit_range(given, within_range, changes)
        slid, doubtful = self._slide(given, positions, points, jacobians, changes)
        given = self._scale(slid, (reachable, within_range), jacobians[:, _TOOL], step_s, changes)
        doubtful |= np.any(given != slid, axis=1)
        given = self._scale_behind_walls(given, positions, points, doubtful, changes)
        self._speeds = given
        self._tool_velocities = np.einsum("nij,nj->ni", jacobians[:, _TOOL], given)
        return Limited(given, changes)

    def _limit_speed(self, speeds: Array, changes: list) -> Array:
        """Scales the whole motion, so that the tool keeps its direction."""
        ratio = _ratio(self._fastest, np.abs(speeds))
        return self._scaled("joint_speed", speeds, ratio, changes)

    def _limit_acceleration(self, speeds: Array, reachable: Range, changes: list) -> Array:
        """Goes as far from the last speeds to those asked for as all joints can."""
        lowest, highest = reachable
        if not np.any((speeds < lowest - _EPSILON) | (speeds > highest + _EPSILON)):
            return speeds
        change = speeds - self._speeds
        room = np.where(change > 0.0, highest - self._speeds, self._speeds - lowest)
        share = _ratio(room, np.abs(change))
        joint = np.argmin(share, axis=1)[:, None]
        least = np.take_along_axis(share, joint, axis=1)
        given = np.where(least < 1.0, self._speeds + least * change, speeds)
        _note("joint_acceleration", speeds, given, least[:, 0] < 1.0, joint, changes)
        return given

    def _limit_range(self, speeds: Array, within_range: Range, changes: list) -> Array:
        """Stops each joint before the end of its range; the others go on."""
        lowest, highest = within_range
        given = np.clip(speeds, lowest, highest)
        changed = np.abs(given - speeds) > _EPSILON
        for joint in np.flatnonzero(changed.any(axis=0)):
            name = f"joint_range.{JOINTS[joint]}"
            changes.append((name, changed[:, joint], speeds[:, joint], given[:, joint]))
        return np.where(changed.any(axis=1, keepdims=True), given, speeds)

    def _slide(
        self, asked: Array, positions: Array, points: Array, jacobians: Array, changes: list
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Slides tool, elbow and wrist along the walls that they would pass; tells which arms still would."""
        speeds, noted = asked, np.zeros((len(asked), len(self._walls.names)), dtype=bool)
        bounds = np.full(noted.shape, np.inf)
        rows = np.zeros((*noted.shape, len(JOINTS)))
        for slide in range(_SLIDES + 1):
            ahead = self._walls.look(points, *self._way(speeds, positions))
            passed = ahead.excess > _EPSILON
            if slide == _SLIDES or not passed.any():
                break
            new = passed & ~noted
            for wall in np.flatnonzero(new.any(axis=0)):
                given = ahead.reached[:, wall] - ahead.excess[:, wall] * ahead.normals[:, wall].sum(axis=-1)
                changes.append((self._walls.names[wall], new[:, wall], ahead.reached[:, wall], given))
            noted |= passed
            # A wall of a zone may have become another face of it: what holds is the newest one.
            turned = np.einsum("nmi,nmij->nmj", ahead.normals, jacobians[:, self._walls.points])
            same = np.all(turned == rows, axis=-1)
            rows = np.where(passed[..., None], turned, rows)
            newest = np.einsum("nmj,nj->nm", rows, speeds) - ahead.excess / ahead.horizon
            bounds = np.where(passed, np.where(same, np.minimum(bounds, newest), newest), bounds)
            speeds = _project(asked, rows, bounds)
        return speeds, passed.any(axis=1)

    def _scale(self, speeds: Array, ranges: tuple[Range, ...], tool: Array, step_s: Array, changes: list) -> Array:
        """Scales into the limits of the joints, which sliding may have left, and into those of the tool."""
        for lowest, highest in ranges:
            ratio = _ratio(np.where(speeds > 0.0, highest, -lowest), np.abs(speeds))
            speeds = self._scaled("joint_speeds", speeds, ratio, changes)
        speeds = self._scaled("joint_speeds", speeds, _ratio(self._fastest, np.abs(speeds)), changes)
        velocity = np.einsum("nij,nj->ni", tool, speeds)
        speed = np.linalg.norm(velocity, axis=1)
        growth = self.limits.max_acceleration_m_s2 * step_s
        reachable = _leave_capsules(velocity, self._tool_velocities, growth)
        for name, most in (
            ("max_speed_m_s.tool", np.full_like(speed, self.limits.max_speed_m_s)),
            ("max_acceleration_m_s2.tool", reachable),
        ):
            over = speed > most + _EPSILON
            if over.any():
                ratio = np.where(over, most / np.where(over, speed, 1.0), 1.0)
                changes.append((name, over, speed, speed * ratio))
                speeds, speed = speeds * ratio[:, None], speed * ratio
        return speeds

    def _scale_behind_walls(
        self, speeds: Array, positions: Array, points: Array, doubtful: NDArray[np.bool_], changes: list
    ) -> Array:
        """Less of the same motion, or none, where sliding and scaling did not keep a point behind its walls."""
        left, given, scaled = np.flatnonzero(doubtful), speeds, np.zeros(len(speeds), dtype=bool)
        for scale in (1.0, *_SCALES):
            if not len(left):
                break
            if scale < 1.0:
                given = given.copy() if given is speeds else given
                given[left] = scale * speeds[left]
                scaled[left] = True
            ahead = self._walls.look(points[left], *self._way(given[left], positions[left]))
            left = left[(ahead.excess > _EPSILON).any(axis=1)]
        if scaled.any():
            changes.append(("joint_speeds", scaled, np.abs(speeds).max(axis=1), np.abs(given).max(axis=1)))
        return given

    def _way(self, speeds: Array, positions: Array) -> tuple[Array, Array]:
        """Where the guarded points get to, `(N, S, P, 3)`, and when in units of these speeds, `(N, S)`."""
        moving = np.abs(speeds)
        braking = np.max(np.where(moving > 0.0, _divide(moving, self._growth, _LONGEST_BRAKING_S), 0.0), axis=1)
        silence = self.limits.command_timeout_s
        # All joints brake in proportion; that takes them half as far as going on would.
        farthest = silence + 0.5 * np.minimum(braking, _LONGEST_BRAKING_S)
        first = np.minimum(CONTROL_STEP_S, silence)
        times = first + (farthest - first)[:, None] * _FRACTIONS
        ahead = forward(positions[:, None] + times[..., None] * speeds[:, None]).origins[:, :, _INDICES]
        return ahead, times

    def _reachable(self, step_s: Array) -> Range:
        """Joint speeds that the acceleration limits allow: slowing down and standing still always."""
        growth = self._growth * step_s[:, None]
        return np.minimum(self._speeds, 0.0) - growth, np.maximum(self._speeds, 0.0) + growth

    def _within_range(self, positions: Array) -> Range:
        """Joint speeds from which every joint comes to rest within its range; zero towards an end that is passed."""
        return -self._stopping_speed(positions - self._low), self._stopping_speed(self._high - positions)

    def _stopping_speed(self, distance: Array) -> Array:
        """The speed that covers `distance` in the time of silence and the braking after it."""
        silence = self.limits.command_timeout_s
        room = np.clip(distance, 0.0, 1e3)  # a continuous joint is endless
        # v * silence + v^2 / (2 * braking) = room, solved without cancellation.
        root = np.sqrt(silence**2 + 2.0 * _divide(room, self._growth, 0.0))
        return np.where(self._growth > 0.0, 2.0 * room / (silence + root), 0.0)

    def _scaled(self, name: str, speeds: Array, ratio: Array, changes: list) -> Array:
        """Scales each arm by its least ratio, where that is below one."""
        if not np.any(ratio < 1.0):
            return speeds
        joint = np.argmin(ratio, axis=1)[:, None]
        least = np.take_along_axis(ratio, joint, axis=1)
        given = np.where(least < 1.0, speeds * least, speeds)
        _note(name, speeds, given, least[:, 0] < 1.0, joint, changes)
        return given


@dataclass(frozen=True, eq=False)
class LimitedSpeeds:
    """Joint speeds `(7,)` rad/s that keep all limits, and what was changed to get there."""

    speeds: Array
    clamps: tuple[Clamp, ...] = ()


class JointFilter:
    """Limits the joint speeds of one arm; `reset` when it has been brought to rest.

    Args:
        limits: The limits.
        arm: The name that clamps are reported under.
    """

    def __init__(self, limits: SafetyLimits, arm: str = "arm") -> None:
        self.limits = limits
        self.arm = arm
        self._limiter = JointLimiter(limits)
        self._at: float | None = None

    def reset(self) -> None:
        """The arm is at rest, and the next speeds grow from there."""
        self._limiter.reset()
        self._at = None

    def limit(self, speeds: Array, positions: Array, now: float) -> LimitedSpeeds:
        """Returns speeds near to those asked for that keep all limits.

        Args:
            speeds: `(7,)` rad/s, in the order of the arm's joints; see `in_order`.
            positions: `(7,)` rad, measured.
            now: The current time, s.

        Raises:
            SafetyError: A number is not finite, or time runs backwards; nothing may be sent then.
        """
        for what, values in (("joint speeds", speeds), ("measured joint positions", positions)):
            if values.shape != (len(JOINTS),) or not np.isfinite(values).all():
                raise SafetyError(f"{what} are {len(JOINTS)} finite numbers, not {values}; nothing is sent")
        if not np.isfinite(now) or (self._at is not None and now < self._at - _EPSILON):
            raise SafetyError(f"time went from {self._at} to {now}; reset the filter when a clock starts again")
        since = CONTROL_STEP_S if self._at is None else max(0.0, now - self._at)
        step = np.array([min(since, self.limits.command_timeout_s)])
        limited = self._limiter.limit(speeds[None], positions[None], step)
        self._at = now
        clamps = [Clamp(name, float(asked[0]), float(given[0]), self.arm) for name, _, asked, given in limited.changes]
        return LimitedSpeeds(limited.speeds[0], tuple(clamps))


def in_order(names: Sequence[str], values: ArrayLike, what: str) -> Array:
    """Values of named joints, in the order of the arm.

    Args:
        names: Every joint of the arm once, in any order.
        values: One value for each name.
        what: What the values are, for messages.

    Raises:
        SafetyError: Joints are missing, unknown or named twice, or a value is not finite.
    """
    given = np.asarray(values, dtype=np.float64)
    problems = []
    if missing := [name for name in JOINTS if name not in names]:
        problems.append(f"missing {', '.join(missing)}")
    problems += [closest(name, JOINTS, "joint") for name in names if name not in JOINTS]
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        problems.append(f"more than once {', '.join(repeated)}")
    if given.shape != (len(names),):
        problems.append(f"{len(names)} names for values of shape {given.shape}")
    if problems:
        raise SafetyError(f"{what} rejected: {'; '.join(problems)}")
    if not np.isfinite(given).all():
        bad = [name for name, value in zip(names, given, strict=True) if not np.isfinite(value)]
        raise SafetyError(f"{what} rejected: not finite for {', '.join(bad)}")
    return given[[list(names).index(name) for name in JOINTS]]


_FRACTIONS = np.linspace(0.0, 1.0, _SAMPLES + 1)


def _note(name: str, asked: Array, given: Array, changed: NDArray[np.bool_], joint: Array, changes: list) -> None:
    """One entry per joint that a limit was tightest for."""
    for index in np.unique(joint[changed]):
        those = changed & (joint[:, 0] == index)
        full = name if name == "joint_speeds" else f"{name}.{JOINTS[index]}"
        changes.append((full, those, asked[:, index], given[:, index]))


def _divide(numerator: Array, denominator: Array, otherwise: float) -> Array:
    """The quotient, and `otherwise` where the denominator is zero."""
    positive = denominator > 0.0
    return np.where(positive, numerator / np.where(positive, denominator, 1.0), otherwise)


def _ratio(most: Array, size: Array) -> Array:
    """How much of each size is allowed, at most all of it."""
    over = size > most + _EPSILON
    return np.where(over, most / np.where(over, size, 1.0), 1.0)


def _project(asked: Array, rows: Array, bounds: Array) -> Array:
    """The speeds nearest to those asked for with `rows @ speeds <= bounds`, by Dykstra's projections.

    Args:
        asked: `(N, 7)`.
        rows: `(N, M, 7)`.
        bounds: `(N, M)`, infinite where there is nothing to keep.
    """
    walls = np.flatnonzero(np.isfinite(bounds).any(axis=0))
    size = np.einsum("nmj,nmj->nm", rows, rows) + _DAMPING
    shifts = np.zeros_like(bounds)
    speeds = asked
    for _ in range(_SWEEPS if len(walls) > 1 else 1):
        for wall in walls:
            row = rows[:, wall]
            start = speeds + shifts[:, wall, None] * row
            over = np.einsum("nj,nj->n", row, start) - bounds[:, wall]
            shifts[:, wall] = np.maximum(over, 0.0) / size[:, wall]
            speeds = start - shifts[:, wall, None] * row
    return speeds


def _leave_capsules(velocities: Array, last: Array, radii: Array) -> Array:
    """`glam_core.safety.leave_capsule` for many: `(N, 3)`, `(N, 3)` and `(N,)` to `(N,)`."""
    speed = np.linalg.norm(velocities, axis=1)
    directions = velocities / np.where(speed > 0.0, speed, 1.0)[:, None]
    along = np.einsum("ni,ni->n", directions, last)
    aside = np.linalg.norm(last - along[:, None] * directions, axis=1)
    side = (aside > 0.0) & (radii * along <= aside * np.hypot(along, aside))
    on_side = radii * np.hypot(along, aside) / np.where(aside > 0.0, aside, 1.0)
    on_cap = along + np.sqrt(np.maximum(radii**2 - aside**2, 0.0))
    return np.where(along <= 0.0, radii, np.where(side, on_side, on_cap))
