"""The state and the command of a tool, and how the state vector `s_t` and the action vector `a_t` stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import SpecError, closest
from glam_core.gen3 import JOINTS, TOOL
from glam_core.kinematics import forward
from glam_core.pose import (
    matrix_from_rotation_6d,
    rotation_6d_from_matrix,
    tool_down,
    transform,
    wrap_angle,
    yaw_of,
)
from glam_core.spec import ARM_ACTION_COMPONENTS, ARM_STATE_COMPONENTS, JOINT_ACTION_COMPONENTS, ActionSpec

ARM_STATE_SIZE = len(ARM_STATE_COMPONENTS)
ARM_ACTION_SIZE = len(ARM_ACTION_COMPONENTS)
JOINT_ACTION_SIZE = len(JOINT_ACTION_COMPONENTS)


@dataclass(frozen=True, eq=False)
class ToolState:
    """A measured tool: pose `T_base_tool` (4, 4) float64, gripper 0 (open) to 1 (closed).

    `joints` (7,) rad, where they are measured and somebody asks for them.
    """

    T_base_tool: NDArray[np.float64]
    gripper: float
    joints: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _tidy(self)


@dataclass(frozen=True, eq=False)
class ToolCommand:
    """A commanded tool: pose `T_base_tool` (4, 4) float64, gripper 0 (open) to 1 (closed).

    `joints` (7,) rad, where the command is one for the joints; the pose is then the one that they lead to.
    """

    T_base_tool: NDArray[np.float64]
    gripper: float
    joints: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _tidy(self)


def state_vector(tools: Mapping[str, ToolState], arms: Sequence[str], with_joints: bool = False) -> NDArray[np.float32]:
    """The robot state `s_t`.

    Args:
        tools: The measured tool of every arm.
        arms: Which arms, in the order of the spec.
        with_joints: Whether the cosines and sines of the joints belong to it, for actions that move joints.

    Returns:
        `(10 * len(arms),) float32`: per arm x y z (m, base), rotation 6D, gripper; 24 per arm with joints.
    """
    parts = []
    for arm in arms:
        tool = _tool(tools, arm)
        rotation, position = tool.T_base_tool[:3, :3], tool.T_base_tool[:3, 3]
        parts += [position, rotation_6d_from_matrix(rotation), [tool.gripper]]
        if with_joints:
            joints = _joints(tool, arm)
            parts += [np.cos(joints), np.sin(joints)]
    return np.concatenate(parts).astype(np.float32)


def tools_from_state_vector(state: ArrayLike, arms: Sequence[str]) -> dict[str, ToolState]:
    """The tools that a robot state `(10 * len(arms),)` stands for; the inverse of `state_vector`."""
    rows = _rows(state, arms, ARM_STATE_SIZE, "state")
    return {
        arm: ToolState(transform(matrix_from_rotation_6d(row[3:9]), row[:3]), float(row[9]))
        for arm, row in zip(arms, rows, strict=True)
    }


def commands_from_action(action: ArrayLike, tools: Mapping[str, ToolState], spec: ActionSpec) -> dict[str, ToolCommand]:
    """Turns a relative action into absolute commands.

    Args:
        action: `(A,)`: per arm x y z (m, base frame) and yaw (rad) relative to the measured pose, and gripper target;
            the tool keeps pointing down. Or, if the spec moves joints, per arm the turn (rad) of each joint relative
            to what is measured, and gripper target.
        tools: The measured tool of every arm, with its joints if the spec moves joints.
        spec: The action spec that `action` follows.

    Returns:
        One command per arm of the spec, not yet limited: that is the safety filter's work.
    """
    if spec.moves_joints:
        return _joint_commands(action, tools, spec)
    _require_tool_action(spec)
    rows = _rows(action, spec.arms, ARM_ACTION_SIZE, "action")
    commands = {}
    for arm, row in zip(spec.arms, rows, strict=True):
        measured = _tool(tools, arm).T_base_tool
        pose = tool_down(measured[:3, 3] + row[:3], yaw_of(measured) + row[3])
        commands[arm] = ToolCommand(pose, float(row[4]))
    return commands


def action_from_commands(
    commands: Mapping[str, ToolCommand], tools: Mapping[str, ToolState], spec: ActionSpec
) -> NDArray[np.float32]:
    """The relative action `(A,) float32` that leads from the measured tools to the commands."""
    if not spec.moves_joints:
        _require_tool_action(spec)
    parts = []
    for arm in spec.arms:
        if arm not in commands:
            raise SpecError(closest(arm, commands, "arm") + "; the action spec asks for a command for it")
        command, measured = commands[arm], _tool(tools, arm)
        if spec.moves_joints:
            parts += [wrap_angle(_joints(command, arm) - _joints(measured, arm)), [command.gripper]]
            continue
        motion = command.T_base_tool[:3, 3] - measured.T_base_tool[:3, 3]
        turn = wrap_angle(yaw_of(command.T_base_tool) - yaw_of(measured.T_base_tool))
        parts += [motion, [turn, command.gripper]]
    return np.concatenate(parts).astype(np.float32)


def _joint_commands(action: ArrayLike, tools: Mapping[str, ToolState], spec: ActionSpec) -> dict[str, ToolCommand]:
    rows = _rows(action, spec.arms, JOINT_ACTION_SIZE, "action")
    commands = {}
    for arm, row in zip(spec.arms, rows, strict=True):
        joints = _joints(_tool(tools, arm), arm) + row[:-1]
        commands[arm] = ToolCommand(forward(joints).pose(TOOL), float(row[-1]), joints)
    return commands


def _joints(tool: ToolState | ToolCommand, arm: str) -> NDArray[np.float64]:
    if tool.joints is None:
        raise SpecError(
            f"the joints of '{arm}' are not known here; actions that move joints need an arm that measures them"
        )
    return tool.joints


def _tidy(tool: ToolState | ToolCommand) -> None:
    pose = np.array(tool.T_base_tool, dtype=np.float64)
    if pose.shape != (4, 4):
        raise SpecError(f"T_base_tool has shape (4, 4), not {pose.shape}")
    object.__setattr__(tool, "T_base_tool", pose)
    object.__setattr__(tool, "gripper", float(tool.gripper))
    if tool.joints is not None:
        joints = np.array(tool.joints, dtype=np.float64)
        if joints.shape != (len(JOINTS),):
            raise SpecError(f"an arm has joints ({len(JOINTS)},), not {joints.shape}")
        object.__setattr__(tool, "joints", joints)


def _tool(tools: Mapping[str, ToolState], arm: str) -> ToolState:
    if arm not in tools:
        raise SpecError(closest(arm, tools, "arm") + "; no measured tool state for it")
    return tools[arm]


def _rows(values: ArrayLike, arms: Sequence[str], size: int, what: str) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (len(arms) * size,):
        raise SpecError(f"the {what} of {len(arms)} arm(s) has shape ({len(arms) * size},), not {vector.shape}")
    return vector.reshape(len(arms), size)


def _require_tool_action(spec: ActionSpec) -> None:
    if spec.components != ARM_ACTION_COMPONENTS:
        raise SpecError(
            f"actions with the components {', '.join(spec.components)} can not be turned into commands; "
            f"expected {', '.join(ARM_ACTION_COMPONENTS)}, or {', '.join(JOINT_ACTION_COMPONENTS)}"
        )
