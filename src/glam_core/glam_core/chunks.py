"""Which latent is due now: chunks of latents on their own time grid, switched at step boundaries.

Step `i` of a chunk observed at `t_o` governs `[t_o + i step_s, t_o + (i + 1) step_s)`. A new chunk takes over where one
of its own steps begins, so latency costs foresight (the steps that have passed are skipped) and never causes a jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ConfigurationError, ObservationError, SpecError, StaleObservationError

TIME_TOLERANCE_S = 1e-6
"""Rounding that is forgiven at a boundary: stamps near 2e9 s are multiples of 2.4e-7 s."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A prediction: one latent per step.

    Attributes:
        latents: `(H, d) float32`, standardised.
        observed_at: Stamp of the observation that it was predicted from, s.
        step_s: Seconds that one latent governs.
    """

    latents: NDArray[np.float32]
    observed_at: float
    step_s: float

    def __post_init__(self) -> None:
        latents = np.array(self.latents, dtype=np.float32)
        if latents.ndim != 2 or 0 in latents.shape:
            raise SpecError(f"a chunk has shape (length, latent size), not {latents.shape}")
        if not self.step_s > 0 or not math.isfinite(self.observed_at):
            raise SpecError(
                f"a chunk needs a positive step and a finite stamp, not {self.step_s} and {self.observed_at}"
            )
        object.__setattr__(self, "latents", latents)

    @property
    def ends_at(self) -> float:
        """When its last step is over, s."""
        return self.observed_at + len(self.latents) * self.step_s

    def index_at(self, now: float) -> int:
        """The step that governs `now`; negative before the first, `>= H` after the last."""
        return math.floor((now - self.observed_at + TIME_TOLERANCE_S) / self.step_s)

    def starts_at(self, index: int) -> float:
        """When step `index` begins, s."""
        return self.observed_at + index * self.step_s


@dataclass(frozen=True, eq=False)
class Due:
    """What is to be executed now.

    Attributes:
        latent: `(d,) float32`, or None when `held`.
        index: Step of the chunk; equal to the chunk's length when `held`.
        observed_at: Stamp of the chunk's observation, s. Together with `index` it identifies the step.
        step_started_at: When the step began, s; when the chunk ran out if `held`.
        held: The chunk has run out: hold the measured pose.
        is_new: The first time that this step (or this hold) is handed out; decode then, and only then.
    """

    latent: NDArray[np.float32] | None
    index: int
    observed_at: float
    step_started_at: float
    held: bool
    is_new: bool

    @property
    def step(self) -> tuple[float, int]:
        """The identity of the step: `(observed_at, index)`."""
        return self.observed_at, self.index


class ChunkScheduler:
    """Hands out the latent that is due, once the clock says so.

    A chunk that arrives while another is executing waits for its own next step boundary; one that arrives while nothing
    is executing is taken over at once. A latent is never repeated beyond its step: when a chunk runs out, `due` says
    `held`. Time never runs backwards for it, not even when `now` does; call `reset` at the start of an episode.

    Args:
        step_s: Seconds that one latent governs.
        latent_size: Where given, chunks of another size are refused.
        blend_steps: For so many steps after a switch, the latents of the old chunk fade out linearly.
    """

    def __init__(self, step_s: float, latent_size: int | None = None, blend_steps: int = 0) -> None:
        if not step_s > 0 or blend_steps < 0 or (latent_size is not None and latent_size < 1):
            raise ConfigurationError(
                "a scheduler needs step_s > 0, latent_size >= 1 and blend_steps >= 0, "
                f"not {step_s}, {latent_size} and {blend_steps}"
            )
        self.step_s = step_s
        self.latent_size = latent_size
        self.blend_steps = blend_steps
        self.reset()

    def reset(self) -> None:
        """Forgets every chunk, as before the first one."""
        self._active: Chunk | None = None
        self._previous: Chunk | None = None
        self._switch_index = 0
        self._waiting: list[tuple[float, Chunk]] = []  # (when it takes over, chunk), in that order
        self._last_step: tuple[float, int] | None = None
        self._last_step_started_at = -math.inf
        self._now = -math.inf

    def add(self, chunk: Chunk, now: float) -> None:
        """Accepts a chunk; it takes over at the next boundary.

        Args:
            chunk: The new prediction.
            now: The current time, s.

        Raises:
            SpecError: Its step or its latent size is another one.
            ObservationError: It is not finite, or was observed in the future.
            StaleObservationError: It is older than a chunk that was accepted before, or all its steps have passed.
        """
        now = self._advance(now)
        self._check(chunk, now)
        if self._active is None or now >= self._active.ends_at - TIME_TOLERANCE_S:
            switch_at = max(now, chunk.observed_at)
        else:
            index = max(0, math.ceil((now - chunk.observed_at - TIME_TOLERANCE_S) / self.step_s))
            # A step that has begun on this very boundary is executed to its end.
            if chunk.starts_at(index) <= self._last_step_started_at + TIME_TOLERANCE_S:
                index += 1
            switch_at = chunk.starts_at(index)
        self._waiting = [item for item in self._waiting if item[0] < switch_at] + [(switch_at, chunk)]

    def due(self, now: float) -> Due | None:
        """The step that governs `now` (s); None before the first chunk's first step."""
        now = self._advance(now)
        ready = [chunk for switch_at, chunk in self._waiting if switch_at <= now + TIME_TOLERANCE_S]
        if ready:
            del self._waiting[: len(ready)]
            self._previous, self._active = self._active, ready[-1]
            self._switch_index = self._active.index_at(now)
        if self._active is None:
            return None
        index = min(self._active.index_at(now), len(self._active.latents))
        started_at = self._active.starts_at(index)
        held = index == len(self._active.latents)
        step = (self._active.observed_at, index)
        is_new = step != self._last_step
        self._last_step, self._last_step_started_at = step, started_at
        latent = None if held else self._latent(index)
        return Due(latent, index, self._active.observed_at, started_at, held, is_new)

    def upcoming(self, now: float) -> NDArray[np.float32]:
        """The latents of the active chunk from the current step on, `(n, d)`; n = 0 where there are none."""
        if self._active is None:
            return np.zeros((0, self.latent_size or 0), dtype=np.float32)
        return self._active.latents[max(0, self._active.index_at(max(now, self._now))) :]

    def _advance(self, now: float) -> float:
        if not math.isfinite(now):
            raise ObservationError(f"time must be finite, not {now}")
        self._now = max(self._now, now)
        return self._now

    def _latent(self, index: int) -> NDArray[np.float32]:
        assert self._active is not None
        latent = self._active.latents[index]
        since_switch = index - self._switch_index
        if self._previous is None or since_switch >= self.blend_steps:
            return latent
        middle = self._active.starts_at(index) + self.step_s / 2.0
        old_index = self._previous.index_at(middle)
        if not 0 <= old_index < len(self._previous.latents):
            return latent
        weight = np.float32((since_switch + 1) / (self.blend_steps + 1))
        return weight * latent + (1 - weight) * self._previous.latents[old_index]

    def _check(self, chunk: Chunk, now: float) -> None:
        if not math.isclose(chunk.step_s, self.step_s, rel_tol=1e-6):
            raise SpecError(f"a chunk with steps of {chunk.step_s} s came to a scheduler with steps of {self.step_s} s")
        size = chunk.latents.shape[1]
        if self.latent_size is not None and size != self.latent_size:
            raise SpecError(
                f"latents of size {size} came where size {self.latent_size} is expected; are both of one model?"
            )
        if not np.all(np.isfinite(chunk.latents)):
            step = int(np.argmax(~np.isfinite(chunk.latents).all(axis=1)))
            raise ObservationError(f"the chunk observed at {chunk.observed_at:.3f} s is not finite from step {step} on")
        known = [chunk for _, chunk in self._waiting] + ([self._active] if self._active else [])
        newest = max((chunk.observed_at for chunk in known), default=-math.inf)
        if chunk.observed_at < newest:
            raise StaleObservationError(
                f"the chunk observed at {chunk.observed_at:.3f} s is older than the one in use ({newest:.3f} s)"
            )
        if now >= chunk.ends_at - TIME_TOLERANCE_S:
            raise StaleObservationError(
                f"the chunk observed at {chunk.observed_at:.3f} s ended {now - chunk.ends_at:.3f} s ago; "
                "the policy is too slow for its chunk length"
            )
        if chunk.observed_at > now + self.step_s:
            raise ObservationError(
                f"the chunk was observed {chunk.observed_at - now:.3f} s in the future; are both clocks the same?"
            )
