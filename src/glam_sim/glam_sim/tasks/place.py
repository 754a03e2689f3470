"""Place: put the red cube into the bowl, let go, move away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glam_sim.objects import BowlModel, CubeModel, ObjectState
from glam_sim.tasks.task import Goal, Task, View, alone, put, scatter

if TYPE_CHECKING:
    from glam_sim.cell import Cell

RED = CubeModel("red_cube", (0.86, 0.13, 0.10))
BOWL = BowlModel("bowl", (0.20, 0.36, 0.72), floor_radius_m=0.036, height_m=0.035)
DISTANCE_M = 0.12
"""Least distance of the cube from the bowl at the start."""
INSIDE_HEIGHT_M = 0.04
"""Largest height of the centre of a cube that lies in the bowl."""
STILL_M_S = 0.02
AWAY_M = 0.06
"""Least distance of the tool from the cube in the end."""

_RELEASE_M = 0.052
_RETREAT_M = 0.17


def place(rng: np.random.Generator) -> np.ndarray:
    """Draws the (2, 3) x, y, yaw of cube and bowl."""
    return scatter(rng, 2, DISTANCE_M)


def holds(cell: Cell) -> bool:
    """Whether the cube lies still in the bowl, and the gripper has let go and moved away."""
    cube = cell.objects[RED.name]
    if not _is_inside(cube, cell.objects[BOWL.name]):
        return False
    if min(np.linalg.norm(hand.T_world_tool[:3, 3] - cube.position) for hand in cell.hands.values()) < AWAY_M:
        return False
    return cell.touching(RED.name) == {BOWL.name} and cell.speed(RED.name) < STILL_M_S


def plan(view: View, phase: str) -> Goal:
    """The expert: pick the cube, carry it over the bowl, let it drop, retreat upwards."""
    cube, bowl = view.objects[RED.name], view.objects[BOWL.name]
    if phase == "retreat" and _is_inside(cube, bowl):
        return Goal(np.array([*view.position[:2], _RETREAT_M]), view.yaw, 0.0, "retreat")
    spot = np.array([*(bowl.position[:2] + view.place_offset), _RELEASE_M])
    if phase == "release" and view.gripper <= 0.2:
        return Goal(view.position, view.yaw, 0.0, "retreat")
    return put(view, cube, spot, None, phase, _RETREAT_M)


def _is_inside(cube: ObjectState, bowl: ObjectState) -> bool:
    aside = float(np.hypot(*(cube.position[:2] - bowl.position[:2])))
    return aside < BOWL.floor_radius_m and cube.position[2] < INSIDE_HEIGHT_M


PLACE = Task("place", (RED, BOWL), horizon=120, place=place, holds=holds, plan=alone(plan))
