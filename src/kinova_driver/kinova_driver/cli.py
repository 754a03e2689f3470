"""The command `kinova`: tools for one arm, real or simulated, that need no ROS."""

from __future__ import annotations

from collections.abc import Sequence

from glam_core.cli import Command, dispatch

# In the order in which a new arm needs them.
COMMANDS = {
    "doctor": Command("kinova_driver.tools.doctor:main", "what is reachable, what the arm says, how fast it answers"),
    "latency": Command("kinova_driver.tools.latency:main", "measure the delays of an arm and write them down"),
    "gripper-range": Command("kinova_driver.tools.gripper_range:main", "measure where the gripper is open and closed"),
    "replay": Command("kinova_driver.tools.replay:main", "check a recorded episode against the limits; move on demand"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `kinova <command> ...`; returns the exit code."""
    return dispatch("kinova", COMMANDS, "Tools for one arm, in the order in which a new one needs them:", arguments)
