"""Lift: grasp the red cube and hold it at least 8 cm above the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glam_sim.objects import CubeModel
from glam_sim.tasks.task import Goal, Task, View, alone, nearest_quarter, pick, scatter, table_height

if TYPE_CHECKING:
    from glam_sim.cell import Cell

RED = CubeModel("red_cube", (0.86, 0.13, 0.10))
LIFTED_M = 0.08
CARRY_M = 0.13
"""Height to which the expert lifts the tool."""


def place(rng: np.random.Generator) -> np.ndarray:
    """Draws the cube's (1, 3) x, y, yaw."""
    return scatter(rng, 1, 0.0)


def holds(cell: Cell) -> bool:
    """Whether the cube is high enough and between both fingers."""
    return table_height(cell.objects[RED.name]) >= LIFTED_M and cell.held(RED.name)


def plan(view: View, phase: str) -> Goal:
    """The expert: pick the cube, go straight up."""
    cube = view.objects[RED.name]
    goal = pick(view, cube, phase)
    if goal is not None:
        return goal
    lifted = np.array([*view.position[:2], CARRY_M])
    return Goal(lifted, nearest_quarter(cube.yaw, view.yaw), 1.0, "carry")


LIFT = Task("lift", (RED,), horizon=100, place=place, holds=holds, plan=alone(plan))
