"""Intervals and summaries."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glam_core.errors import DataError
from glam_core.stats import summarize, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(successes, n, low, high):
    """Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3."""
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_intervals_hold_the_rate_and_are_symmetric(counts, confidence):
    successes, n = counts
    low, high = wilson_interval(successes, n, confidence)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    other_low, other_high = wilson_interval(n - successes, n, confidence)
    assert (1 - other_high, 1 - other_low) == pytest.approx((low, high), abs=1e-9)


def test_more_confidence_is_a_wider_interval():
    narrow, wide = wilson_interval(7, 10, 0.8), wilson_interval(7, 10, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(("successes", "n", "confidence"), [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_impossible_counts_are_errors(successes, n, confidence):
    with pytest.raises(DataError, match=r"must|needs"):
        wilson_interval(successes, n, confidence)


def test_summary():
    summary = summarize(range(101))
    assert (summary.n, summary.median, summary.p99, summary.max) == (101, 50.0, 99.0, 100.0)
    for bad in ([], [1.0, math.nan]):
        with pytest.raises(DataError, match="at least one value"):
            summarize(bad)
