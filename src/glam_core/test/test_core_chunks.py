"""The chunk scheduler: which latent is due when, through late chunks, rounding and exhaustion."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glam_core.chunks import Chunk, ChunkScheduler
from glam_core.errors import ConfigurationError, ObservationError, SpecError, StaleObservationError

STEP = 0.1


def chunk(observed_at, name=0.0, length=8, step_s=STEP, size=2):
    """Latents are (name, index): they say which chunk and which step they are."""
    latents = np.stack([np.full(length, name), np.arange(length)] + [np.zeros(length)] * (size - 2), axis=1)
    return Chunk(latents, observed_at, step_s)


def test_nothing_is_due_before_the_first_chunk():
    assert ChunkScheduler(STEP).due(0.0) is None


def test_steps_come_in_order_and_each_is_new_once():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(5.0), 5.0)
    dues = [scheduler.due(5.0 + tick * 0.025) for tick in range(32)]
    assert [due.index for due in dues] == [tick // 4 for tick in range(32)]
    assert [due.is_new for due in dues] == [tick % 4 == 0 for tick in range(32)]
    assert dues[4].step == (5.0, 1)
    assert dues[5].step_started_at == pytest.approx(5.1)
    np.testing.assert_array_equal(dues[4].latent, [0, 1])


def test_a_first_chunk_that_is_late_skips_what_has_passed():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0), 0.25)
    due = scheduler.due(0.25)
    assert due.index == 2
    assert due.step_started_at == pytest.approx(0.2)


def test_a_late_chunk_takes_over_at_the_next_boundary():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0, name=1), 0.0)
    assert scheduler.due(0.43).latent[0] == 1
    scheduler.add(chunk(0.3, name=2), 0.45)
    assert scheduler.due(0.475).latent[0] == 1
    assert not scheduler.due(0.475).is_new
    due = scheduler.due(0.5)
    np.testing.assert_array_equal(due.latent, [2, 2])  # steps 0 and 1 have passed
    assert due.is_new


def test_a_step_that_has_begun_is_not_executed_again_by_the_new_chunk():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0, name=1), 0.0)
    assert scheduler.due(0.2).is_new
    scheduler.add(chunk(0.2, name=2), 0.2)
    assert scheduler.due(0.2).latent[0] == 1
    np.testing.assert_array_equal(scheduler.due(0.3).latent, [2, 1])


def test_a_chunk_that_comes_on_the_boundary_before_the_step_is_asked_for_takes_over_at_once():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0, name=1), 0.0)
    scheduler.due(0.1)
    scheduler.add(chunk(0.2, name=2), 0.2)
    np.testing.assert_array_equal(scheduler.due(0.2).latent, [2, 0])


def test_a_chunk_off_the_grid_takes_over_where_its_own_step_begins():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0, name=1), 0.0)
    scheduler.due(0.3)
    scheduler.add(chunk(0.26, name=2), 0.31)
    assert scheduler.due(0.35).latent[0] == 1
    due = scheduler.due(0.36)
    np.testing.assert_array_equal(due.latent, [2, 1])
    assert due.step_started_at == pytest.approx(0.36)


def test_frequent_chunks_do_not_keep_each_other_from_taking_over():
    scheduler = ChunkScheduler(STEP)
    seen = set()
    for tick in range(40):
        now = tick * 0.025
        if tick % 2 == 1:  # every 50 ms, 25 ms late
            scheduler.add(chunk(now - 0.025, name=tick), now)
        due = scheduler.due(now)
        if due:
            seen.add(float(due.latent[0]))
    assert len(seen) > 15


@pytest.mark.parametrize("epoch", [0.0, 12.3, 1.7e9 + 0.1234567])
@pytest.mark.parametrize("error", [-1e-9, 0.0, 1e-9])
def test_rounding_at_boundaries_does_not_matter(epoch, error):
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(epoch, length=50), epoch)
    for index in range(50):
        due = scheduler.due(epoch + index * STEP + error)
        assert due.index == index
        assert due.is_new


def test_an_exhausted_chunk_is_held_and_never_repeated():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0, length=2), 0.0)
    assert not scheduler.due(0.199).held
    for now, is_new in ((0.2, True), (0.3, False), (99.0, False)):
        due = scheduler.due(now)
        assert due.held
        assert due.latent is None
        assert due.is_new == is_new
        assert due.index == 2
        assert due.step_started_at == pytest.approx(0.2)


def test_a_chunk_ends_a_hold_at_once():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0, length=2), 0.0)
    assert scheduler.due(0.25).held
    scheduler.add(chunk(0.23, name=2), 0.27)
    due = scheduler.due(0.27)
    assert not due.held
    np.testing.assert_array_equal(due.latent, [2, 0])


def test_reset_forgets_everything():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(100.0), 100.0)
    scheduler.due(100.0)
    scheduler.reset()
    assert scheduler.due(0.0) is None
    scheduler.add(chunk(0.0), 0.0)
    assert scheduler.due(0.0).is_new


def test_time_does_not_run_backwards():
    scheduler = ChunkScheduler(STEP)
    scheduler.add(chunk(0.0), 0.0)
    assert scheduler.due(0.31).index == 3
    due = scheduler.due(0.1)
    assert due.index == 3
    assert not due.is_new


def test_blending_fades_from_the_old_chunk_to_the_new_one():
    scheduler = ChunkScheduler(STEP, blend_steps=3)
    scheduler.add(chunk(0.0, name=0), 0.0)
    assert scheduler.due(0.0).latent[0] == 0
    scheduler.add(chunk(0.1, name=4), 0.1)
    names = [float(scheduler.due(0.1 + i * STEP).latent[0]) for i in range(5)]
    assert names == pytest.approx([1, 2, 3, 4, 4])


def test_blending_stops_where_the_old_chunk_ends():
    scheduler = ChunkScheduler(STEP, blend_steps=3)
    scheduler.add(chunk(0.0, name=0, length=2), 0.0)
    scheduler.due(0.0)
    scheduler.add(chunk(0.1, name=4), 0.1)
    assert [float(scheduler.due(0.1 + i * STEP).latent[0]) for i in range(3)] == pytest.approx([1, 4, 4])


def test_upcoming_latents():
    scheduler = ChunkScheduler(STEP)
    assert len(scheduler.upcoming(0.0)) == 0
    scheduler.add(chunk(0.0), 0.0)
    scheduler.due(0.3)
    assert scheduler.upcoming(0.35)[:, 1].tolist() == [3, 4, 5, 6, 7]
    assert len(scheduler.upcoming(9.0)) == 0


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 0.35)), min_size=1, max_size=12),
    st.floats(0, 0.025),
    st.integers(0, 3),
)
def test_each_step_is_new_once_and_governs_its_own_interval(gaps, phase, blend):
    """Chunks with any period and latency, asked at 40 Hz."""
    arrivals = []
    observed_at = 0.0
    for name, (gap, latency) in enumerate(gaps):
        observed_at += gap
        arrivals.append((observed_at + latency, chunk(observed_at, name=name)))
    arrivals.sort(key=lambda arrival: arrival[0])
    scheduler = ChunkScheduler(STEP, blend_steps=blend)
    new_steps, last_observed = [], -math.inf
    for tick in range(60):
        now = phase + tick * 0.025
        while arrivals and arrivals[0][0] <= now:
            try:
                scheduler.add(arrivals.pop(0)[1], now)
            except StaleObservationError:
                continue  # overtaken by a later observation
        due = scheduler.due(now)
        if due is None:
            continue
        assert due.observed_at >= last_observed
        last_observed = due.observed_at
        if due.is_new:
            new_steps.append(due.step)
        if not due.held:
            assert due.step_started_at - 1e-5 <= now < due.step_started_at + STEP + 1e-5
            assert due.latent[1] <= due.index + 8
    assert len(new_steps) == len(set(new_steps))


def test_bad_chunks_are_refused():
    scheduler = ChunkScheduler(STEP, latent_size=2)
    scheduler.add(chunk(1.0), 1.0)
    bad = np.zeros((8, 2))
    bad[3, 1] = np.nan
    with pytest.raises(ObservationError, match="not finite from step 3"):
        scheduler.add(Chunk(bad, 1.1, STEP), 1.1)
    with pytest.raises(SpecError, match="size 3 came where size 2"):
        scheduler.add(chunk(1.1, size=3), 1.1)
    with pytest.raises(SpecError, match=r"steps of 0.2 s came to a scheduler with steps of 0.1 s"):
        scheduler.add(chunk(1.1, step_s=0.2), 1.1)
    with pytest.raises(StaleObservationError, match="older than the one in use"):
        scheduler.add(chunk(0.9), 1.1)
    with pytest.raises(StaleObservationError, match=r"ended 0\.100 s ago"):
        scheduler.add(chunk(1.1, length=2), 1.4)
    with pytest.raises(ObservationError, match="in the future"):
        scheduler.add(chunk(9.0), 1.1)
    with pytest.raises(ObservationError, match="finite"):
        scheduler.due(math.nan)
    assert scheduler.due(1.2).observed_at == 1.0  # none of them was taken


def test_malformed_chunks_and_schedulers_are_refused():
    with pytest.raises(SpecError, match=r"not \(4,\)"):
        Chunk(np.zeros(4), 0.0, STEP)
    with pytest.raises(SpecError, match=r"not \(0, 4\)"):
        Chunk(np.zeros((0, 4)), 0.0, STEP)
    with pytest.raises(SpecError, match="positive step"):
        Chunk(np.zeros((4, 4)), 0.0, 0.0)
    with pytest.raises(SpecError, match="finite stamp"):
        Chunk(np.zeros((4, 4)), math.inf, STEP)
    with pytest.raises(ConfigurationError, match="step_s > 0"):
        ChunkScheduler(0.0)
    with pytest.raises(ConfigurationError, match="blend_steps >= 0"):
        ChunkScheduler(STEP, blend_steps=-1)
