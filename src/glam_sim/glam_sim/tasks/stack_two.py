"""Stack two: put the red cube on the green one, let go, move away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glam_sim.model import CUBE_SIZE_M, CubeModel
from glam_sim.tasks.task import Goal, Task, View, above, nearest_quarter, pick, scatter

if TYPE_CHECKING:
    from glam_sim.cell import Cell

RED = CubeModel("red_cube", (0.86, 0.13, 0.10))
GREEN = CubeModel("green_cube", (0.12, 0.62, 0.20))
DISTANCE_M = 0.09
"""Least distance of the cubes' centres at the start: an open finger fits between them."""
HEIGHT_TOLERANCE_M = 0.005
STILL_M_S = 0.02
AWAY_M = 0.05
"""Least distance of the tool from the red cube in the end."""

_CARRY_HOVER_M = 0.07
_PLACE_GAP_M = 0.002
_RETREAT_M = 0.16
_ON_PLACE_M = 0.007
_ON_PLACE_HEIGHT_M = 0.005
_ON_PLACE_RAD = 0.15


def place(rng: np.random.Generator) -> np.ndarray:
    """Draws the cubes' (2, 3) x, y, yaw."""
    return scatter(rng, 2, DISTANCE_M)


def holds(cell: Cell) -> bool:
    """Whether red rests on green alone, both are still, and the gripper has let go and moved away."""
    red, green = cell.cubes[RED.name], cell.cubes[GREEN.name]
    if abs(red.position[2] - green.position[2] - CUBE_SIZE_M) > HEIGHT_TOLERANCE_M:
        return False
    if min(np.linalg.norm(tool.T_base_tool[:3, 3] - red.position) for tool in cell.tools.values()) < AWAY_M:
        return False
    return (
        cell.touching(RED.name) == {GREEN.name}
        and cell.touching(GREEN.name) == {RED.name, "table"}
        and max(cell.cube_speed(RED.name), cell.cube_speed(GREEN.name)) < STILL_M_S
    )


def plan(view: View, phase: str) -> Goal:
    """The expert: pick red, carry it over green, lower, let go, retreat upwards."""
    red, green = view.cubes[RED.name], view.cubes[GREEN.name]
    place_of_red = green.position + np.array([*view.place_offset, CUBE_SIZE_M + _PLACE_GAP_M])
    miss = place_of_red - red.position
    aligned = float(np.hypot(miss[0], miss[1])) < _ON_PLACE_M and abs(miss[2]) < _ON_PLACE_HEIGHT_M

    if phase == "release":
        if view.gripper > 0.2:
            return Goal(view.position, view.yaw, 0.0, "release")
        phase = "retreat"
    if phase == "retreat" and float(np.hypot(miss[0], miss[1])) < CUBE_SIZE_M / 2 and miss[2] < CUBE_SIZE_M / 2:
        return Goal(np.array([*view.position[:2], _RETREAT_M]), view.yaw, 0.0, "retreat")

    goal = pick(view, red, phase)
    if goal is not None:
        return goal
    turn = nearest_quarter(green.yaw, red.yaw) - red.yaw
    turn -= np.pi / 2 * round(turn / (np.pi / 2))
    if aligned and abs(turn) < _ON_PLACE_RAD:
        return Goal(view.position, view.yaw, 0.0, "release")
    target = view.position + miss
    return Goal(above(view, target, view.yaw + turn, _CARRY_HOVER_M), view.yaw + turn, 1.0, "carry")


STACK_TWO = Task("stack_two", (RED, GREEN), horizon=150, place=place, holds=holds, plan=plan)
