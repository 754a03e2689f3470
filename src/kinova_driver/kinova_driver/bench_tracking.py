"""How closely a circle is tracked over the wire: `python -m kinova_driver.bench_tracking`.

A `kinova-sim` of its own is started, and driven through everything that a command passes in the driver: the driver's
decisions, the safety filter, the way of the tool, the joint limiter, the Kortex client. A command says where the tool
is to be one command step later, so the error of a measurement is its distance from the point that is due.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from glam_core.errors import GlamError
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.limits import SafetyLimits
from glam_core.pose import tool_down
from glam_core.safety import SafetyFilter
from glam_core.tool import ToolCommand
from kinova_driver.actuation import JointActuation
from kinova_driver.driver import Driver, DriverLimits, Mode, Request
from kinova_driver.kortex_arm import KortexArm
from kinova_driver.simulator.process import simulator
from kinova_driver.watchdog import Watchdog, WatchdogLimits, WatchdogThread

LIMITS = SafetyLimits(workspace_min=(0.2, -0.35, 0.005), workspace_max=(0.75, 0.35, 0.5))
CENTRE = (0.45, 0.0, 0.2)
_PERIOD_S = 0.025
_APPROACH_S = 3.0


@dataclass(frozen=True)
class TrackingConfig:
    """The circle, and how it is driven."""

    speed_m_s: float = 0.2
    """Of the tool along the circle."""
    radius_m: float = 0.1
    """Of the circle, which lies flat around the middle of the work area."""
    seconds: float = 15.0
    """How long it is measured, from a second after its begin."""
    command_hz: float = 40.0
    """How often a new point is commanded."""
    stream: Literal["joint_speeds", "twist"] = "joint_speeds"
    """What the arm is sent."""
    lead_s: float = 0.0
    """Time from a command to the arm's motion that the feed-forward makes up for."""


@dataclass(frozen=True)
class TrackingResult:
    """What was measured.

    Attributes:
        rms_mm: Distance from the point that was due, root mean square.
        worst_mm: The same, at worst.
        radius_rms_mm: Distance from the circle itself, whenever, root mean square.
        jitter_p99_ms: 99th percentile of how far the time between two commands is from the period.
        clamps: How often each limit changed a command.
    """

    rms_mm: float
    worst_mm: float
    radius_rms_mm: float
    jitter_p99_ms: float
    clamps: dict[str, int]


def circle(config: TrackingConfig, at: float) -> NDArray[np.float64]:
    """`T_base_tool` (4, 4) on the circle, `at` s after its begin; before that, where it begins."""
    angle = config.speed_m_s / config.radius_m * max(at, 0.0)
    x, y, z = CENTRE
    return tool_down((x + config.radius_m * np.cos(angle), y + config.radius_m * np.sin(angle), z), 0.0)


def track(config: TrackingConfig, arm: KortexArm) -> TrackingResult:
    """Drives a connected arm along the circle and measures."""
    actuation = JointActuation(arm, LIMITS, "arm", config.stream, config.lead_s)
    watchdog = Watchdog(WatchdogLimits.ahead_of(LIMITS.command_timeout_s, LIMITS.stop_timeout_s))
    driver = Driver(arm, actuation, SafetyFilter(LIMITS), watchdog, DriverLimits())
    thread = WatchdogThread(watchdog, arm.hold, arm.stop)
    thread.start()
    try:
        driver.enable(time.monotonic())
        start = time.monotonic() + _APPROACH_S
        end = start + 1.0 + config.seconds
        misses, offs, gaps = [], [], []
        due, last, sequence = time.monotonic(), 0.0, 0
        while (now := time.monotonic()) < end:
            given = np.floor((now - start) * config.command_hz) / config.command_hz
            command = ToolCommand(circle(config, given + COMMAND_STEP_S if given > 0 else 0.0), 0.0)
            due_at = start + given + COMMAND_STEP_S if given > 0 else None
            driver.accept(Request(command, sequence, now, now, now + 0.1, due=due_at), now)
            tick = driver.tick(time.monotonic())
            if tick.mode is not Mode.ENABLED or tick.state is None:
                raise GlamError(f"the driver is {tick.mode}: {tick.reason}")
            if now > start + 1.0:
                position = tick.state.tool.T_base_tool[:3, 3]
                misses.append(np.linalg.norm(position - circle(config, tick.state.stamp - start)[:3, 3]))
                off = np.hypot(*(position[:2] - CENTRE[:2])) - config.radius_m
                offs.append(np.hypot(off, position[2] - CENTRE[2]))
                gaps.append(now - last)
            last, due, sequence = now, due + _PERIOD_S, sequence + 1
            time.sleep(max(0.0, due - time.monotonic()))
        driver.stop()
    finally:
        thread.close()
    return TrackingResult(
        rms_mm=1e3 * float(np.sqrt(np.mean(np.square(misses)))),
        worst_mm=1e3 * float(np.max(misses)),
        radius_rms_mm=1e3 * float(np.sqrt(np.mean(np.square(offs)))),
        jitter_p99_ms=1e3 * float(np.percentile(np.abs(np.array(gaps) - _PERIOD_S), 99)),
        clamps=dict(driver.clamp_counts),
    )


def run(config: TrackingConfig) -> TrackingResult:
    """Starts a simulated arm, and measures."""
    with simulator() as simulated:
        arm = KortexArm(simulated.arm)
        arm.connect()
        try:
            return track(config, arm)
        finally:
            arm.disconnect()


def main() -> int:
    """The command line."""
    config = tyro.cli(TrackingConfig, description=__doc__)
    result = run(config)
    print(
        f"{config.speed_m_s} m/s, radius {config.radius_m} m, commands at {config.command_hz:g} Hz, {config.stream}: "
        f"{result.rms_mm:.2f} mm RMS from the point that is due (worst {result.worst_mm:.2f}), "
        f"{result.radius_rms_mm:.2f} mm RMS from the circle; jitter p99 {result.jitter_p99_ms:.2f} ms; "
        f"clamps {result.clamps or 'none'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
