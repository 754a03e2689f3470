"""From chunks of latents to commands: which latent is due, what it means for the tool as it is now, when to hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glam_core.chunks import Chunk, ChunkScheduler
from glam_core.errors import ObservationError, SpecError, StaleObservationError
from glam_core.ik import share_left
from glam_core.pose import interpolate
from glam_core.spec import ActionSpec
from glam_core.tool import ARM_ACTION_COMPONENTS, ToolCommand, ToolState, commands_from_action, state_vector
from glam_ros.records import MeasuredTool, PlannedChunk

Decode = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Latent `(d,)` and robot state `(S,)` to relative action `(A,)`; the identity on the latent for a direct policy."""


@dataclass(frozen=True, eq=False)
class Tick:
    """What to publish at one control tick: a command per arm.

    Attributes:
        commands: Arm to command.
        observed_at: Capture time of the observation behind the commands, s.
        due_at: When the tools shall be there, s: at the end of the step.
        hold: True while no latent is due and the tools stay where they were measured.
        decode_s: Time spent decoding, s; 0 when the commands of the step were already there.
        new_step: True at the first tick of a step.
    """

    commands: dict[str, ToolCommand]
    observed_at: float
    due_at: float
    hold: bool
    decode_s: float
    new_step: bool


class LatentExecution:
    """Executes chunks at the control rate. Each latent is decoded once, with the tools as they are when it is due.

    A command takes a control tick to reach the arm, so it is decoded one tick before its step begins (at the tick that
    is nearest to that), with the tools where the commands before bring them until then.
    """

    def __init__(
        self,
        decode: Decode,
        action_spec: ActionSpec,
        latent_size: int,
        period_s: float,
        max_state_age_s: float,
        hold_s: float,
    ) -> None:
        """Prepares the execution.

        Args:
            decode: Latent and robot state to action.
            action_spec: What the action means.
            latent_size: Numbers per latent; chunks of another size are refused.
            period_s: Time between two control ticks, s.
            max_state_age_s: An older tool state stops the commands, s.
            hold_s: For how long the tools are held after the last latent, s; then silence, and the driver stops.
        """
        self._decode, self._spec, self._early_s = decode, action_spec, 1.5 * period_s
        self._max_state_age_s, self._hold_s = max_state_age_s, hold_s
        self._scheduler = ChunkScheduler(action_spec.step_s, latent_size)
        self._measured: dict[str, MeasuredTool] = {}
        self._forgotten_before = -np.inf
        self._clear_step()

    def add_tool(self, measured: MeasuredTool) -> None:
        """Takes in a measured tool; raises SpecError for an arm that the model does not move."""
        if measured.arm not in self._spec.arms:
            raise SpecError(f"tool state of arm '{measured.arm}', but the model moves {', '.join(self._spec.arms)}")
        self._measured[measured.arm] = measured

    def add_chunk(self, chunk: PlannedChunk, now: float) -> None:
        """Takes in a plan; raises SpecError or ObservationError for one of another model, not finite, or too old."""
        if chunk.observed_at < self._forgotten_before:
            raise ObservationError(
                f"a chunk observed {self._forgotten_before - chunk.observed_at:.3f} s before the reset"
            )
        self._scheduler.add(Chunk(chunk.latents, chunk.observed_at, chunk.step_s), now)
        self._halted = False

    def halt(self) -> None:
        """No plan counts any more: the tools are held where they are, as when plans run out, until a new one comes."""
        if self._observed_at is not None:
            self._scheduler.reset()
            self._halted = True

    def forget(self, before: float) -> None:
        """Drops every plan and tool state, and refuses chunks observed before `before` (s): a new episode began."""
        self._forgotten_before = before
        self._scheduler.reset()
        self._measured.clear()
        self._clear_step()

    def tick(self, now: float) -> Tick | None:
        """The commands of this moment.

        Returns:
            None where there is nothing to say: no plan yet, or held for long enough.

        Raises:
            StaleObservationError: A tool state is missing or too old; nothing may be commanded.
        """
        if self._halted and self._observed_at is not None:
            return self._hold(self._tools(now), self._observed_at, now)
        due = self._scheduler.due(now + self._early_s)
        if due is None:
            return None
        self._observed_at = due.observed_at
        measured = self._tools(now)
        if due.latent is None:
            return self._hold(measured, due.observed_at, now)
        self._hold_since = None
        if due.step == self._step:
            return Tick(self._commands, due.observed_at, self._due_at, hold=False, decode_s=0.0, new_step=False)
        start = time.perf_counter()
        begins_at = max(due.step_started_at, now)
        self._commands = self._decoded(due.latent, {arm: self._at(begins_at, arm) for arm in measured})
        decode_s = time.perf_counter() - start
        self._step = due.step
        # An action leads from where the tool is when its step begins, and takes one step from then on.
        self._due_at = begins_at + self._spec.step_s
        return Tick(self._commands, due.observed_at, self._due_at, hold=False, decode_s=decode_s, new_step=True)

    def predicted_path(self, now: float) -> dict[str, list[ToolCommand]]:
        """The commands to come, were every one reached exactly: the rest of the plan, decoded open-loop."""
        tools = {arm: measured.tool for arm, measured in self._measured.items()}
        paths: dict[str, list[ToolCommand]] = {arm: [] for arm in self._spec.arms}
        for latent in self._scheduler.upcoming(now + self._early_s):
            commands = self._decoded(latent, tools)
            tools = {arm: ToolState(command.T_base_tool, command.gripper) for arm, command in commands.items()}
            for arm, command in commands.items():
                paths[arm].append(command)
        return paths

    def tool_positions(self) -> dict[str, NDArray[np.float64]]:
        """Where the tools were measured last: arm to position (3,), m, base frame."""
        return {arm: measured.tool.T_base_tool[:3, 3] for arm, measured in self._measured.items()}

    def _at(self, moment: float, arm: str) -> ToolState:
        """The tool where the command that it follows brings it until a moment, s, soon after it was measured."""
        measured = self._measured[arm]
        if self._step is None:  # it follows none
            return measured.tool
        left_then, left_now = (share_left(self._due_at - at) for at in (moment, measured.stamp))
        pose = interpolate(
            measured.tool.T_base_tool, self._commands[arm].T_base_tool, 1.0 - min(left_then / left_now, 1.0)
        )
        return replace(measured.tool, T_base_tool=pose)

    def _decoded(self, latent: NDArray[np.float32], tools: dict[str, ToolState]) -> dict[str, ToolCommand]:
        action = self._decode(latent, state_vector(tools, self._spec.arms))
        commands = commands_from_action(action, tools, self._spec)
        # A network overshoots the range of the gripper by a hair; beyond it there is nothing to ask for.
        return {arm: replace(command, gripper=min(max(command.gripper, 0.0), 1.0)) for arm, command in commands.items()}

    def _hold(self, tools: dict[str, ToolState], observed_at: float, now: float) -> Tick | None:
        """The pose measured when the hold began, until `hold_s` have passed; the grip stays: nothing is dropped."""
        if self._hold_since is None:
            self._hold_since, self._step, self._due_at = now, None, now
            grips = {arm: command.gripper for arm, command in self._commands.items()}
            self._commands = {
                arm: ToolCommand(tool.T_base_tool, grips.get(arm, tool.gripper)) for arm, tool in tools.items()
            }
        if now - self._hold_since > self._hold_s:
            return None
        return Tick(self._commands, observed_at, self._due_at, hold=True, decode_s=0.0, new_step=False)

    def _tools(self, now: float) -> dict[str, ToolState]:
        for arm in self._spec.arms:
            if arm not in self._measured:
                raise StaleObservationError(f"no tool state of arm '{arm}' yet; is its driver running?")
            age = now - self._measured[arm].stamp
            if age > self._max_state_age_s:
                raise StaleObservationError(
                    f"the tool state of arm '{arm}' is {age:.3f} s old; at most {self._max_state_age_s:g} s is acted on"
                )
        return {arm: self._measured[arm].tool for arm in self._spec.arms}

    def _clear_step(self) -> None:
        self._step: tuple[float, int] | None = None
        self._commands: dict[str, ToolCommand] = {}
        self._due_at = -np.inf
        self._hold_since: float | None = None
        self._observed_at: float | None = None  # of the plan behind the newest commands
        self._halted = False


def require_arms(spec: ActionSpec, station_arms: Sequence[str]) -> None:
    """Raises SpecError unless the model's action moves exactly the arms of the station."""
    if spec.arms != tuple(station_arms):
        raise SpecError(
            f"the model's action has {spec.size} numbers, for the arms {', '.join(spec.arms)}; the station has the "
            f"arms {', '.join(station_arms)}. Choose a model that was trained for these arms"
        )
    if spec.components != ARM_ACTION_COMPONENTS:
        raise SpecError(
            f"the model's action has {len(spec.components)} numbers per arm ({', '.join(spec.components)}); "
            f"the arms take {len(ARM_ACTION_COMPONENTS)} ({', '.join(ARM_ACTION_COMPONENTS)})"
        )
