"""Stack two: put the red cube on the green one, let go, move away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glam_sim.objects import CUBE_SIZE_M, CubeModel
from glam_sim.tasks.task import Goal, Task, View, alone, put, scatter

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

_PLACE_GAP_M = 0.002
_RETREAT_M = 0.16


def place(rng: np.random.Generator) -> np.ndarray:
    """Draws the cubes' (2, 3) x, y, yaw."""
    return scatter(rng, 2, DISTANCE_M)


def holds(cell: Cell) -> bool:
    """Whether red rests on green alone, both are still, and the gripper has let go and moved away."""
    red, green = cell.objects[RED.name], cell.objects[GREEN.name]
    if abs(red.position[2] - green.position[2] - CUBE_SIZE_M) > HEIGHT_TOLERANCE_M:
        return False
    if min(np.linalg.norm(hand.T_world_tool[:3, 3] - red.position) for hand in cell.hands.values()) < AWAY_M:
        return False
    return (
        cell.touching(RED.name) == {GREEN.name}
        and cell.touching(GREEN.name) == {RED.name, "table"}
        and max(cell.speed(RED.name), cell.speed(GREEN.name)) < STILL_M_S
    )


def plan(view: View, phase: str) -> Goal:
    """The expert: pick red, carry it over green, lower, let go, retreat upwards."""
    red, green = view.objects[RED.name], view.objects[GREEN.name]
    place_of_red = green.position + np.array([*view.place_offset, CUBE_SIZE_M + _PLACE_GAP_M])
    return put(view, red, place_of_red, green.yaw, phase, _RETREAT_M)


STACK_TWO = Task("stack_two", (RED, GREEN), horizon=150, place=place, holds=holds, plan=alone(plan))
