"""How often an arm is heard, and what that costs: `python -m kinova_driver.bench_feedback`.

A `kinova-sim` of its own gives measurements over UDP to the connection that the driver uses; nothing else runs in this
process, so its processor time is what feedback costs.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import tyro

from kinova_driver.kortex_arm import KortexArm
from kinova_driver.simulator.process import simulator

_SETTLE_S = 2.0


@dataclass(frozen=True)
class FeedbackConfig:
    """What is asked for."""

    rates_hz: tuple[float, ...] = (200.0, 520.0, 800.0)
    """Measurements per second that are asked for, one after the other."""
    seconds: float = 20.0
    """How long each rate is measured."""


@dataclass(frozen=True)
class FeedbackResult:
    """What was measured.

    Attributes:
        asked_hz: The rate that was asked for.
        held_hz: Measurements per second that came.
        lost: Share of the requests that were not answered in time.
        core: Share of one processor core that this process took.
        round_trip_ms: Median time from asking for a measurement to having it.
    """

    asked_hz: float
    held_hz: float
    lost: float
    core: float
    round_trip_ms: float


def measure(rate_hz: float, seconds: float) -> FeedbackResult:
    """Listens to a simulated arm."""
    with simulator(feedback_hz=rate_hz) as simulated:
        arm = KortexArm(simulated.arm)
        arm.connect()
        try:
            time.sleep(_SETTLE_S)
            before, started, spent = arm.statistics, time.monotonic(), time.process_time()
            time.sleep(seconds)
            after, took, spent = arm.statistics, time.monotonic() - started, time.process_time() - spent
            round_trip_s = arm.round_trip_s(200)
        finally:
            arm.disconnect()
    received, lost = after.received - before.received, after.lost - before.lost
    return FeedbackResult(rate_hz, received / took, lost / max(received + lost, 1), spent / took, 1e3 * round_trip_s)


def main() -> int:
    """The command line."""
    config = tyro.cli(FeedbackConfig, description=__doc__)
    print(f"{'asked, Hz':>10} {'held, Hz':>10} {'lost':>8} {'of one core':>12} {'round trip, ms':>15}")
    for rate_hz in config.rates_hz:
        result = measure(rate_hz, config.seconds)
        print(
            f"{result.asked_hz:10.0f} {result.held_hz:10.1f} {result.lost:8.2%} {result.core:12.1%} "
            f"{result.round_trip_ms:15.2f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
