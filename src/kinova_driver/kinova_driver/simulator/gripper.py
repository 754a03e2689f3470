"""The gripper's side of the arm: where the fingers are sent, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

OPEN, CLOSED = 0.0, 1.0
_RESTING_1_S = 5e-3
"""Slower fingers rest: programs wait for a speed of exactly 0."""


@dataclass(frozen=True)
class GripperDrive:
    """What the fingers are told: a position, 0 (open) to 1 (closed), and a share of their full speed, 0 to 1."""

    position: float = OPEN
    speed: float = 1.0


class Gripper:
    """Takes commands and remembers the last one: a speed never expires, and ends at the end of the stroke."""

    def __init__(self) -> None:
        self.drive = GripperDrive()
        self.measured, self.measured_speed = OPEN, 0.0

    def go_to(self, position: float, speed: float = 1.0) -> None:
        """Sends the fingers to a position, 0 to 1."""
        self.drive = GripperDrive(_within(position, 0.0, 1.0), _within(speed, 0.0, 1.0))

    def move(self, speed: float) -> None:
        """Opens (positive) or closes (negative) at a share of the full speed; 0 stays."""
        speed = _within(speed, -1.0, 1.0)
        if speed == 0.0:
            self.hold()
        else:
            self.drive = GripperDrive(OPEN if speed > 0.0 else CLOSED, abs(speed))

    def hold(self) -> None:
        """Stays; fingers that hold something go on holding it."""
        if self.measured_speed != 0.0:
            self.drive = GripperDrive(self.measured)

    def measure(self, position: float, speed: float) -> None:
        """Takes what the fingers do: position 0 to 1 and its rate, 1/s."""
        self.measured, self.measured_speed = position, speed if abs(speed) > _RESTING_1_S else 0.0


def _within(value: float, lowest: float, highest: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a gripper command is finite, not {value}")
    return min(highest, max(lowest, value))
