"""Driver, simulated arm and commander as processes: whatever fails, the arm is told to rest, then to stop."""

from __future__ import annotations

import math
from contextlib import closing

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from kinova_driver.bench_watchdog import STOP_S, ZERO_S, WatchdogConfig, measure
from kinova_driver.relay import Passed, Relay, Trial

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


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (Passed(moving=[0.98, 1.01], resting=[0.5, 1.05], stops=[0.6, 1.2]), (0.05, 0.2)),
        (Passed(moving=[0.98], stops=[1.2]), (0.2, 0.2)),
        (Passed(moving=[0.98]), (math.inf, math.inf)),
        (Passed(moving=[0.98, 1.4], stops=[1.45]), (math.inf, math.inf)),
        (Passed(moving=[0.98], stops=[0.99]), None),
        (Passed(moving=[0.9], resting=[0.92], stops=[1.07]), None),
    ],
    ids=["rests then stops", "stops", "never told to rest", "moved on", "was stopped before", "rested before"],
)
def test_judges_what_passed(passed: Passed, expected: tuple[float, float] | None) -> None:
    with closing(Relay(("127.0.0.1", 9))) as relay:
        relay.passed = passed
        result = relay.judge(1.0, enough_s=0.6)
    assert result == (None if expected is None else Trial(*(pytest.approx(each) for each in expected)))
