"""One episode of a simulated cell: what the clock steps, and what it shows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ConfigurationError, closest
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.pose import interpolate, log_so3
from glam_core.tool import ToolCommand, ToolState
from glam_sim.cell import Cell, Configuration, Joints
from glam_sim.model import CONTROL_STEP_S, scene_model
from glam_sim.motion import JointDrive, JointState
from glam_sim.tasks import TASKS

TICK_S = CONTROL_STEP_S
"""Period of the arm's control: the cell advances by this much at a time."""

_HOMING_SPEED_M_S = 0.15
_HOMING_SPEED_RAD_S = 1.0
_HOME_M = 0.01
_HOME_RAD = 0.05


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of the cell at one control tick.

    Attributes:
        stamp: Monotonic clock, s.
        tick: Counts the control ticks of the episode, from 0.
        episode: Counts the resets since the cell was made, from 0.
        task: Name of the task.
        seed: Seed of the initial state.
        elapsed_s: Simulated time since the reset.
        success: Decided by physics; stays true once reached.
        timed_out: The task's horizon passed without success.
        tools: The measured tool of every arm, in its base frame.
        joints: The measured joints of every arm.
        scene: `(D,) float32`, the scene vector.
        objects: `T_world_object` (4, 4) by name; the world is the base frame of a single arm.
        configuration: Where everything is, for a second copy of the scene.
    """

    stamp: float
    tick: int
    episode: int
    task: str
    seed: int
    elapsed_s: float
    success: bool
    timed_out: bool
    tools: Mapping[str, ToolState]
    joints: Mapping[str, Joints]
    scene: NDArray[np.float32]
    objects: Mapping[str, NDArray[np.float64]]
    configuration: Configuration


class Episode:
    """A cell that knows which episode it is in. Only the thread that made it may use it: it owns the GL contexts."""

    def __init__(self, embodiment: str, task: str, seed: int) -> None:
        self._cell = Cell(task, embodiment)
        self._number = -1
        self.reset(task, seed)

    def close(self) -> None:
        """Frees the GL contexts."""
        self._cell.close()

    def reset(self, task: str, seed: int) -> None:
        """Begins the next episode; another task needs another cell."""
        if task != self._cell.task.name:
            cell = Cell(task, self._cell.embodiment)
            self._cell.close()
            self._cell = cell
        self._cell.reset(seed)
        self._number += 1
        self._seed = seed
        self._start = self._cell.tools
        self._goals = {arm: ToolCommand(tool.T_base_tool, tool.gripper) for arm, tool in self._start.items()}

    def command(self, arm: str, goal: ToolCommand) -> None:
        """Sends a tool to a pose. A repeated goal keeps its deadline, so that the rate of commands does not matter."""
        before = self._goals[arm]
        if goal.gripper != before.gripper or not np.array_equal(goal.T_base_tool, before.T_base_tool):
            self._goals[arm] = goal
            self._cell.command({arm: goal})

    def hold(self, arm: str) -> None:
        """Keeps a tool where it is; the gripper keeps its goal."""
        self.command(arm, ToolCommand(self._cell.tools[arm].T_base_tool, self._goals[arm].gripper))

    def step_home(self, arm: str) -> bool:
        """Sends a tool one step towards where the episode began, gripper open; returns whether it is there."""
        tool, home = self._cell.tools[arm].T_base_tool, self._start[arm].T_base_tool
        distance = float(np.linalg.norm(home[:3, 3] - tool[:3, 3]))
        turn = float(np.linalg.norm(log_so3(tool[:3, :3].T @ home[:3, :3])))
        steps = max(distance / (_HOMING_SPEED_M_S * COMMAND_STEP_S), turn / (_HOMING_SPEED_RAD_S * COMMAND_STEP_S), 1.0)
        self.command(arm, ToolCommand(interpolate(tool, home, 1.0 / steps), 0.0))
        return distance < _HOME_M and turn < _HOME_RAD

    def advance(self) -> None:
        """Lets one control tick pass."""
        self._cell.advance(TICK_S)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms."""
        return self._cell.arms

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return self._cell.cameras

    def drive(self, drives: Mapping[str, JointDrive]) -> None:
        """Lets one physics step pass, every arm driven by its joints."""
        self._cell.drive(drives)

    def joint_state(self, arm: str) -> JointState:
        """What the joints of an arm do."""
        return self._cell.joint_state(arm)

    def render(self, camera: str, height: int, width: int) -> NDArray[np.uint8]:
        """An image `(height, width, 3) uint8 RGB`."""
        return self._cell.render(camera, height, width)

    def snapshot(self, stamp: float) -> Snapshot:
        """The state of the cell as it is now, at `stamp` of the monotonic clock, s."""
        cell = self._cell
        success = cell.success()
        return Snapshot(
            stamp=stamp,
            tick=round(cell.time / TICK_S),
            episode=self._number,
            task=cell.task.name,
            seed=self._seed,
            elapsed_s=cell.time,
            success=success,
            timed_out=not success and cell.time >= cell.task.horizon * COMMAND_STEP_S,
            tools=cell.tools,
            joints=cell.joints,
            scene=cell.scene_vector(),
            objects={name: state.T_world_object for name, state in cell.objects.items()},
            configuration=cell.configuration,
        )


def known_task(task: str) -> str:
    """The name of a task; raises ConfigurationError for an unknown one."""
    if task not in TASKS:
        raise ConfigurationError(closest(task, TASKS, "task"))
    return task


def focal_lengths(embodiment: str, task: str, heights: Mapping[str, int]) -> dict[str, float]:
    """Focal length (pixels) of cameras, by name, from the heights of their images."""
    setting = TASKS[known_task(task)]
    model = scene_model(embodiment, setting.layout, setting.objects)
    lengths = {}
    for camera, height in heights.items():
        if camera not in setting.layout.cameras:
            raise ConfigurationError(closest(camera, setting.layout.cameras, "camera"))
        fovy = math.radians(float(model.camera(camera).fovy[0]))
        lengths[camera] = height / (2.0 * math.tan(fovy / 2.0))
    return lengths
