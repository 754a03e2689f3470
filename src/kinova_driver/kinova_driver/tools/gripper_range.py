"""`kinova gripper-range`: what the gripper reports where it is open and where it is closed; into the station file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import tyro

from glam_core.station import GripperConfig
from kinova_driver.arm import ArmError
from kinova_driver.kortex_arm import KortexArm
from kinova_driver.tools.station_file import write_arm_values
from kinova_driver.tools.target import Target

_SETTLED = 0.002
_SETTLED_S, _TIMEOUT_S = 0.7, 10.0
_LEAST_WAY = 0.1


@dataclass(frozen=True)
class GripperRangeOptions:
    """Opens and closes the gripper, with nothing between its fingers, and writes down what it reports."""

    target: tyro.conf.OmitArgPrefixes[Target]
    move: bool = False
    """Let the gripper move; without this nothing happens."""
    write: bool = True
    """Write the result into the station file."""


def main() -> int:
    """Runs `kinova gripper-range`; returns the exit code."""
    options = tyro.cli(GripperRangeOptions)
    _, config = options.target.load()
    if not options.move:
        sys.stdout.write(f"the gripper of arm '{config.name}' opens and closes. Nothing was done; with --move it is.\n")
        return 0
    whole = config.gripper.model_copy(update={"open_at": 0.0, "closed_at": 1.0})
    arm = KortexArm(config.model_copy(update={"gripper": whole}))
    arm.connect()
    try:
        measured = measure(arm)
    finally:
        arm.disconnect()
    sys.stdout.write(f"open at {measured.open_at:.3f}, closed at {measured.closed_at:.3f}\n")
    if options.write:
        values = {"gripper": {"open_at": round(measured.open_at, 3), "closed_at": round(measured.closed_at, 3)}}
        write_arm_values(options.target.station, config.name, values)
        sys.stdout.write(f"written to {options.target.station}\n")
    return 0


def measure(arm: KortexArm) -> GripperConfig:
    """Opens, closes and opens the gripper.

    Raises:
        ArmError: It does not move.
    """
    open_at = _reading(arm, 0.0)
    closed_at = _reading(arm, 1.0)
    _reading(arm, 0.0)
    if closed_at - open_at < _LEAST_WAY:
        raise ArmError(
            f"the gripper reports {open_at:.3f} when it is told to open and {closed_at:.3f} when it is told to close; "
            "take away what blocks it"
        )
    return GripperConfig(open_at=open_at, closed_at=closed_at)


def _reading(arm: KortexArm, position: float) -> float:
    """What is reported once the gripper has come to rest at a position."""
    arm.command_gripper(position)
    deadline = time.monotonic() + _TIMEOUT_S
    reading, since = arm.read().tool.gripper, time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.02)
        state, now = arm.read(), time.monotonic()
        if state.faults:
            raise ArmError(f"the arm reports {', '.join(state.faults)}; clear the faults first")
        if abs(state.tool.gripper - reading) > _SETTLED:
            reading, since = state.tool.gripper, now
        elif now - since > _SETTLED_S:
            return reading
    raise ArmError(f"the gripper does not come to rest within {_TIMEOUT_S} s")
