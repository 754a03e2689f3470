"""Stack three, with two arms: green on blue, red on green, let go, move away.

One cube lies where only the left arm reaches, one where only the right arm does, one in the middle where both do; which
is where is drawn. The tower is built where the blue cube is. A cube that the tower's arm cannot reach is handed over:
the other arm puts it down in the middle first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from glam_sim.layout import PAIR, WORK_AREA_CENTRE
from glam_sim.objects import CUBE_SIZE_M, CubeModel, ObjectState
from glam_sim.tasks.task import Goal, Task, View, put

if TYPE_CHECKING:
    from glam_sim.cell import Cell

RED = CubeModel("red_cube", (0.86, 0.13, 0.10))
GREEN = CubeModel("green_cube", (0.12, 0.62, 0.20))
BLUE = CubeModel("blue_cube", (0.13, 0.30, 0.85))

OWN_ZONE_M = (0.14, 0.25)
"""How far to its side a cube lies that only one arm reaches (y, world frame)."""
MIDDLE_M = 0.05
"""How far from the middle a cube may lie that both arms reach (y, world frame)."""
REACH_M = 0.09
"""Cubes nearer to the middle than this are within reach of both arms."""
HALF_WIDTH_M = 0.10
"""How far from the centre cubes lie along x."""
HEIGHT_TOLERANCE_M = 0.005
ASIDE_M = 0.02
"""Largest distance, seen from above, of the centres of two cubes on each other."""
STILL_M_S = 0.02
AWAY_M = 0.05
"""Least distance of every tool from every cube in the end."""

_SIDES = {"left": 1.0, "right": -1.0}
_HEADINGS = {arm.name: arm.yaw for arm in PAIR.arms}
_WAIT_M = (0.20, 0.20)
"""Where an idle tool waits: distance from the middle, and height."""
_CLEAR_M = 0.13
"""An arm whose tool is farther than this from the middle leaves the middle to the other one."""
_HAND_OVER_X = (-0.09, 0.0, 0.09)
_PLACE_GAP_M = 0.002
_RETREAT_M = 0.10
"""How far above a place the tool retreats."""


def place(rng: np.random.Generator) -> np.ndarray:
    """Draws the cubes' (3, 3) x, y, yaw: one cube to the left, one in the middle, one to the right, in any order."""
    y = np.array([rng.uniform(*OWN_ZONE_M), rng.uniform(-MIDDLE_M, MIDDLE_M), -rng.uniform(*OWN_ZONE_M)])
    x = WORK_AREA_CENTRE[0] + rng.uniform(-HALF_WIDTH_M, HALF_WIDTH_M, size=3)
    return np.column_stack([x, y, rng.uniform(-np.pi, np.pi, size=3)])[rng.permutation(3)]


def holds(cell: Cell) -> bool:
    """Whether the three stand on each other alone, still, and both grippers have let go and moved away."""
    cubes = cell.objects
    red, green, blue = (cubes[item.name] for item in (RED, GREEN, BLUE))
    if not (_is_on(red, green) and _is_on(green, blue)):
        return False
    for hand in cell.hands.values():
        position = hand.T_world_tool[:3, 3]
        if min(np.linalg.norm(position - cube.position) for cube in (red, green, blue)) < AWAY_M:
            return False
    return (
        cell.touching(RED.name) == {GREEN.name}
        and cell.touching(GREEN.name) == {RED.name, BLUE.name}
        and cell.touching(BLUE.name) == {GREEN.name, "table"}
        and max(cell.speed(item.name) for item in (RED, GREEN, BLUE)) < STILL_M_S
    )


def plan(views: Mapping[str, View], phases: Mapping[str, str]) -> dict[str, Goal]:
    """The expert: one arm works at a time; the other waits on its own side, and comes when it is needed."""
    cubes = next(iter(views.values())).objects
    carried = {arm: _nearest(cubes, view) for arm, view in views.items() if phases[arm] == "carry"}
    red, green, blue = (cubes[item.name] for item in (RED, GREEN, BLUE))
    stands = _is_on(green, blue) and GREEN.name not in carried.values()
    job = RED.name if stands else GREEN.name
    worker = next(iter(carried), None) or _worker(cubes[job], blue, views)
    done = stands and not carried and _is_on(red, green)
    goals = {}
    for arm, view in views.items():
        if phases[arm] in ("release", "retreat"):
            goals[arm] = _retreat(view, cubes, phases[arm])
        elif arm == worker and not done:
            goals[arm] = _work(arm, views, cubes, carried.get(arm, job), phases[arm])
        else:
            goals[arm] = _wait(arm)
    return goals


def _is_on(upper: ObjectState, lower: ObjectState) -> bool:
    way = upper.position - lower.position
    return abs(way[2] - CUBE_SIZE_M) < HEIGHT_TOLERANCE_M and float(np.hypot(way[0], way[1])) < ASIDE_M


def _reaches(arm: str, cube: ObjectState) -> bool:
    return _SIDES[arm] * cube.position[1] > -REACH_M


def _nearest(cubes: Mapping[str, ObjectState], view: View) -> str:
    return min(cubes, key=lambda name: float(np.linalg.norm(cubes[name].position - view.position)))


def _worker(cube: ObjectState, tower: ObjectState, views: Mapping[str, View]) -> str:
    """The arm that moves a cube: one that reaches the tower too if there is one, of two such arms the nearer."""
    able = [arm for arm in views if _reaches(arm, cube)]
    able = [arm for arm in able if _reaches(arm, tower)] or able
    return max(able, key=lambda arm: _SIDES[arm] * cube.position[1])


def _work(arm: str, views: Mapping[str, View], cubes: Mapping[str, ObjectState], name: str, phase: str) -> Goal:
    """Brings a cube to the tower, or to the middle if the tower is out of reach; waits while the middle is taken."""
    cube, under = cubes[name], cubes[BLUE.name if name == GREEN.name else GREEN.name]
    view = views[arm]
    if _reaches(arm, cubes[BLUE.name]):
        place = under.position + np.array([*view.place_offset, CUBE_SIZE_M + _PLACE_GAP_M])
        yaw: float | None = under.yaw
    else:
        place, yaw = _hand_over_place(cubes, name), None
    goal = put(view, cube, place, yaw, phase, place[2] + _RETREAT_M)
    middle_is_taken = any(_SIDES[other] * views[other].position[1] < _CLEAR_M for other in views if other != arm)
    if middle_is_taken and _SIDES[arm] * goal.position[1] < _CLEAR_M:
        wait = _wait(arm)
        return Goal(wait.position, wait.yaw, goal.gripper, goal.phase)
    return goal


def _hand_over_place(cubes: Mapping[str, ObjectState], name: str) -> np.ndarray:
    """Where in the middle a cube is handed over: as far from the other cubes as can be."""
    spots = [np.array([WORK_AREA_CENTRE[0] + x, 0.0, CUBE_SIZE_M / 2 + _PLACE_GAP_M]) for x in _HAND_OVER_X]
    others = [cube.position[:2] for other, cube in cubes.items() if other != name]
    return max(spots, key=lambda spot: min(float(np.linalg.norm(spot[:2] - other)) for other in others))


def _retreat(view: View, cubes: Mapping[str, ObjectState], phase: str) -> Goal:
    """Opens the fingers, then goes straight up until they are clear of the cube."""
    if phase == "release" and view.gripper > 0.2:
        return Goal(view.position, view.yaw, 0.0, "release")
    top = cubes[_nearest(cubes, view)].position[2]
    height = view.position[2] - top
    reached = height > _RETREAT_M - 0.02
    return Goal(np.array([*view.position[:2], top + _RETREAT_M]), view.yaw, 0.0, "reach" if reached else "retreat")


def _wait(arm: str) -> Goal:
    position = np.array([WORK_AREA_CENTRE[0], _SIDES[arm] * _WAIT_M[0], _WAIT_M[1]])
    return Goal(position, _HEADINGS[arm], 0.0, "reach")


STACK_THREE = Task("stack_three", (RED, GREEN, BLUE), horizon=300, place=place, holds=holds, plan=plan, layout=PAIR)
