"""Thins the stream of gripper targets out, because the gripper locks up under it."""

from __future__ import annotations

from glam_core.station import GripperConfig

_SETTLED_S = 0.5
"""A target that has not changed for this long is sent even inside of the dead band."""


class GripperStream:
    """Decides which targets are sent, and when. Time is an argument, s of one clock; one thread at a time.

    No two commands are closer than the rate allows, small changes are not worth a command, and the last target is
    always delivered in the end.
    """

    def __init__(self, config: GripperConfig) -> None:
        self._dead_band, self._period_s = config.dead_band, 1.0 / config.rate_hz
        self._target: float | None = None
        self._asked_at = 0.0
        self._sent: float | None = None
        self._tried_at = -self._period_s

    def ask(self, position: float, now: float) -> None:
        """There is a new target, 0 (open) to 1 (closed)."""
        if position != self._target:
            self._target, self._asked_at = position, now

    def forget(self) -> None:
        """Drops the target that was not sent yet, and what is known of the gripper."""
        self._target = self._sent = None

    def due_at(self) -> float | None:
        """When `take` has something to send; None while there is nothing."""
        if self._target is None or self._target == self._sent:
            return None
        ready = self._tried_at + self._period_s
        if self._sent is not None and abs(self._target - self._sent) < self._dead_band:
            return max(ready, self._asked_at + _SETTLED_S)
        return max(ready, self._asked_at)

    def take(self, now: float) -> float | None:
        """The position to send now, or None. Whether that worked is told with `delivered`."""
        due = self.due_at()
        if due is None or now < due:
            return None
        self._tried_at = now
        return self._target

    def delivered(self, position: float) -> None:
        """The arm took the command; without this the target is sent again."""
        self._sent = position
