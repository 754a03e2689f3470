"""Index arithmetic for windows over flat episode arrays; no window crosses the end of an episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glam_core.errors import DataError

LEAST_TARGET_SHARE = 1 / 8
"""Of a policy's batches, where there are auxiliary data."""


def target_share(target: int, others: int) -> float:
    """Share of a policy's batches that comes from the target robot: all frames count alike, but those of the target an
    eighth at least. With half of each batch a policy learns a few target demonstrations by heart.

    Args:
        target: frames of the target robot.
        others: frames of all auxiliary sources.

    Returns:
        1 where there are no others.
    """
    return max(LEAST_TARGET_SHARE, target / (target + others))


@dataclass(frozen=True)
class PolicyWindows:
    """Rows of M training windows of a chunk policy.

    Attributes:
        observations: (M, history) int64, oldest first; before the start of the episode its first row repeats.
        targets: (M, horizon) int64, row of each step of the chunk; past the end the last legal row repeats.
        mask: (M, horizon) bool, False where `targets` is padding.
    """

    observations: np.ndarray
    targets: np.ndarray
    mask: np.ndarray

    def __len__(self) -> int:
        return len(self.observations)


def transitions(episode_ends: np.ndarray, k: int) -> np.ndarray:
    """All pairs of rows (t, t + k) inside one episode.

    Args:
        episode_ends: (E,) int64, exclusive ends.
        k: steps that a transition spans, at least 1.

    Returns:
        (M, 2) int64; episodes of k rows or fewer have none.
    """
    _require_positive("k", k)
    _, ends = _bounds(episode_ends)
    first = np.arange(_total(ends), dtype=np.int64)
    first = first[first + k < np.repeat(ends, np.diff(ends, prepend=0))]
    return np.stack([first, first + k], axis=1)


def policy_windows(episode_ends: np.ndarray, history: int, horizon: int, step: int = 1, span: int = 0) -> PolicyWindows:
    """Observation histories and the rows of the chunks that follow them.

    Args:
        episode_ends: (E,) int64, exclusive ends.
        history: observations that the policy sees.
        horizon: steps of a chunk.
        step: rows from one step of the chunk to the next; k for latents that span k rows.
        span: rows after its own that a target needs, so target row t is legal while t + span is in the episode:
            0 for actions, k for latents of the transition (t, t + k).

    Returns:
        One window for each row that is itself a legal target.
    """
    for name, value in (("history", history), ("horizon", horizon), ("step", step)):
        _require_positive(name, value)
    if span < 0:
        raise DataError(f"span must not be negative, got {span}")
    starts, ends = _bounds(episode_ends)
    lengths = ends - starts
    current = np.arange(_total(ends), dtype=np.int64)
    row_starts, row_ends = np.repeat(starts, lengths), np.repeat(ends, lengths)
    legal = current + span < row_ends
    current, row_starts, last = current[legal], row_starts[legal], row_ends[legal] - 1 - span
    observations = np.maximum(current[:, None] + np.arange(1 - history, 1), row_starts[:, None])
    targets = current[:, None] + step * np.arange(horizon)
    return PolicyWindows(observations, np.minimum(targets, last[:, None]), targets <= last[:, None])


def select_episodes(episode_ends: np.ndarray, rows: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """Which of `rows` (M,) lie in one of `episodes` (indices): (M,) bool."""
    _, ends = _bounds(episode_ends)
    return np.isin(np.searchsorted(ends, rows, side="right"), episodes)


def split_episodes(count: int, held_out_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Episode indices for training and for held-out measurements, both sorted; at least one of each.

    Raises:
        DataError: fewer than two episodes, or a fraction outside (0, 1).
    """
    if count < 2:
        raise DataError(f"{count} episode(s) cannot be split into training and held-out episodes")
    if not 0.0 < held_out_fraction < 1.0:
        raise DataError(f"held_out_fraction must lie in (0, 1), got {held_out_fraction}")
    held_out = min(max(1, round(count * held_out_fraction)), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _bounds(episode_ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends (E,) of the episodes."""
    ends = np.asarray(episode_ends, np.int64)
    if ends.ndim != 1 or (np.diff(ends, prepend=0) <= 0).any():
        raise DataError(f"episode ends must be positive and rise, got {ends[:10]}")
    return np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)], ends


def _total(ends: np.ndarray) -> int:
    return int(ends[-1]) if len(ends) else 0


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise DataError(f"{name} must be at least 1, got {value}")
