"""Knock down: topple the red peg without gripping it, and leave the green one standing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glam_sim.objects import ObjectState, PegModel
from glam_sim.tasks.task import Goal, Task, View, above, alone, scatter

if TYPE_CHECKING:
    from glam_sim.cell import Cell

RED = PegModel("red_peg", (0.86, 0.13, 0.10), radius_m=0.018, height_m=0.12, mass_kg=0.08)
GREEN = PegModel("green_peg", (0.12, 0.62, 0.20), radius_m=0.018, height_m=0.12, mass_kg=0.08)
DISTANCE_M = 0.10
"""Least distance of the pegs at the start."""
LYING = 0.2
"""Largest height of the axis (unit vector) of a peg that lies."""
STANDING = 0.95
STILL_M_S = 0.05

_PUSH_HEIGHT_M = 0.085
_RUN_UP_M = 0.07
"""Distance from the peg at which the tool comes down."""
_HOVER_M = 0.10
_AT_START_M = 0.012
_DOWN_M = 0.015
_TIPPED = 0.6
_RETREAT_M = 0.20


def place(rng: np.random.Generator) -> np.ndarray:
    """Draws the pegs' (2, 3) x, y, yaw."""
    return scatter(rng, 2, DISTANCE_M)


def holds(cell: Cell) -> bool:
    """Whether red lies still and green stands."""
    red, green = cell.objects[RED.name], cell.objects[GREEN.name]
    return abs(red.up[2]) < LYING and green.up[2] > STANDING and cell.speed(RED.name) < STILL_M_S


def spoils(cell: Cell) -> bool:
    """Whether a gripper holds red."""
    return cell.gripped(RED.name)


def plan(view: View, phase: str) -> Goal:
    """The expert: close the fingers, come down beside red, push it over, away from green; go up."""
    red, green = view.objects[RED.name], view.objects[GREEN.name]
    if phase == "retreat" or red.up[2] < _TIPPED:
        return Goal(np.array([*view.position[:2], _RETREAT_M]), view.yaw, 1.0, "retreat")
    way = red.position[:2] - view.position[:2]
    distance = float(np.linalg.norm(way))
    low = abs(view.position[2] - _PUSH_HEIGHT_M) < _DOWN_M
    if phase == "push" and low and distance < _RUN_UP_M + 0.03:
        beyond = view.position[:2] + way / max(distance, 1e-9) * 0.1
        return Goal(np.array([*beyond, _PUSH_HEIGHT_M]), view.yaw, 1.0, "push")
    push = _direction(red, green)
    yaw = float(np.arctan2(push[1], push[0])) - np.pi / 2  # the fingers' broad side meets the peg
    yaw += np.pi * round((view.yaw - yaw) / np.pi)
    start = np.array([*(red.position[:2] - _RUN_UP_M * push), _PUSH_HEIGHT_M + view.grasp_offset[2]])
    there = float(np.linalg.norm(start[:2] - view.position[:2])) < _AT_START_M and low and view.gripper > 0.8
    return Goal(above(view, start, view.yaw, _HOVER_M), yaw, 1.0, "push" if there else "reach")


def _direction(red: ObjectState, green: ObjectState) -> np.ndarray:
    """Where to push (2,): square to the way to green, and away from the base."""
    x, y = green.position[:2] - red.position[:2]
    square = np.array([-y, x]) / float(np.hypot(x, y))
    return square if square[0] > 0.0 else -square


KNOCK_DOWN = Task("knock_down", (RED, GREEN), horizon=100, place=place, holds=holds, plan=alone(plan), spoils=spoils)
