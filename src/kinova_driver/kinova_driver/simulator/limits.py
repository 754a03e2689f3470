"""What the simulated arm holds itself to: the published limits of the Gen3, in SI units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glam_core.gen3 import (
    JOINT_ACCELERATION_LIMITS_RAD_S2,
    JOINT_EFFORT_LIMITS_NM,
    JOINT_LIMITS_RAD,
    JOINT_SPEED_LIMITS_RAD_S,
    JOINT_STREAM_ACCELERATIONS_RAD_S2,
)

JOINT_COUNT = len(JOINT_LIMITS_RAD)
CONTINUOUS = np.array([limit is None for limit in JOINT_LIMITS_RAD])
POSITION_RAD = np.array([np.inf if limit is None else limit for limit in JOINT_LIMITS_RAD])
"""Symmetric; infinite for a continuous joint."""
SPEED_RAD_S = np.array(JOINT_SPEED_LIMITS_RAD_S)
ACCELERATION_RAD_S2 = np.array(JOINT_ACCELERATION_LIMITS_RAD_S2)
"""Of the arm's own trajectories."""
STREAM_ACCELERATION_RAD_S2 = np.array(JOINT_STREAM_ACCELERATIONS_RAD_S2)
"""Of speed commands and stops."""
EFFORT_NM = np.array(JOINT_EFFORT_LIMITS_NM)
TWIST_M_S, TWIST_RAD_S = 0.5, float(np.radians(100.0))

FOLLOWING_ERROR_RAD = 0.05
"""How far a joint may stay behind its set-point before its actuator reports it."""
MAX_VELOCITY_FACTOR = 1.25
"""An actuator reports a joint that turns faster than its limit by this factor."""


@dataclass(frozen=True, eq=False)
class SoftLimits:
    """What a client may lower; never above the hard limits."""

    speeds: NDArray[np.float64] = field(default_factory=SPEED_RAD_S.copy)
    accelerations: NDArray[np.float64] = field(default_factory=ACCELERATION_RAD_S2.copy)


def shortest(goal: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """The goal `(7,)` rad, in the turn that is reached from `start`.

    A continuous joint takes the shorter way round. A limited joint has one turn only: angles of 0 to 360 degrees, as
    they travel on the wire, come back to both sides of 0.
    """
    wrapped = (goal + np.pi) % (2.0 * np.pi) - np.pi
    near = start + (goal - start + np.pi) % (2.0 * np.pi) - np.pi
    return np.where(CONTINUOUS, near, wrapped)
