"""The limits of one arm, as the station file gives them. A limit of exactly 0.0 is a limit; none can be left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from glam_core.errors import GlamError, SafetyError, closest
from glam_core.gen3 import (
    JOINT_ACCELERATION_LIMITS_RAD_S2,
    JOINT_LIMITS_RAD,
    JOINT_SPEED_LIMITS_RAD_S,
    JOINT_STREAM_ACCELERATIONS_RAD_S2,
    JOINTS,
)
from glam_core.schema import Schema

Limit = Annotated[float, Field(ge=0.0)]
Point = tuple[float, float, float]


class KeepOut(Schema):
    """A box that no guarded point of the arm enters.

    Attributes:
        name: What stands there.
        min: Lowest corner x, y, z, m, base frame.
        max: Highest corner x, y, z, m, base frame.
    """

    error_type: ClassVar[type[GlamError]] = SafetyError

    name: Annotated[str, Field(min_length=1)]
    min: Point
    max: Point

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _require_ordered(self.min, self.max, f"the keep-out zone '{self.name}'")
        return self


class SafetyLimits(Schema):
    """The limits of one arm. Joints are named, and those that are not keep the limits of the arm itself.

    Attributes:
        workspace_min: Lowest tool position x, y, z, m, base frame.
        workspace_max: Highest tool position x, y, z, m, base frame.
        link_workspace_min: The same for elbow and wrist.
        link_workspace_max: The same for elbow and wrist.
        link_radius_m: How far elbow and wrist keep from keep-out zones, for the thickness of the links.
        keep_out: Zones that tool, elbow and wrist stay out of.
        max_speed_m_s: Tool speed.
        max_rotation_speed_rad_s: Tool rotation speed.
        max_acceleration_m_s2: Growth of the tool's speed; braking is never limited.
        max_jump_m: Distance of a command from the measured tool.
        max_jump_rad: Angle of a command to the measured tool.
        joint_ranges_rad: Lowest and highest position of joints, rad; within those of the arm.
        max_joint_speeds_rad_s: Speeds of joints; up to those of the arm.
        max_joint_accelerations_rad_s2: Growth of the speeds of joints, which is also the braking that is counted on; by
            default what the arm holds its own trajectories to.
        command_timeout_s: Age of the last command from which the arm holds.
        stop_timeout_s: Age of the last command from which the arm stops.
        approach_speed_m_s: Tool speed during the first `approach_s` after a reset.
        approach_s: How long the first approach lasts; 0.0 for none.
        command_period_s: The longest time that one move may claim for itself, the period of the slowest commands.
    """

    error_type: ClassVar[type[GlamError]] = SafetyError

    workspace_min: Point
    workspace_max: Point
    link_workspace_min: Point = (-0.8, -0.8, 0.06)
    link_workspace_max: Point = (0.8, 0.8, 1.3)
    link_radius_m: Limit = 0.06
    keep_out: tuple[KeepOut, ...] = ()
    max_speed_m_s: Limit = 0.5
    max_rotation_speed_rad_s: Limit = 1.75
    max_acceleration_m_s2: Limit = 10.0
    max_jump_m: Limit = 0.15
    max_jump_rad: float = Field(default=0.8, ge=0.0, le=math.pi / 2)
    joint_ranges_rad: dict[str, tuple[float, float]] = Field(default_factory=dict)
    max_joint_speeds_rad_s: dict[str, Limit] = Field(default_factory=dict)
    max_joint_accelerations_rad_s2: dict[str, Limit] = Field(default_factory=dict)
    command_timeout_s: float = Field(default=0.1, gt=0.0)
    stop_timeout_s: float = Field(default=0.25, gt=0.0)
    approach_speed_m_s: Limit = 0.35
    approach_s: Limit = 1.0
    command_period_s: float = Field(default=0.1, gt=0.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _require_ordered(self.workspace_min, self.workspace_max, "the workspace")
        _require_ordered(self.link_workspace_min, self.link_workspace_max, "the workspace of the links")
        if self.stop_timeout_s < self.command_timeout_s:
            raise ValueError(
                f"stop_timeout_s {self.stop_timeout_s} is below command_timeout_s {self.command_timeout_s}; "
                "an arm holds first and stops later"
            )
        names = [zone.name for zone in self.keep_out]
        if len(set(names)) < len(names):
            raise ValueError(f"keep-out zones need names of their own, not {', '.join(names)}")
        for name in (*self.joint_ranges_rad, *self.max_joint_speeds_rad_s, *self.max_joint_accelerations_rad_s2):
            if name not in JOINTS:
                raise ValueError(closest(name, JOINTS, "joint"))
        self._require_within_the_arm()
        return self

    def _require_within_the_arm(self) -> None:
        for name, (low, high) in self.joint_ranges_rad.items():
            limit = JOINT_LIMITS_RAD[JOINTS.index(name)] or math.inf
            if not -limit <= low <= high <= limit:
                raise ValueError(f"the range of {name} is {low} to {high}; expected -{limit} <= low <= high <= {limit}")
        for what, given, hardware in (
            ("speed", self.max_joint_speeds_rad_s, JOINT_SPEED_LIMITS_RAD_S),
            ("acceleration", self.max_joint_accelerations_rad_s2, JOINT_STREAM_ACCELERATIONS_RAD_S2),
        ):
            for name, value in given.items():
                limit = hardware[JOINTS.index(name)]
                if value > limit:
                    raise ValueError(f"the {what} of {name} is limited to {value}; the arm allows {limit} at most")

    @property
    def joint_ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest joint positions, `(7,)` rad; infinite where a continuous joint has no limit."""
        ranges = [self.joint_ranges_rad.get(name, _arm_range(index)) for index, name in enumerate(JOINTS)]
        low, high = np.array(ranges).T
        return low, high

    @property
    def joint_speeds(self) -> NDArray[np.float64]:
        """Greatest joint speeds, `(7,)` rad/s."""
        return _per_joint(self.max_joint_speeds_rad_s, JOINT_SPEED_LIMITS_RAD_S)

    @property
    def joint_accelerations(self) -> NDArray[np.float64]:
        """Greatest joint accelerations, `(7,)` rad/s2."""
        return _per_joint(self.max_joint_accelerations_rad_s2, JOINT_ACCELERATION_LIMITS_RAD_S2)

    def describe(self) -> str:
        """Every limit that is in force, one a line, those of the arm itself included."""
        low, high = self.joint_ranges
        lines = []
        for name, value in self:
            if name not in ("joint_ranges_rad", "max_joint_speeds_rad_s", "max_joint_accelerations_rad_s2", "keep_out"):
                lines.append(f"{name}: {value if isinstance(value, float) else list(value)}")
        lines += [f"keep_out.{zone.name}: {list(zone.min)} to {list(zone.max)}" for zone in self.keep_out]
        for index, name in enumerate(JOINTS):
            lines.append(
                f"{name}: {low[index]:.4g} to {high[index]:.4g} rad, {self.joint_speeds[index]:.4g} rad/s, "
                f"{self.joint_accelerations[index]:.4g} rad/s2"
            )
        return "\n".join(lines)


def _arm_range(index: int) -> tuple[float, float]:
    limit = JOINT_LIMITS_RAD[index]
    return (-math.inf, math.inf) if limit is None else (-limit, limit)


def _per_joint(given: Mapping[str, float], hardware: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array([given.get(name, limit) for name, limit in zip(JOINTS, hardware, strict=True)])


def _require_ordered(low: Point, high: Point, what: str) -> None:
    for axis, lowest, highest in zip("xyz", low, high, strict=True):
        if lowest > highest:
            raise ValueError(f"{what} is inverted in {axis}: minimum {lowest} is above maximum {highest}")
