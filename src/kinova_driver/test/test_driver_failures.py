"""Driver, simulated arm and commander as processes: whatever fails, the arm is told to rest, then to stop."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from kinova_driver.bench_watchdog import STOP_S, ZERO_S, WatchdogConfig, measure

pytestmark = [pytest.mark.ros, pytest.mark.sim]
SLACK_S = 0.25
"""What a busy computer may add; the bench is what measures."""


@pytest.mark.timeout(180)
def test_every_failure_stops_the_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    results = measure(WatchdogConfig(trials=1))
    assert len(results) == 7
    for failure, trials in results.items():
        for trial in trials:
            assert trial.zero_s < ZERO_S + SLACK_S, failure
            assert trial.stop_s < STOP_S + SLACK_S, failure
