"""The deadman switch: while one is demanded, commands count only as long as a person says that they may."""

from __future__ import annotations

import math

from glam_core.errors import SafetyError


class Deadman:
    """Whether a person holds the switch. Time is an argument, of one monotonic clock, s.

    Args:
        demanded: Whether commands need it at all.
        timeout_s: Age from which a message is stale; a switch that says nothing is released.
    """

    def __init__(self, demanded: bool, timeout_s: float) -> None:
        if not (math.isfinite(timeout_s) and timeout_s > 0.0):
            raise SafetyError(f"the timeout of the deadman switch is a positive number, not {timeout_s}")
        self.demanded, self.timeout_s = demanded, timeout_s
        self._held = False
        self._heard_at: float | None = None

    def hear(self, held: bool, now: float) -> None:
        """A message of the switch came in."""
        self._held, self._heard_at = held, now

    def released(self, now: float) -> str:
        """Why commands do not count now; empty while they do."""
        if not self.demanded:
            return ""
        if self._heard_at is None:
            return "the deadman switch has not been heard"
        age = now - self._heard_at
        if not age < self.timeout_s:  # also for a time that is not a number
            return f"the deadman switch has been silent for {age:.3f} s"
        return "" if self._held else "the deadman switch is released"
