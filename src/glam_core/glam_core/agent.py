"""Observation in, safe command out: the loop that evaluation runs, with the scheduler and the filter of the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.chunks import TIME_TOLERANCE_S, Chunk, ChunkScheduler
from glam_core.errors import ConfigurationError, SpecError
from glam_core.limits import SafetyLimits
from glam_core.observation import Observation
from glam_core.safety import Clamp, SafetyFilter
from glam_core.spec import ActionSpec
from glam_core.tool import ToolCommand, ToolState, commands_from_action, state_vector

Predict = Callable[[Observation], ArrayLike]
"""Observation to a chunk `(H, d)`: latents, or actions for a direct policy."""
Decode = Callable[[NDArray[np.float32], NDArray[np.float32]], ArrayLike]
"""Latent `(d,)` and robot state `(S,)` to an action `(A,)`; the identity on actions for a direct policy."""


@dataclass(frozen=True, eq=False)
class AgentStep:
    """What the agent did in one step.

    Attributes:
        commands: One safe command per arm.
        clamps: Every limit that changed a command, over all arms.
        replanned: The policy was asked in this step.
        held: No latent was due: the commands hold the measured poses.
        action: The action as decoded, `(A,) float32`, before the safety filter; None when held.
    """

    commands: dict[str, ToolCommand]
    clamps: tuple[Clamp, ...]
    replanned: bool
    held: bool
    action: NDArray[np.float32] | None


class Agent:
    """Runs a policy: predicts every `execute_length` steps, decodes the latent that is due with the live robot state.

    Call `act` once per step of the action spec, and `reset` at the start of every episode.

    Args:
        predict: Observation to chunk.
        decode: Latent and robot state to action.
        action_spec: The action that `decode` returns.
        chunk_length: Steps that a chunk holds.
        execute_length: Steps between two predictions.
        latency_s: How long after its observation a chunk becomes available.
        safety_limits: The limits of each arm; None where the caller has a filter of its own.
        blend_steps: See `ChunkScheduler`.
    """

    def __init__(
        self,
        predict: Predict,
        decode: Decode,
        action_spec: ActionSpec,
        chunk_length: int,
        execute_length: int,
        latency_s: float = 0.0,
        safety_limits: SafetyLimits | None = None,
        blend_steps: int = 0,
    ) -> None:
        if not 1 <= execute_length <= chunk_length:
            raise ConfigurationError(
                f"execute_length is {execute_length}; expected 1 to {chunk_length}, the length of a chunk"
            )
        if not 0.0 <= latency_s < chunk_length * action_spec.step_s:
            raise ConfigurationError(
                f"latency_s is {latency_s}; expected 0 up to {chunk_length * action_spec.step_s:.3f} s, "
                "the time that a chunk covers"
            )
        self._predict = predict
        self._decode = decode
        self.action_spec = action_spec
        self.chunk_length = chunk_length
        self.execute_length = execute_length
        self.latency_s = latency_s
        self._scheduler = ChunkScheduler(action_spec.step_s, blend_steps=blend_steps)
        self._filters = {arm: SafetyFilter(safety_limits, arm) for arm in action_spec.arms} if safety_limits else {}
        self.reset()

    def reset(self) -> None:
        """Forgets the last episode."""
        self._scheduler.reset()
        for safety in self._filters.values():
            safety.reset()
        self._arriving: list[tuple[float, Chunk]] = []
        self._grips: dict[str, float] = {}
        self._steps = 0

    def act(self, observation: Observation, tools: Mapping[str, ToolState], now: float) -> AgentStep:
        """One step of the loop.

        Args:
            observation: What the policy sees.
            tools: The measured tool of every arm.
            now: The current time, s.

        Returns:
            The commands to execute until the next step, and how they came about.
        """
        replanned = self._steps % self.execute_length == 0
        self._steps += 1
        if replanned:
            self._arriving.append((now + self.latency_s, self._chunk(observation)))
        while self._arriving and self._arriving[0][0] <= now + TIME_TOLERANCE_S:
            self._scheduler.add(self._arriving.pop(0)[1], now)

        due = self._scheduler.due(now)
        action = None
        if due is None or due.latent is None:
            # The last grip stays: closing only as far as was measured would drop what is held.
            commands = {
                arm: ToolCommand(
                    tools[arm].T_base_tool, self._grips.get(arm, tools[arm].gripper), self._resting(tools[arm])
                )
                for arm in self.action_spec.arms
            }
        else:
            action = self._action(due.latent, tools)
            commands = commands_from_action(action, tools, self.action_spec)
            self._grips = {arm: command.gripper for arm, command in commands.items()}
        clamps: list[Clamp] = []
        for arm, safety in self._filters.items():
            joints = commands[arm].joints
            filtered = safety.filter(commands[arm], tools[arm], now)
            # A pose that had to be moved is followed as a pose: the joints that were asked for do not lead there.
            moved = any(clamp.name != "gripper" for clamp in filtered.clamps)
            commands[arm] = filtered.command if moved else replace(filtered.command, joints=joints)
            clamps += filtered.clamps
        return AgentStep(commands, tuple(clamps), replanned, action is None, action)

    def _chunk(self, observation: Observation) -> Chunk:
        latents = np.asarray(self._predict(observation), dtype=np.float32)
        if latents.ndim != 2 or len(latents) != self.chunk_length:
            raise SpecError(
                f"the policy gave a chunk of shape {latents.shape}; expected ({self.chunk_length}, latent size)"
            )
        return Chunk(latents, observation.stamp, self.action_spec.step_s)

    def _resting(self, tool: ToolState) -> NDArray[np.float64] | None:
        return tool.joints if self.action_spec.moves_joints else None

    def _action(self, latent: NDArray[np.float32], tools: Mapping[str, ToolState]) -> NDArray[np.float32]:
        state = state_vector(tools, self.action_spec.arms, with_joints=self.action_spec.moves_joints)
        action = np.asarray(self._decode(latent, state), dtype=np.float32)
        if action.shape != (self.action_spec.size,):
            raise SpecError(f"the decoder gave an action of shape {action.shape}; expected ({self.action_spec.size},)")
        return action
