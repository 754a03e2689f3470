"""What travels between the nodes, as plain data. Stamps are seconds of the node clock, poses `T_base_tool` (4, 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glam_core.tool import ToolCommand, ToolState


@dataclass(frozen=True, eq=False)
class MeasuredTool:
    """The tool of one arm, measured at `stamp`."""

    arm: str
    stamp: float
    tool: ToolState


@dataclass(frozen=True, eq=False)
class PlannedChunk:
    """A plan: latents `(H, d) float32`; latent `i` governs `step_s` seconds from `observed_at + i step_s` on."""

    model: str
    sequence: int
    latents: NDArray[np.float32]
    observed_at: float
    received_at: float
    step_s: float
    inference_s: float


@dataclass(frozen=True, eq=False)
class IssuedCommand:
    """A command for one arm, to be carried out by `due_at`; the driver discards it after `expires_at`."""

    arm: str
    sequence: int
    command: ToolCommand
    issued_at: float
    observed_at: float
    due_at: float
    expires_at: float
    hold: bool
    decode_s: float


@dataclass(frozen=True, eq=False)
class SentCommand:
    """What the driver really sent to one arm at `sent_at`."""

    arm: str
    sequence: int
    command: ToolCommand
    sent_at: float
    issued_at: float
    observed_at: float
    hold: bool
    clamps: tuple[str, ...]


@dataclass(frozen=True)
class EpisodeProgress:
    """How the running episode of the simulated cell stands at `stamp`."""

    stamp: float
    episode: int
    task: str
    seed: int
    elapsed_s: float
    success: bool
    timed_out: bool

    @property
    def began_at(self) -> float:
        """When the episode began, s."""
        return self.stamp - self.elapsed_s
