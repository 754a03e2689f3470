"""`kinova latency`: from a command to its motion, and from a motion to its measurement; into the station file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import tyro

from glam_core.gen3 import JOINTS
from kinova_driver.arm import ArmError
from kinova_driver.kortex_arm import KortexArm
from kinova_driver.tools.station_file import write_arm_values
from kinova_driver.tools.target import Target

_JOINT = 6
"""The last one: it turns the gripper about its own axis, and sweeps nothing."""
_SPEED_RAD_S = 0.2
_ONSET = 0.2
"""Part of the commanded speed that counts as motion."""
_PULSE_S, _REST_S = 0.4, 0.4
_COMMAND_PERIOD_S = 0.025


@dataclass(frozen=True)
class LatencyOptions:
    """Turns the last joint to and fro by a few degrees, and measures how long that takes to begin.

    The time on the way of a measurement is taken as half of the time from asking to answer. Without a sensor of its
    own, nothing better can be known.
    """

    target: tyro.conf.OmitArgPrefixes[Target]
    trials: int = 20
    """How many motions, half of them each way."""
    move: bool = False
    """Let the arm move; without this nothing happens."""
    write: bool = True
    """Write the result into the station file."""


@dataclass(frozen=True)
class Latency:
    """Medians, s."""

    command_s: float
    feedback_s: float


def main() -> int:
    """Runs `kinova latency`; returns the exit code."""
    options = tyro.cli(LatencyOptions)
    _, config = options.target.load()
    degrees = np.degrees(_SPEED_RAD_S * _PULSE_S)
    plan = f"{JOINTS[_JOINT]} of arm '{config.name}' turns {options.trials} times by {degrees:.0f} degrees, to and fro"
    if not options.move:
        sys.stdout.write(f"{plan}. Nothing was done; with --move it is.\n")
        return 0
    arm = KortexArm(config.model_copy(update={"feedback_latency_s": 0.0, "feedback_hz": 1000.0}))
    arm.connect()
    try:
        sys.stdout.write(f"{plan}\n")
        latency = measure(arm, options.trials)
    finally:
        arm.disconnect()
    sys.stdout.write(
        f"from a command to its motion {1e3 * latency.command_s:.1f} ms, "
        f"from a motion to its measurement {1e3 * latency.feedback_s:.1f} ms (medians)\n"
    )
    if options.write:
        values = {
            name: round(getattr(latency, name.replace("_latency", "")), 4)
            for name in ("command_latency_s", "feedback_latency_s")
        }
        write_arm_values(options.target.station, config.name, values)
        sys.stdout.write(f"written to {options.target.station}\n")
    return 0


def measure(arm: KortexArm, trials: int) -> Latency:
    """Turns the joint to and fro.

    Raises:
        ArmError: The arm does not move.
    """
    feedback_s = arm.round_trip_s(100) / 2.0
    onsets = [_onset(arm, _SPEED_RAD_S if index % 2 else -_SPEED_RAD_S) for index in range(trials)]
    return Latency(max(float(np.median(onsets)) - feedback_s, 0.0), feedback_s)


def _onset(arm: KortexArm, speed: float) -> float:
    """Time from a command to the first measurement of its motion, s."""
    speeds = np.zeros(len(JOINTS))
    speeds[_JOINT] = speed
    started = now = time.monotonic()
    commanded_at, onset = float("-inf"), None
    while now < started + _PULSE_S:
        if now - commanded_at >= _COMMAND_PERIOD_S:
            arm.command_joint_speeds(speeds)
            commanded_at = now
        state = arm.read()
        if onset is None and state.velocities[_JOINT] * np.sign(speed) > _ONSET * abs(speed):
            onset = state.stamp - started
        time.sleep(0.001)
        now = time.monotonic()
    arm.hold()
    time.sleep(_REST_S)
    if onset is None:
        raise ArmError(f"{JOINTS[_JOINT]} did not move within {_PULSE_S} s of a command of {speed} rad/s")
    return onset
