"""Honest numbers: intervals for success rates, summaries of latencies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from glam_core.errors import DataError


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a success rate.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927), 209-212:

        centre = (p + z^2 / 2n) / (1 + z^2 / n)
        half   = z / (1 + z^2 / n) * sqrt(p (1 - p) / n + z^2 / 4n^2)

    Args:
        successes: Successful trials.
        n: Trials, at least one.
        confidence: Two-sided level, in (0, 1).

    Returns:
        `(low, high)`, in [0, 1].
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"an interval needs n >= 1 and 0 <= successes <= n, not {successes} of {n}")
    if not 0.0 < confidence < 1.0:
        raise DataError(f"confidence must lie between 0 and 1, not {confidence}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    p = successes / n
    scale = 1.0 + z**2 / n
    centre = (p + z**2 / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # Rounding must not keep 0 of n from starting at 0, nor n of n from ending at 1.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class Summary:
    """What a set of latencies looks like, in the unit of the values."""

    n: int
    median: float
    p99: float
    max: float


def summarize(values: ArrayLike) -> Summary:
    """Median, 99th percentile and maximum of at least one finite value."""
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise DataError(f"a summary needs at least one value, all of them finite; got {array.size}")
    median, p99 = np.percentile(array, [50, 99])
    return Summary(array.size, float(median), float(p99), float(array.max()))
