"""Scripted experts: people-like demonstrations from the privileged state.

The task says where the tool should go next; this module adds how a person would go there: at a speed of their own,
not quite straight, not quite to the point. Commands are small steps from the measured pose.
"""

from __future__ import annotations

import numpy as np

from glam_core.errors import ConfigurationError, closest
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.pose import inverse, tool_down, wrap_angle, yaw_of
from glam_core.tool import ToolCommand
from glam_sim.cell import Cell
from glam_sim.model import EMBODIMENTS
from glam_sim.noise import PEOPLE, Noise
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
_MISS_M = (0.034, 0.042)
_SLIP_AFTER_STEPS = (4, 14)
_SLIP_STEPS = 3
_RETRY_NEAR_M = 0.01
_RETRY_BELOW_M = 0.08
_RETRY_UP_M = 0.07
_RETRY_STEPS = 4


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
            arm: _Manner([self._seed, 1 + index], self._noise, self._factor, hand.gripper)
            for index, (arm, hand) in enumerate(cell.hands.items())
        }
        self._phases = dict.fromkeys(self._manners, "reach")

    def act(self, cell: Cell | SeenScene, now: float) -> dict[str, ToolCommand]:
        """Decides the next commands, at 10 Hz; `now` (s) is the cell's time."""
        del now  # the expert reacts to the scene alone
        objects, views = cell.objects, {}
        for arm, (T_world_tool, gripper) in cell.hands.items():
            manner = self._manners[arm]
            views[arm] = View(
                position=T_world_tool[:3, 3],
                yaw=yaw_of(T_world_tool),
                gripper=gripper,
                gripper_rate=manner.gripper_rate(gripper),
                objects=objects,
                grasp_offset=manner.grasp_offset,
                place_offset=manner.place_offset,
            )
        goals = self._task.plan(views, self._phases)
        goals = {arm: self._manners[arm].act_out(views[arm], goal, self._phases[arm]) for arm, goal in goals.items()}
        self._phases = {arm: goal.phase for arm, goal in goals.items()}
        commands = {}
        for arm, goal in goals.items():
            T_world_goal = self._manners[arm].step(views[arm], goal)
            T_base_goal = inverse(cell.bases[arm]) @ T_world_goal @ cell.readings.T_tool_reported
            commands[arm] = ToolCommand(T_base_goal, goal.gripper)
        return commands


class _Manner:
    """How one hand of one person moves in one episode."""

    def __init__(self, seed: list[int], noise: Noise, factor: float, gripper: float) -> None:
        rng = np.random.default_rng(seed)
        self._rng, self._noise = rng, noise
        self._speed = factor * (1.0 + rng.uniform(-noise.speed, noise.speed))
        self._grasp_offset = rng.normal(size=3).clip(-2.0, 2.0) * noise.grasp_m
        self.place_offset = rng.normal(size=2).clip(-2.0, 2.0) * noise.place_m
        self._tremble = np.zeros(4)
        self._detour_at = rng.integers(3, 12) if rng.uniform() < noise.detour_chance else -1
        self._detour = rng.normal(size=3) * noise.detour_m * [1.0, 1.0, 0.5]
        self._steps = 0
        self._gripper = gripper
        self._mishaps = _Mishaps(np.random.default_rng([*seed, 1]), noise)

    @property
    def grasp_offset(self) -> np.ndarray:
        """(3,) m: where this person takes hold of an object, now."""
        return self._grasp_offset + self._mishaps.miss

    def gripper_rate(self, gripper: float) -> float:
        """Change (1/s) of the gripper since the last decision."""
        rate = (gripper - self._gripper) / COMMAND_STEP_S
        self._gripper = gripper
        return rate

    def act_out(self, view: View, goal: Goal, phase: str) -> Goal:
        """What the person does instead of what the plan says: nothing else, unless something goes wrong."""
        return self._mishaps.change(view, goal, phase)

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


class _Mishaps:
    """What goes wrong in one episode: pauses, a grasp beside the object, a slip, an approach that is begun anew.

    The plan reacts to what it sees, so it recovers from all of them.
    """

    def __init__(self, rng: np.random.Generator, noise: Noise) -> None:
        self._rng, self._noise = rng, noise
        side = rng.choice([-1.0, 1.0])
        misses = rng.uniform() < noise.miss_chance
        self.miss = np.array([side * rng.uniform(*_MISS_M), 0.0, 0.0]) if misses else np.zeros(3)
        self._slip_in = int(rng.integers(*_SLIP_AFTER_STEPS)) if rng.uniform() < noise.slip_chance else -1
        self._retries = rng.uniform() < noise.retry_chance
        self._left = 0
        self._doing: Goal | None = None

    def change(self, view: View, goal: Goal, phase: str) -> Goal:
        """The goal that is pursued at this step."""
        if self._left > 0 and self._doing is not None:
            self._left -= 1
            return self._doing
        if phase == "grasp" and goal.phase == "reach":
            self.miss = np.zeros(3)  # it has closed on nothing; the next grasp is a better one
        if goal.phase == "carry" and self._slip_in >= 0:
            self._slip_in -= 1
            if self._slip_in < 0:
                return self._do(Goal(view.position, view.yaw, 0.0, "carry"), _SLIP_STEPS)
        if self._retries and goal.phase == "reach" and view.position[2] - goal.position[2] > 0.0:
            beside = float(np.linalg.norm(view.position[:2] - goal.position[:2]))
            if beside < _RETRY_NEAR_M and view.position[2] < _RETRY_BELOW_M:
                self._retries = False
                up = np.array([*view.position[:2], view.position[2] + _RETRY_UP_M])
                return self._do(Goal(up, view.yaw, goal.gripper, "reach"), _RETRY_STEPS)
        if self._noise.pause_chance > 0.0 and self._rng.uniform() < self._noise.pause_chance:
            steps = int(self._rng.integers(*self._noise.pause_steps, endpoint=True))
            return self._do(Goal(view.position, view.yaw, goal.gripper, goal.phase), steps)
        return goal

    def _do(self, goal: Goal, steps: int) -> Goal:
        self._doing, self._left = goal, steps - 1
        return goal
