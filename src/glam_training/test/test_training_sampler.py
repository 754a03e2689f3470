"""Windows never cross the end of an episode, and none is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glam_core.errors import DataError
from glam_training.data.sampler import policy_windows, select_episodes, split_episodes, target_share, transitions


def test_all_frames_count_alike_but_the_target_is_never_drowned():
    assert target_share(700, 0) == 1.0
    assert target_share(700, 2100) == 0.25
    assert target_share(700, 28000) == 0.125


lengths_of_episodes = st.lists(st.integers(1, 12), max_size=6)
counts = st.integers(1, 5)


def episode_of(lengths):
    return np.repeat(np.arange(len(lengths)), lengths)


@given(lengths_of_episodes, counts)
def test_transitions(lengths, k):
    pairs = transitions(np.cumsum(lengths, dtype=np.int64), k)
    episodes = episode_of(lengths)
    assert len(pairs) == sum(max(0, length - k) for length in lengths)
    assert (pairs[:, 1] - pairs[:, 0] == k).all()
    assert (episodes[pairs[:, 0]] == episodes[pairs[:, 1]]).all()


@given(lengths_of_episodes, counts, counts, counts, st.integers(0, 3))
def test_policy_windows(lengths, history, horizon, step, span):
    ends = np.cumsum(lengths, dtype=np.int64)
    windows = policy_windows(ends, history, horizon, step, span)
    episodes = episode_of(lengths)
    assert len(windows) == sum(max(0, length - span) for length in lengths)
    current = windows.observations[:, -1]
    starts = np.concatenate([[0], ends])[episodes[current]].astype(int)
    for row, start, observed, targets, mask in zip(
        current, starts, windows.observations, windows.targets, windows.mask, strict=True
    ):
        end = ends[episodes[row]]
        assert observed.tolist() == [max(start, row - age) for age in reversed(range(history))]
        wanted = [row + step * i for i in range(horizon)]
        assert mask.tolist() == [target + span < end for target in wanted]
        assert targets.tolist() == [min(target, end - 1 - span) for target in wanted]
    assert windows.mask[:, 0].all()


def test_select_and_split():
    ends = np.array([3, 5, 9])
    assert select_episodes(ends, np.arange(9), np.array([1])).nonzero()[0].tolist() == [3, 4]
    training, held_out = split_episodes(10, 0.2, seed=3)
    assert len(held_out) == 2
    assert sorted([*training, *held_out]) == list(range(10))
    assert split_episodes(10, 0.2, seed=3)[1].tolist() == held_out.tolist()


def test_bad_input():
    with pytest.raises(DataError, match="positive and rise"):
        transitions(np.array([3, 3]), 1)
    with pytest.raises(DataError, match="k must be at least 1"):
        transitions(np.array([3]), 0)
    with pytest.raises(DataError, match="cannot be split"):
        split_episodes(1, 0.5, 0)
    with pytest.raises(DataError, match="held_out_fraction"):
        split_episodes(5, 1.5, 0)
