"""One episode: the same function for scripted experts, models in training and exported folders.

At each step (10 Hz) it observes (images, masks, state, scene), asks for a command, records the action that the command
is, and lets 0.1 s pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from glam_core.errors import ConfigurationError, closest
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.image import prepare_image
from glam_core.observation import Observation
from glam_core.spec import ActionSpec, ObsSpec, joint_action_spec, robot_state_spec
from glam_core.tool import ToolCommand, ToolState, action_from_commands, state_vector
from glam_sim.cell import Cell
from glam_sim.experts import Expert
from glam_sim.noise import PEOPLE, Noise
from glam_sim.sources import Source

AFTER_SUCCESS_STEPS = 5
"""How long an episode goes on after success."""


class Controller(Protocol):
    """What moves the tools of a cell."""

    @property
    def obs_spec(self) -> ObsSpec:
        """What the controller wants to see."""
        ...

    def reset(self, cell: Cell, seed: int) -> None:
        """Begins an episode."""
        ...

    def act(self, observation: Observation, tools: Mapping[str, ToolState], now: float) -> Mapping[str, ToolCommand]:
        """Decides the next command."""
        ...


class ExpertController:
    """A scripted expert as a controller: it sees the cell itself, and no observation."""

    obs_spec = ObsSpec()

    def __init__(self, task: str, embodiment: str, noise: Noise = PEOPLE) -> None:
        self._make = lambda seed: Expert(task, embodiment, seed, noise)
        self._make(0)  # raises now if a name is unknown

    @classmethod
    def of(cls, task: str, source: Source) -> ExpertController:
        """An expert that acts as the people of a source do."""
        return cls(task, source.embodiment, source.noise)

    def reset(self, cell: Cell, seed: int) -> None:
        """Begins an episode in the manner that `seed` decides."""
        self._cell = cell
        self._expert = self._make(seed)
        self._expert.reset(cell)

    def act(self, observation: Observation, tools: Mapping[str, ToolState], now: float) -> dict[str, ToolCommand]:
        """Decides the next command."""
        return self._expert.act(self._cell, now)


class AgentController:
    """A `glam_core` agent (anything with its `reset` and `act`) as a controller."""

    def __init__(self, agent: Any, obs_spec: ObsSpec) -> None:
        self._agent = agent
        self.obs_spec = obs_spec

    def reset(self, cell: Cell, seed: int) -> None:
        """Begins an episode."""
        self._agent.reset()

    def act(self, observation: Observation, tools: Mapping[str, ToolState], now: float) -> dict[str, ToolCommand]:
        """Decides the next command."""
        return self._agent.act(observation, tools, now).commands


@dataclass(frozen=True)
class Recording:
    """What an episode keeps besides state, scene and actions."""

    cameras: tuple[str, ...] = ()
    """Cameras whose images are kept, at the cell's image size (the overview: at its own)."""
    masks: tuple[str, ...] = ()
    """Cameras whose masks are kept."""
    action_space: Literal["tool", "joint"] = "tool"
    """What the actions that are kept move; with "joint", the commands of an expert are carried out by the joints."""


NOTHING = Recording()


@dataclass(frozen=True)
class Episode:
    """What happened, one row per step of 0.1 s.

    Attributes:
        images: by camera, (T, H, W, 3) uint8 RGB.
        masks: by camera, (T, H, W) uint8, values as in `Cell.mask_classes`.
        state: (T, S) float32, the robot state.
        action: (T, A) float32, the relative action that was sent.
        scene: (T, D) float32, the privileged scene.
        success: whether the task succeeded.
        seed: what decided the start (and the expert's manner).
        steps: T.
    """

    images: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    state: np.ndarray
    action: np.ndarray
    scene: np.ndarray
    success: bool
    seed: int
    steps: int


def rollout(
    cell: Cell, controller: Controller, seed: int, max_steps: int | None = None, record: Recording = NOTHING
) -> Episode:
    """Runs one episode, until shortly after success or for `max_steps`.

    Args:
        cell: where; it is reset with `seed`.
        controller: who acts.
        seed: decides the start, and what is random in the controller.
        max_steps: steps of 0.1 s; the task's horizon if None.
        record: what to keep.
    """
    moves_joints = record.action_space == "joint"
    action_spec = joint_action_spec(cell.arms) if moves_joints else ActionSpec(arms=cell.arms)
    rows = _Rows()
    cell.reset(seed)
    controller.reset(cell, seed)
    senses = _Senses(cell, controller.obs_spec)
    last = cell.task.horizon if max_steps is None else max_steps
    step = 0
    while step < last:
        frames: dict[str, np.ndarray] = {}
        observation = senses.observe(frames)
        tools = cell.tools
        commands = controller.act(observation, tools, cell.time)
        if moves_joints and any(command.joints is None for command in commands.values()):
            commands = cell.with_joints(commands)
        for camera in record.cameras:
            rows.add(rows.images, camera, _frame(cell, camera, frames))
        for camera in record.masks:
            rows.add(rows.masks, camera, cell.render_mask(camera))
        rows.state.append(state_vector(tools, cell.arms, with_joints=moves_joints))
        rows.action.append(action_from_commands(commands, tools, action_spec))
        rows.scene.append(cell.scene_vector())
        cell.command(commands)
        succeeded = cell.success()
        cell.advance(COMMAND_STEP_S)
        step += 1
        if cell.success() and not succeeded:
            last = min(last, step + AFTER_SUCCESS_STEPS)
    return Episode(
        images={camera: np.stack(frames) for camera, frames in rows.images.items()},
        masks={camera: np.stack(frames) for camera, frames in rows.masks.items()},
        state=np.stack(rows.state),
        action=np.stack(rows.action),
        scene=np.stack(rows.scene),
        success=cell.success(),
        seed=seed,
        steps=step,
    )


@dataclass
class _Rows:
    """What has been recorded so far."""

    images: dict[str, list[np.ndarray]] = field(default_factory=dict)
    masks: dict[str, list[np.ndarray]] = field(default_factory=dict)
    state: list[np.ndarray] = field(default_factory=list)
    action: list[np.ndarray] = field(default_factory=list)
    scene: list[np.ndarray] = field(default_factory=list)

    @staticmethod
    def add(rows: dict[str, list[np.ndarray]], key: str, value: np.ndarray) -> None:
        """Appends a row to a list that may be new."""
        rows.setdefault(key, []).append(value)


class _Senses:
    """Observations of a cell as a spec asks for them, with history; the first one stands in for what was before."""

    def __init__(self, cell: Cell, spec: ObsSpec) -> None:
        self._cell = cell
        self._spec = spec
        self._sources = {"scene": cell.scene_vector, "state": self._state}
        for vector in spec.vectors:
            if vector.name not in self._sources:
                raise ConfigurationError(closest(vector.name, self._sources, "vector"))
            if vector.name == "scene" and vector.size != cell.scene_spec().size:
                raise ConfigurationError(
                    f"the policy expects scenes of {vector.size} numbers, those of this cell have "
                    f"{cell.scene_spec().size}; scenes of a source show its look: evaluate with the source of the "
                    "demonstrations"
                )
        self._history: deque[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = deque(maxlen=spec.history)

    def _state(self) -> np.ndarray:
        with_joints = self._spec.vector("state") == robot_state_spec(self._cell.arms, with_joints=True)
        return state_vector(self._cell.tools, self._cell.arms, with_joints)

    def observe(self, frames: dict[str, np.ndarray]) -> Observation:
        """Looks now; frames that are rendered for it are left in `frames`."""
        images = {
            image.name: prepare_image(_frame(self._cell, image.name, frames), image) for image in self._spec.images
        }
        vectors = {vector.name: self._sources[vector.name]() for vector in self._spec.vectors}
        self._history.append((images, vectors))
        while len(self._history) < self._spec.history:
            self._history.append((images, vectors))
        return Observation(
            stamp=self._cell.time,
            images={name: np.stack([past[0][name] for past in self._history]) for name in images},
            vectors={name: np.stack([past[1][name] for past in self._history]) for name in vectors},
        )


def _frame(cell: Cell, camera: str, frames: dict[str, np.ndarray]) -> np.ndarray:
    """The camera's image of this moment, rendered at most once."""
    if camera not in frames:
        frames[camera] = cell.render(camera)
    return frames[camera]
