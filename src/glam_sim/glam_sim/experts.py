"""Scripted experts: people-like demonstrations from the privileged state.

The task says where the tool should go next; this module adds how a person would go there: at a speed of their own,
not quite straight, not quite to the point. Commands are small steps from the measured pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glam_core.errors import ConfigurationError, closest
from glam_core.pose import inverse, tool_down, wrap_angle, yaw_of
from glam_core.tool import ToolCommand
from glam_sim.cell import COMMAND_STEP_S, Cell
from glam_sim.model import EMBODIMENTS
from glam_sim.scene import SeenScene
from glam_sim.tasks import TASKS
from glam_sim.tasks.task import Goal, View

SPEED_FACTOR = {"gen3": 1.0, "umi": 1.27}
"""How much faster each embodiment moves than the arm."""
_SPEED_M_S = 0.20
_TURN_RAD_S = 0.9
_APPROACH = 0.6
"""Share of the remaining way that a step covers close to the goal."""
_FAR_M = 0.10
_DETOUR_STEPS = 10


@dataclass(frozen=True)
class Noise:
    """How much people differ, and tremble; all zero is a robot."""

    speed: float = 0.12
    """Largest change of speed, as a share, for a whole episode."""
    grasp_m: float = 0.004
    """Standard deviation of where a cube is grasped, for a whole episode."""
    place_m: float = 0.003
    """Standard deviation of where a cube is put down, for a whole episode."""
    tremble: float = 0.12
    """Standard deviation of a step, as a share of the step, slowly varying."""
    detour_m: float = 0.02
    """Size of an occasional detour that is then corrected."""
    detour_chance: float = 0.3
    """Chance of a detour in an episode."""


PEOPLE = Noise()


class Expert:
    """Demonstrates one task with one embodiment; `seed` decides its manner."""

    def __init__(self, task: str, embodiment: str, seed: int, noise: Noise = PEOPLE) -> None:
        if task not in TASKS:
            raise ConfigurationError(closest(task, TASKS, "task"))
        if embodiment not in EMBODIMENTS:
            raise ConfigurationError(closest(embodiment, EMBODIMENTS, "embodiment"))
        self._task = TASKS[task]
        self._noise = noise
        self._seed = seed
        self._factor = SPEED_FACTOR[embodiment]

    def reset(self, cell: Cell | SeenScene) -> None:
        """Begins an episode."""
        self._manners = {
            arm: _Manner(np.random.default_rng([self._seed, 1 + index]), self._noise, self._factor, tool.gripper)
            for index, (arm, tool) in enumerate(cell.tools.items())
        }
        self._phases = dict.fromkeys(self._manners, "reach")

    def act(self, cell: Cell | SeenScene, now: float) -> dict[str, ToolCommand]:
        """Decides the next commands, at 10 Hz; `now` (s) is the cell's time."""
        del now  # the expert reacts to the scene alone
        objects, views = cell.objects, {}
        for arm, tool in cell.tools.items():
            T_world_tool, manner = cell.bases[arm] @ tool.T_base_tool, self._manners[arm]
            views[arm] = View(
                position=T_world_tool[:3, 3],
                yaw=yaw_of(T_world_tool),
                gripper=tool.gripper,
                gripper_rate=manner.gripper_rate(tool.gripper),
                objects=objects,
                grasp_offset=manner.grasp_offset,
                place_offset=manner.place_offset,
            )
        goals = self._task.plan(views, self._phases)
        self._phases = {arm: goal.phase for arm, goal in goals.items()}
        commands = {}
        for arm, goal in goals.items():
            T_world_goal = self._manners[arm].step(views[arm], goal)
            commands[arm] = ToolCommand(inverse(cell.bases[arm]) @ T_world_goal, goal.gripper)
        return commands


class _Manner:
    """How one hand of one person moves in one episode."""

    def __init__(self, rng: np.random.Generator, noise: Noise, factor: float, gripper: float) -> None:
        self._rng, self._noise = rng, noise
        self._speed = factor * (1.0 + rng.uniform(-noise.speed, noise.speed))
        self.grasp_offset = rng.normal(size=3).clip(-2.0, 2.0) * noise.grasp_m
        self.place_offset = rng.normal(size=2).clip(-2.0, 2.0) * noise.place_m
        self._tremble = np.zeros(4)
        self._detour_at = rng.integers(3, 12) if rng.uniform() < noise.detour_chance else -1
        self._detour = rng.normal(size=3) * noise.detour_m * [1.0, 1.0, 0.5]
        self._steps = 0
        self._gripper = gripper

    def gripper_rate(self, gripper: float) -> float:
        """Change (1/s) of the gripper since the last decision."""
        rate = (gripper - self._gripper) / COMMAND_STEP_S
        self._gripper = gripper
        return rate

    def step(self, view: View, goal: Goal) -> np.ndarray:
        """The pose (4, 4) of the tool, world frame, to which the next step leads."""
        self._tremble = 0.8 * self._tremble + 0.6 * self._rng.normal(size=4) * self._noise.tremble
        way = goal.position - view.position
        way = way + self._detour_now() * min(1.0, float(np.linalg.norm(way)) / _FAR_M)
        longest = _SPEED_M_S * self._speed * COMMAND_STEP_S
        length = float(np.linalg.norm(way))
        step = way * min(_APPROACH, longest / max(length, 1e-9))
        step = step + np.linalg.norm(step) * self._tremble[:3]
        most = _TURN_RAD_S * self._speed * COMMAND_STEP_S
        turn = float(np.clip(_APPROACH * wrap_angle(goal.yaw - view.yaw), -most, most)) * (1.0 + self._tremble[3])
        self._steps += 1
        return tool_down(view.position + step, view.yaw + turn)

    def _detour_now(self) -> np.ndarray:
        """The detour (3,) m of this step: it grows and is taken back within `_DETOUR_STEPS`."""
        share = (self._steps - self._detour_at) / _DETOUR_STEPS
        if self._detour_at < 0 or not 0.0 < share < 1.0:
            return np.zeros(3)
        return self._detour * np.sin(np.pi * share)
