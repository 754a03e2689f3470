"""Rates, latencies, and the alarms that the monitor raises."""

from __future__ import annotations

import numpy as np
import pytest

from glam_ros.meters import Health, LatencyMeter, Level, RateMeter
from glam_ros.monitor import Watch


def test_the_rate_of_an_even_stream() -> None:
    meter = RateMeter()
    for time in np.arange(0.0, 3.0, 0.025):
        meter.tick(float(time))
    assert meter.rate_hz(2.98) == pytest.approx(40.0, rel=0.01)
    assert meter.age_s(3.0) == pytest.approx(0.025)


def test_the_rate_of_a_stream_that_stopped_falls() -> None:
    meter = RateMeter()
    for time in np.arange(0.0, 1.0, 0.1):
        meter.tick(float(time))
    assert meter.rate_hz(3.0) < 5.0
    assert meter.rate_hz(10.0) == 0.0


def test_there_is_no_rate_before_the_second_event() -> None:
    meter = RateMeter()
    assert meter.rate_hz(0.0) == 0.0
    assert meter.age_s(0.0) == float("inf")
    meter.tick(0.0)
    assert meter.rate_hz(1.0) == 0.0


def test_median_and_p99_of_latencies() -> None:
    meter = LatencyMeter()
    assert meter.summary_ms() == ""
    for milliseconds in range(1, 101):
        meter.add(milliseconds / 1000.0)
    assert meter.summary_ms() == "50.5 / 99.0"


def test_an_alarm_is_raised_once_and_ends_once() -> None:
    watch = Watch(silence_s=3.0)
    watch.hear(Health("policy", Level.ERROR, "camera 'front' is 0.8 s old"), 0.0)
    assert watch.look(0.0) == ["policy: camera 'front' is 0.8 s old"]
    assert watch.look(1.0) == []
    watch.hear(Health("policy", Level.OK, "plans", {"rate_hz": "2.5"}), 1.5)
    assert watch.look(2.0) == ["policy: well again"]
    assert watch.line() == "policy ok 2.5 Hz"


def test_a_stage_that_falls_silent_raises_one_alarm() -> None:
    watch = Watch(silence_s=3.0)
    watch.hear(Health("decoder", Level.OK, "executes"), 0.0)
    assert watch.look(2.0) == []
    assert watch.look(4.0) == ["decoder: silent for more than 3 s"]
    assert watch.look(9.0) == []
    assert "decoder ALARM" in watch.line()
