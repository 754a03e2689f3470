"""What a task is, and the moves that the tasks' experts are made of.

An expert is a function of what it sees now and of one word of memory, the phase. Its goals move with the scene, so a
slip or a push needs no special case: the expert simply reaches again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glam_core.errors import ConfigurationError
from glam_sim.layout import SINGLE, WORK_AREA_CENTRE, WORK_AREA_SIZE, Layout
from glam_sim.objects import CUBE_SIZE_M, ObjectModel, ObjectState

if TYPE_CHECKING:
    from glam_sim.cell import Cell

HOVER_M = 0.10
"""How far above a cube, or above a place for one, the tool travels."""
_FUNNEL_SLOPE = 4.0
_FUNNEL_RADIUS_M = 0.006
_YAW_AS_DISTANCE_M = 0.05
_AT_CUBE_M = 0.007
_AT_CUBE_RAD = 0.12
_LOST_M = 0.03
_STOPPED_1_S = 0.35
_EMPTY_GRIPPER = 0.75
_CARRY_HOVER_M = 0.07
_ON_PLACE_M = 0.007
_ON_PLACE_HEIGHT_M = 0.005
_ON_PLACE_RAD = 0.15


@dataclass(frozen=True)
class View:
    """What an expert sees, in the world frame.

    Attributes:
        position: (3,) m, the tool.
        yaw: rad, of the tool.
        gripper: 0 open to 1 closed.
        gripper_rate: change of the gripper, 1/s, over the last decision step.
        objects: by name.
        grasp_offset: (3,) m, where this demonstrator takes hold of a cube, from its centre, in the tool's heading.
        place_offset: (2,) m, by how much this demonstrator misses a place.
    """

    position: np.ndarray
    yaw: float
    gripper: float
    gripper_rate: float
    objects: Mapping[str, ObjectState]
    grasp_offset: np.ndarray
    place_offset: np.ndarray


@dataclass(frozen=True)
class Goal:
    """Where an expert wants a tool: position (3,) m, yaw (rad), world frame, gripper 0..1; and the phase it is in."""

    position: np.ndarray
    yaw: float
    gripper: float
    phase: str


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: as in `TASKS`.
        objects: in the order of masks and scene vector.
        horizon: decision steps (10 Hz) after which an attempt has failed.
        place: draws the objects' (x, y, yaw) in m and rad, world frame, one row per object.
        holds: whether the condition for success holds right now; it must do so for `HOLD_S` in a row.
        plan: the expert: what each arm sees and the phase it is in ("reach" at first) to the goal of each arm.
        layout: the arms, and where everything stands.
        spoils: whether something happens right now after which the attempt cannot succeed any more; None if nothing.
    """

    name: str
    objects: tuple[ObjectModel, ...]
    horizon: int
    place: Callable[[np.random.Generator], np.ndarray]
    holds: Callable[[Cell], bool]
    plan: Callable[[Mapping[str, View], Mapping[str, str]], dict[str, Goal]]
    layout: Layout = SINGLE
    spoils: Callable[[Cell], bool] | None = None


def alone(plan: Callable[[View, str], Goal]) -> Callable[[Mapping[str, View], Mapping[str, str]], dict[str, Goal]]:
    """The plan of a cell whose only arm follows `plan`."""

    def plan_of_cell(views: Mapping[str, View], phases: Mapping[str, str]) -> dict[str, Goal]:
        ((arm, view),) = views.items()
        return {arm: plan(view, phases[arm])}

    return plan_of_cell


def scatter(rng: np.random.Generator, count: int, distance_m: float) -> np.ndarray:
    """Draws (count, 3) x, y, yaw of cubes anywhere in the work area, at least `distance_m` apart."""
    centre, size = np.array(WORK_AREA_CENTRE), np.array(WORK_AREA_SIZE)
    for _ in range(1000):
        positions = centre + (rng.uniform(size=(count, 2)) - 0.5) * size
        gaps = [np.linalg.norm(positions[i] - positions[j]) for i in range(count) for j in range(i)]
        if min(gaps, default=math.inf) >= distance_m:
            return np.column_stack([positions, rng.uniform(-math.pi, math.pi, size=count)])
    raise ConfigurationError(
        f"no room for {count} cubes {distance_m} m apart on {size.tolist()} m; use fewer or closer"
    )


def nearest_quarter(yaw: float, reference: float) -> float:
    """The angle nearest to `reference` that differs from `yaw` by quarter turns (rad)."""
    quarter = math.pi / 2
    return yaw + quarter * round((reference - yaw) / quarter)


def pick(view: View, cube: ObjectState, phase: str) -> Goal | None:
    """Reaches for a cube and closes the fingers on it; None once it is in hand (phase "carry")."""
    yaw = nearest_quarter(cube.yaw, view.yaw)
    along, across, up = view.grasp_offset
    cosine, sine = math.cos(yaw), math.sin(yaw)
    spot = cube.position + np.array([cosine * along - sine * across, sine * along + cosine * across, up])
    offset = spot - view.position
    distance = float(np.linalg.norm(offset))
    if phase == "carry" and distance < _LOST_M:
        return None
    if phase == "grasp" and distance < _LOST_M:
        stopped = view.gripper > 0.3 and abs(view.gripper_rate) < _STOPPED_1_S
        if not stopped:
            return Goal(view.position + 0.5 * offset, yaw, 1.0, "grasp")
        if view.gripper < _EMPTY_GRIPPER:
            return None
    elif distance < _AT_CUBE_M and abs(yaw - view.yaw) < _AT_CUBE_RAD and view.gripper < 0.2:
        return Goal(spot, yaw, 1.0, "grasp")
    return Goal(above(view, spot, yaw, HOVER_M), yaw, 0.0, "reach")


def put(view: View, cube: ObjectState, place: np.ndarray, yaw: float | None, phase: str, retreat_m: float) -> Goal:
    """Brings a cube to a place: picks it, carries it over the place, lowers, lets go, retreats upwards.

    Args:
        view: what the expert sees.
        cube: the cube.
        place: (3,) m, where its centre should be, world frame.
        yaw: rad, its heading there, up to quarter turns; None if any will do.
        phase: what the expert was doing: "reach", "grasp", "carry", "release" or "retreat".
        retreat_m: height (m) to which the tool retreats.
    """
    miss = place - cube.position
    aside = float(np.hypot(miss[0], miss[1]))
    aligned = aside < _ON_PLACE_M and abs(miss[2]) < _ON_PLACE_HEIGHT_M

    if phase == "release":
        if view.gripper > 0.2:
            return Goal(view.position, view.yaw, 0.0, "release")
        phase = "retreat"
    if phase == "retreat" and aside < CUBE_SIZE_M / 2 and miss[2] < CUBE_SIZE_M / 2:
        return Goal(np.array([*view.position[:2], retreat_m]), view.yaw, 0.0, "retreat")

    goal = pick(view, cube, phase)
    if goal is not None:
        return goal
    turn = 0.0 if yaw is None else nearest_quarter(yaw, cube.yaw) - cube.yaw
    turn -= np.pi / 2 * round(turn / (np.pi / 2))
    if aligned and abs(turn) < _ON_PLACE_RAD:
        return Goal(view.position, view.yaw, 0.0, "release")
    target = view.position + miss
    return Goal(above(view, target, view.yaw + turn, _CARRY_HOVER_M), view.yaw + turn, 1.0, "carry")


def above(view: View, place: np.ndarray, yaw: float, hover_m: float) -> np.ndarray:
    """A goal that leads to `place` from above: high while the tool is off to the side, down as it comes in line.

    While the tool is too low for where it is, the goal leads straight up.
    """
    side = place[:2] - view.position[:2]
    off = float(np.linalg.norm(side)) + _YAW_AS_DISTANCE_M * abs(yaw - view.yaw)
    height = place[2] + min(hover_m, _FUNNEL_SLOPE * max(0.0, off - _FUNNEL_RADIUS_M))
    low = height - view.position[2]
    share = min(1.0, max(0.0, 1.4 - low / 0.04))
    return np.array([*(view.position[:2] + share * side), height])


def table_height(cube: ObjectState) -> float:
    """Height (m) of a cube's underside over the table."""
    return float(cube.position[2]) - CUBE_SIZE_M / 2
