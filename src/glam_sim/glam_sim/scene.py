"""The scene vector: everything in the cell as one vector of numbers, there and back.

Privileged, for the fast lane and for scripted experts: per arm where its tool is, per object its own row; all in the
world frame, which is the base frame of a single arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from glam_core.errors import ConfigurationError
from glam_core.pose import tool_down, yaw_of
from glam_core.spec import VectorSpec
from glam_core.tool import ToolState
from glam_sim.objects import ObjectState
from glam_sim.sources import Readings
from glam_sim.tasks.task import Task

_TOOL_COMPONENTS = (("x", "m"), ("y", "m"), ("z", "m"), ("cos_yaw", "1"), ("sin_yaw", "1"), ("gripper", "1"))


_LOOK_COMPONENTS = (("look.red", "1"), ("look.green", "1"), ("look.blue", "1"))


class Hand(NamedTuple):
    """Where a tool truly is: pose (4, 4) in the world frame, gripper 0 (open) to 1 (closed)."""

    T_world_tool: np.ndarray
    gripper: float


@dataclass(frozen=True)
class SeenScene:
    """What an expert needs to know of a cell.

    Attributes:
        hands: where the tools are, by arm, in the world frame.
        bases: `T_world_base` (4, 4) by arm.
        readings: what the cell takes for a tool.
        objects: the objects by name, in the world frame.
    """

    hands: dict[str, Hand]
    bases: dict[str, np.ndarray]
    objects: dict[str, ObjectState]
    readings: Readings = Readings()


def scene_spec(task: Task, with_look: bool = False) -> VectorSpec:
    """Names and units of the scene vector of a task's cell; `with_look` in the cells of a source."""
    parts = [(f"{arm}.{name}", unit) for arm in task.layout.arm_names for name, unit in _TOOL_COMPONENTS]
    parts += [(f"{item.name}.{name}", unit) for item in task.objects for name, unit in item.components]
    parts += _LOOK_COMPONENTS if with_look else ()
    names, units = zip(*parts, strict=True)
    frame = "base" if len(task.layout.arms) == 1 else "world"
    return VectorSpec(name="scene", components=names, units=units, frame=frame)


def scene_vector(
    task: Task,
    tools: Mapping[str, ToolState],
    bases: Mapping[str, np.ndarray],
    objects: Mapping[str, ObjectState],
    look: Sequence[float] = (),
) -> np.ndarray:
    """Returns the scene `(D,) float32`, as `scene_spec` says.

    Args:
        task: the task.
        tools: the measured tools by arm, each in its base frame.
        bases: `T_world_base` (4, 4) by arm.
        objects: the objects by name.
        look: the numbers that stand for the look of the cell, in the cells of a source.
    """
    parts: list[float] = []
    for arm, tool in tools.items():
        T_world_tool = bases[arm] @ tool.T_base_tool
        yaw = yaw_of(T_world_tool)
        parts += [*T_world_tool[:3, 3], np.cos(yaw), np.sin(yaw), tool.gripper]
    for item in task.objects:
        parts += item.row(objects[item.name])
    return np.array([*parts, *look], dtype=np.float32)


def scene_from_vector(values: np.ndarray, task: Task) -> SeenScene:
    """The scene that a scene vector `(D,)` of a task's cell describes; objects up to their symmetry, tools down.

    Raises:
        ConfigurationError: scenes of this task have another size.
    """
    size = scene_spec(task).size
    if values.shape != (size,):
        raise ConfigurationError(
            f"a scene of '{task.name}' with {len(task.layout.arms)} arm(s) has {size} numbers, not {values.shape}"
        )
    numbers, at = values.astype(float), 0
    hands, bases, objects = {}, {}, {}
    for arm in task.layout.arms:
        x, y, z, cosine, sine, gripper = numbers[at : at + len(_TOOL_COMPONENTS)]
        T_world_tool = tool_down(np.array([x, y, z]), float(np.arctan2(sine, cosine)))
        bases[arm.name] = arm.T_world_base
        hands[arm.name] = Hand(T_world_tool, float(gripper))
        at += len(_TOOL_COMPONENTS)
    for item in task.objects:
        objects[item.name] = item.state(numbers[at : at + len(item.components)])
        at += len(item.components)
    return SeenScene(hands, bases, objects)
