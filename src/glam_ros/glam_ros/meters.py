"""Rates, ages and latencies of a stage, and the verdict on its health. No ROS; time is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

WINDOW_SIZE = 512
RATE_WINDOW_S = 5.0


class Level(IntEnum):
    """How a stage is; the numbers are those of diagnostic_msgs."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Health:
    """One stage's verdict: level, one sentence, and named values."""

    name: str
    level: Level
    message: str
    values: dict[str, str] = field(default_factory=dict)


class RateMeter:
    """The rate of a stream over the last seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=WINDOW_SIZE)

    def tick(self, now: float) -> None:
        """Counts one event at `now` (s)."""
        self._times.append(now)

    def rate_hz(self, now: float) -> float:
        """Events per second over the last seconds, 0 where there were fewer than two."""
        recent = [time for time in self._times if time >= now - RATE_WINDOW_S]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], now - recent[0] - 2.0 * _gap(recent))

    def age_s(self, now: float) -> float:
        """Seconds since the last event, infinite before the first."""
        return now - self._times[-1] if self._times else float("inf")


class LatencyMeter:
    """Median and 99th percentile of the last latencies."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=WINDOW_SIZE)

    def add(self, seconds: float) -> None:
        """Counts one latency (s)."""
        self._seconds.append(seconds)

    def summary_ms(self) -> str:
        """`median / p99` in milliseconds, empty before the first latency."""
        if not self._seconds:
            return ""
        median, p99 = np.percentile(np.asarray(self._seconds), (50.0, 99.0)) * 1000.0
        return f"{median:.1f} / {p99:.1f}"


def _gap(times: list[float]) -> float:
    """Mean time between events; a stream that has stopped for longer than two gaps loses rate."""
    return (times[-1] - times[0]) / (len(times) - 1)
