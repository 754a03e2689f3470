"""The watchdog: hold at 100 ms, stop at 250 ms, inhibited until enabled; its thread acts whatever else is blocked."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glam_core.errors import SafetyError
from kinova_driver.watchdog import Verdict, Watchdog, WatchdogLimits, WatchdogThread

LIMITS = WatchdogLimits(hold_s=0.1, stop_s=0.25)
AWAIT_S = 20.0


def enabled() -> Watchdog:
    watchdog = Watchdog(LIMITS)
    watchdog.enable()
    return watchdog


def test_holds_then_stops_then_stays_stopped() -> None:
    watchdog = enabled()
    assert watchdog.verdict(0.0) is Verdict.IDLE
    watchdog.feed(1.0)
    assert watchdog.verdict(1.099) is Verdict.FRESH
    assert watchdog.verdict(1.1) is Verdict.HOLD
    assert watchdog.verdict(1.249) is Verdict.HOLD
    assert watchdog.verdict(1.25) is Verdict.STOP
    watchdog.feed(1.26)
    assert watchdog.verdict(1.26) is Verdict.STOP
    assert watchdog.inhibited
    watchdog.enable()
    assert watchdog.verdict(5.0) is Verdict.IDLE


def test_starts_inhibited_and_ignores_commands() -> None:
    watchdog = Watchdog(LIMITS)
    watchdog.feed(0.0)
    assert watchdog.verdict(0.0) is Verdict.STOP


def test_a_command_after_a_hold_is_fresh_and_one_after_an_unseen_stop_is_not() -> None:
    watchdog = enabled()
    watchdog.feed(0.0)
    watchdog.feed(0.2)
    assert watchdog.verdict(0.2) is Verdict.FRESH
    watchdog.feed(0.6)  # nobody looked in between: the stop was due all the same
    assert watchdog.verdict(0.6) is Verdict.STOP


def test_rest_ends_the_countdown() -> None:
    watchdog = enabled()
    watchdog.feed(0.0)
    watchdog.rest()
    assert watchdog.verdict(100.0) is Verdict.IDLE


@given(st.lists(st.floats(0.0, 0.4), min_size=1, max_size=20))
def test_never_fresh_beyond_the_limits(gaps: list[float]) -> None:
    watchdog, fed_at = enabled(), 0.0
    watchdog.feed(fed_at)
    for gap in gaps:
        now = fed_at + gap
        age = now - fed_at  # as precise as a clock is
        verdict = watchdog.verdict(now)
        assert (verdict is Verdict.STOP) == (age >= LIMITS.stop_s or watchdog.inhibited)
        if age >= LIMITS.hold_s:
            assert verdict in (Verdict.HOLD, Verdict.STOP)
        watchdog.feed(now)
        fed_at = now


def test_a_command_to_hold_is_as_good_as_silence_that_has_lasted() -> None:
    watchdog = enabled()
    watchdog.hold(0.0)
    assert watchdog.verdict(1.0) is Verdict.IDLE, "there was nothing to hold from"
    watchdog.feed(1.0)
    for now in (1.01, 1.05):  # repeating it puts the stop off no further
        watchdog.hold(now)
        assert watchdog.verdict(now + 1e-6) is Verdict.HOLD
    assert watchdog.verdict(1.01 + LIMITS.stop_s - LIMITS.hold_s - 0.001) is Verdict.HOLD
    assert watchdog.verdict(1.01 + LIMITS.stop_s - LIMITS.hold_s + 0.001) is Verdict.STOP


@pytest.mark.parametrize(("hold_s", "stop_s"), [(0.3, 0.2), (-0.1, 0.2), (float("nan"), 0.2), (0.1, float("inf"))])
def test_unusable_limits_are_rejected(hold_s: float, stop_s: float) -> None:
    with pytest.raises(SafetyError, match="hold_s <= stop_s"):
        WatchdogLimits(hold_s, stop_s)


class Clock:
    """Time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_thread_holds_and_stops_on_time() -> None:
    clock, watchdog = Clock(), enabled()
    held, stopped = threading.Event(), threading.Event()
    thread = WatchdogThread(watchdog, held.set, stopped.set, period_s=0.001, clock=clock)
    thread.start()
    try:
        watchdog.feed(0.0)
        clock.now = 0.099
        assert not held.wait(0.05)
        clock.now = 0.1
        assert held.wait(AWAIT_S)
        assert not stopped.is_set()
        clock.now = 0.25
        assert stopped.wait(AWAIT_S)
    finally:
        thread.close()


def test_thread_tries_again_when_the_arm_does_not_take_the_stop() -> None:
    clock, watchdog = Clock(), enabled()
    stopped = threading.Event()
    attempts = []

    def stop() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("lost")
        stopped.set()

    thread = WatchdogThread(watchdog, lambda: None, stop, period_s=0.001, clock=clock)
    thread.start()
    try:
        watchdog.feed(0.0)
        clock.now = 1.0
        assert stopped.wait(AWAIT_S)
    finally:
        thread.close()
    assert len(attempts) == 3
