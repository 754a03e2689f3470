"""The safety filter: what every command of a tool passes, in the driver and in evaluation alike.

All limits are convex sets around the previous command, so a command that breaks some of them is moved back along
straight lines (projections and scalings): the arm slides along the limit instead of freezing. Every change is reported.
A keep-out zone is no convex set; the side of it that the previous command is on stands in for what is free.

Speeds are those of the command: the distance of a move over the time since the previous move, counted as
`command_period_s` at most. A target that is sent again unchanged is no move. So one set of limits means the same to a
driver that repeats targets at 40 Hz and to an evaluation that sends them at 10 Hz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import SafetyError
from glam_core.limits import KeepOut, SafetyLimits
from glam_core.pose import exp_so3, log_so3, transform
from glam_core.tool import ToolCommand, ToolState

Vector3 = NDArray[np.float64]

_EPSILON = 1e-9
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Clamp:
    """One limit that changed a command.

    Attributes:
        name: The field of `SafetyLimits` (for the workspace with its axis, as in `workspace_min.z`), or `gripper`.
        asked: The value that the command asked for, in the unit of the limit.
        given: The value that was let through.
        arm: The arm that it happened to.
    """

    name: str
    asked: float
    given: float
    arm: str = "arm"


@dataclass(frozen=True, eq=False)
class FilteredCommand:
    """A command that keeps all limits, and what was changed to get there."""

    command: ToolCommand
    clamps: tuple[Clamp, ...] = ()


class CommandStatus(StrEnum):
    """What the age of the last command asks of the arm."""

    OK = "ok"
    HOLD = "hold"
    STOP = "stop"


class SafetyFilter:
    """Limits the commands of one arm. It keeps the previous command; `reset` forgets it.

    Call `reset` at the start of an episode and whenever the arm is enabled again.

    Args:
        limits: The limits.
        arm: The name that clamps are reported under.
    """

    def __init__(self, limits: SafetyLimits, arm: str = "arm") -> None:
        self.limits = limits
        self.arm = arm
        self.reset()

    def reset(self) -> None:
        """As before the first command: it will be measured from the measured pose, and approached slowly."""
        self._position: Vector3 | None = None
        self._rotation: NDArray[np.float64] = np.eye(3)
        self._velocity: Vector3 = np.zeros(3)
        self._moved_at = -math.inf
        self._turned_at = -math.inf
        self._first_at: float | None = None
        self._last_at: float | None = None

    def status(self, now: float) -> CommandStatus:
        """Whether the last command (by its arrival in `filter`) is fresh at `now` (s). Before the first one: hold."""
        if self._last_at is None:
            return CommandStatus.HOLD
        age = now - self._last_at
        if not age < self.limits.stop_timeout_s:  # also for a time that is not a number
            return CommandStatus.STOP
        return CommandStatus.OK if age < self.limits.command_timeout_s else CommandStatus.HOLD

    def filter(self, command: ToolCommand, measured: ToolState, now: float) -> FilteredCommand:
        """Returns the nearest command that keeps all limits.

        Args:
            command: What is asked for, base frame.
            measured: Where the tool is, base frame.
            now: The current time, s.

        Returns:
            The command to send, and a clamp for every limit that changed it.

        Raises:
            SafetyError: A number is not finite, a rotation is none, or time runs backwards; nothing may be sent then.
        """
        _require_sound(command.T_base_tool, command.gripper, "command")
        _require_sound(measured.T_base_tool, measured.gripper, "measured pose")
        if not math.isfinite(now) or (self._last_at is not None and now < self._last_at - _EPSILON):
            raise SafetyError(f"time went from {self._last_at} to {now}; reset the filter when a clock starts again")
        if self._position is None:
            self._position, self._rotation = measured.T_base_tool[:3, 3], measured.T_base_tool[:3, :3]
        if self._first_at is None:
            self._first_at = now
        self._last_at = now

        clamps: list[Clamp] = []
        position = self._limit_position(command.T_base_tool[:3, 3], measured.T_base_tool[:3, 3], now, clamps)
        rotation = self._limit_rotation(command.T_base_tool[:3, :3], measured.T_base_tool[:3, :3], now, clamps)
        gripper = min(max(command.gripper, 0.0), 1.0)
        if gripper != command.gripper:
            clamps.append(Clamp("gripper", command.gripper, gripper, self.arm))
        return FilteredCommand(ToolCommand(transform(rotation, position), gripper), tuple(clamps))

    def _limit_position(self, asked: Vector3, measured: Vector3, now: float, clamps: list[Clamp]) -> Vector3:
        limits = self.limits
        assert self._position is not None
        # The previous command lies in both sets below, except where the arm itself was moved away from it.
        origin = _into_ball(self._position, measured, limits.max_jump_m)
        if any(_contains(zone, origin) for zone in limits.keep_out):
            origin = measured  # the way back from the previous command to the arm led through a zone
        target = np.clip(asked, limits.workspace_min, limits.workspace_max)
        for axis, name in enumerate("xyz"):
            if target[axis] != asked[axis]:
                side = "workspace_min" if asked[axis] < target[axis] else "workspace_max"
                clamps.append(Clamp(f"{side}.{name}", float(asked[axis]), float(target[axis]), self.arm))
        jump = float(np.linalg.norm(target - measured))
        if jump > limits.max_jump_m + _EPSILON:
            clamps.append(Clamp("max_jump_m", jump, limits.max_jump_m, self.arm))
            target = _into_ball(target, measured, limits.max_jump_m)
        target = self._keep_out(target, origin, measured, clamps)

        move = target - origin
        distance = float(np.linalg.norm(move))
        if distance <= _EPSILON:
            self._position = origin
            return origin
        period = min(now - self._moved_at, limits.command_period_s)
        limit, speed = self._allowed_speed(move / distance, now, period)
        allowed = speed * period
        if distance > allowed + _EPSILON:
            over = max(period, _EPSILON)
            if limit == "max_acceleration_m_s2":
                rest = float(np.linalg.norm(move / over - self._recent_velocity(now)))
                clamps.append(Clamp(limit, rest / over, limits.max_acceleration_m_s2, self.arm))
            else:
                clamps.append(Clamp(limit, distance / over, speed, self.arm))
            target = origin + move * (allowed / distance)
        if allowed > 0.0:
            self._velocity = (target - origin) / period
            self._moved_at = now
        self._position = target
        return target

    def _keep_out(self, target: Vector3, origin: Vector3, measured: Vector3, clamps: list[Clamp]) -> Vector3:
        """Slides a target along the keep-out zones that the way to it would enter."""
        asked = target
        # Each turn moves one coordinate of the target to the near side of a zone, so few turns are enough.
        for _ in range(3 * len(self.limits.keep_out)):
            for zone in self.limits.keep_out:
                blocked = _block(zone, origin, target)
                if blocked is not None:
                    axis, bound = blocked
                    clamps.append(Clamp(f"keep_out.{zone.name}", float(target[axis]), bound, self.arm))
                    target = target.copy()
                    target[axis] = bound
                    break
            else:
                break
        if target is asked:
            return target
        if any(_block(zone, origin, target) is not None for zone in self.limits.keep_out):
            return origin
        return _shorten_into_ball(origin, target, measured, self.limits.max_jump_m)

    def _allowed_speed(self, direction: Vector3, now: float, period: float) -> tuple[str, float]:
        """The tightest of the speed limits along `direction` (unit vector), and its name."""
        limits = self.limits
        speeds = {"max_speed_m_s": limits.max_speed_m_s}
        assert self._first_at is not None
        if now - self._first_at < limits.approach_s - _EPSILON:
            speeds["approach_speed_m_s"] = limits.approach_speed_m_s
        growth = limits.max_acceleration_m_s2 * period
        speeds["max_acceleration_m_s2"] = leave_capsule(direction, self._recent_velocity(now), growth)
        name = min(speeds, key=speeds.__getitem__)
        return name, speeds[name]

    def _recent_velocity(self, now: float) -> Vector3:
        """Velocity of the last move; zero once the commands have rested for longer than a period."""
        resting = now - self._moved_at > 1.5 * self.limits.command_period_s
        return np.zeros(3) if resting else self._velocity

    def _limit_rotation(
        self, asked: NDArray[np.float64], measured: NDArray[np.float64], now: float, clamps: list[Clamp]
    ) -> NDArray[np.float64]:
        limits = self.limits
        origin = _into_cone(self._rotation, measured, limits.max_jump_rad)
        target = asked
        jump = angle_between(measured, asked)
        if jump > limits.max_jump_rad + _EPSILON:
            clamps.append(Clamp("max_jump_rad", jump, limits.max_jump_rad, self.arm))
            target = _into_cone(asked, measured, limits.max_jump_rad)
        turn = angle_between(origin, target)
        if turn <= _EPSILON:
            self._rotation = origin
            return origin
        period = min(now - self._turned_at, limits.command_period_s)
        allowed = limits.max_rotation_speed_rad_s * period
        if turn > allowed + _EPSILON:
            asked_speed = turn / max(period, _EPSILON)
            clamps.append(Clamp("max_rotation_speed_rad_s", asked_speed, limits.max_rotation_speed_rad_s, self.arm))
            target = _into_cone(target, origin, allowed)
        if allowed > 0.0:
            self._turned_at = now
        self._rotation = target
        return target


def leave_capsule(direction: Vector3, velocity: Vector3, radius: float) -> float:
    """How far a ray from the origin along `direction` stays within `radius` of the segment from 0 to `velocity`.

    That is the greatest speed in this direction that a change of at most `radius` reaches from any speed between rest
    and `velocity`: braking is free, speeding up and turning are not.
    """
    along = float(direction @ velocity)
    if along <= 0.0:
        return radius
    aside = float(np.linalg.norm(velocity - along * direction))
    speed = math.sqrt(along**2 + aside**2)
    # Against the capsule's side: the ray is `radius` off the segment while its foot point is still on it.
    if aside > 0.0 and radius * along <= aside * speed:
        return radius * speed / aside
    return along + math.sqrt(max(radius**2 - aside**2, 0.0))


def _block(zone: KeepOut, origin: Vector3, target: Vector3) -> tuple[int, float] | None:
    """Where the straight way from `origin` to `target` is blocked by a zone: the axis, and how far the way may go.

    From inside of a zone, every way out is free along the axis that leaves it soonest, and no other.
    """
    low, high = np.array(zone.min), np.array(zone.max)
    below, above = low - origin, origin - high
    outside = np.maximum(below, above)
    axis = int(np.argmax(outside))
    is_below = below[axis] >= above[axis]
    if outside[axis] < 0.0:
        bound = float(origin[axis])
        goes_in = target[axis] > bound if is_below else target[axis] < bound
        return (axis, bound) if goes_in else None
    if not crosses_box(origin, target, low, high):
        return None
    return axis, float(low[axis] if is_below else high[axis])


def _contains(zone: KeepOut, point: Vector3) -> bool:
    return all(low < value < high for value, low, high in zip(point.tolist(), zone.min, zone.max, strict=True))


def crosses_box(start: Vector3, end: Vector3, low: Vector3, high: Vector3) -> bool:
    """Whether the straight line between two points enters a box; touching it from outside is not entering."""
    first, last = 0.0, 1.0
    for a, b, lowest, highest in zip(start.tolist(), end.tolist(), low.tolist(), high.tolist(), strict=True):
        move = b - a
        if move == 0.0:
            if a <= lowest or a >= highest:
                return False
            continue
        near, far = (lowest - a) / move, (highest - a) / move
        first, last = max(first, min(near, far)), min(last, max(near, far))
    return first < last


def _shorten_into_ball(start: Vector3, end: Vector3, centre: Vector3, radius: float) -> Vector3:
    """The farthest point on the way from `start`, which is within `radius` of `centre`, that is so, too."""
    move, offset = end - start, start - centre
    a, b, c = float(move @ move), float(offset @ move), float(offset @ offset) - radius**2
    if a == 0.0 or a + 2.0 * b + c <= 0.0:
        return end
    return start + move * min(1.0, max(0.0, (-b + math.sqrt(max(b * b - a * c, 0.0))) / a))


def _into_ball(point: Vector3, centre: Vector3, radius: float) -> Vector3:
    """The nearest point within `radius` of `centre`."""
    offset = point - centre
    distance = float(np.linalg.norm(offset))
    return point if distance <= radius else centre + offset * (radius / distance)


def _into_cone(rotation: NDArray[np.float64], centre: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """The nearest rotation within `angle` (rad) of `centre`."""
    if angle_between(centre, rotation) <= angle:
        return rotation
    vector = log_so3(centre.T @ rotation)
    return centre @ exp_so3(vector * (angle / float(np.linalg.norm(vector))))


def angle_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The angle (rad) between two rotations (3, 3), by the length of their difference."""
    difference = a - b
    chord = math.sqrt(float(np.vdot(difference, difference)) / 8.0)
    return 2.0 * math.asin(min(chord, 1.0))


def _require_sound(T_base_tool: NDArray[np.float64], gripper: float, what: str) -> None:
    if not np.all(np.isfinite(T_base_tool)) or not math.isfinite(gripper):
        raise SafetyError(f"the {what} is not finite; nothing is sent until it is")
    rotation = T_base_tool[:3, :3]
    off = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if off > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0.0:
        raise SafetyError(f"the {what} has no rotation matrix (off by {off:.2g}); nothing is sent")
