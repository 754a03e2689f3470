"""No fresh command for 100 ms: zero speed. For 250 ms: stop, inhibited until a person re-enables."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from glam_core.errors import SafetyError
from kinova_driver.arm import ArmError
from kinova_driver.heartbeat import Heartbeat

logger = logging.getLogger(__name__)


ACT_EARLY_S = 0.04
"""The way of a hold or a stop to the arm, with what a busy computer may add to it."""
_LOOK_S = 0.02
"""Time between two looks where nothing is due sooner: less than the shortest way from a first command to a hold."""

_RETRY_S = 0.01
_COMPLAINT_S = 2.0
"""Between two complaints about an arm that can not be stopped; the tries go on."""


@dataclass(frozen=True)
class WatchdogLimits:
    """How long the arm goes on without a fresh command."""

    hold_s: float = 0.1
    stop_s: float = 0.25

    @classmethod
    def ahead_of(cls, hold_s: float, stop_s: float) -> WatchdogLimits:
        """Limits that act early enough for the arm to have obeyed by `hold_s` and `stop_s`."""
        return cls(max(hold_s - ACT_EARLY_S, 0.5 * hold_s), max(stop_s - ACT_EARLY_S, 0.5 * stop_s))

    def __post_init__(self) -> None:
        if not (math.isfinite(self.hold_s) and math.isfinite(self.stop_s) and 0.0 <= self.hold_s <= self.stop_s):
            raise SafetyError(f"watchdog: expected 0 <= hold_s <= stop_s, not {self.hold_s} and {self.stop_s}")


class Verdict(StrEnum):
    """What the age of the newest command asks for."""

    IDLE = "idle"
    """Enabled, but nothing was commanded yet: there is no motion to end."""
    FRESH = "fresh"
    HOLD = "hold"
    STOP = "stop"
    """Inhibited: stays until `enable`."""


class Watchdog:
    """Judges the age of the newest command. Time is an argument, of one monotonic clock, s; safe between threads.

    Args:
        limits: When to do what.
        heartbeat: Where a guardian looks on from another process, if there is one.
    """

    def __init__(self, limits: WatchdogLimits, heartbeat: Heartbeat | None = None) -> None:
        self.limits = limits
        self._heartbeat = heartbeat
        self.endings = 0
        """How often the arm was brought to rest."""
        self._lock = threading.Lock()
        self._inhibited = True
        self._fed_at: float | None = None

    def enable(self) -> None:
        """Ends the inhibition; the countdown starts with the first command."""
        with self._lock:
            self._inhibited, self._fed_at = False, None

    def inhibit(self) -> None:
        """Stops, until `enable`."""
        with self._lock:
            self._inhibited = True

    def rest(self) -> None:
        """Ends the countdown until the next command: the arm has been brought to rest on purpose."""
        with self._lock:
            self._fed_at = None

    @property
    def inhibited(self) -> bool:
        """Stopped, and not enabled since."""
        with self._lock:
            return self._inhibited

    def feed(self, now: float) -> None:
        """A fresh command came in. Without effect while inhibited, or when the stop is already due."""
        with self._lock:
            if self._judge(now) is not Verdict.STOP:
                self._fed_at = now
                if self._heartbeat is not None:
                    self._heartbeat.feed(now)

    def hold(self, now: float) -> None:
        """A command to hold came in: it is as if no fresh one had come for `hold_s`; the stop is due after that."""
        with self._lock:
            if self._fed_at is not None:
                self._fed_at = min(self._fed_at, now - self.limits.hold_s)

    def end(self, action: Callable[[], None]) -> None:
        """Does what ends the motion; once it is done, a guardian has nothing to do."""
        fed_at = 0.0 if self._heartbeat is None else self._heartbeat.fed_at
        action()
        self.endings += 1
        if self._heartbeat is not None:
            self._heartbeat.handled(fed_at)

    @property
    def tripped(self) -> bool:
        """Whether the guardian had to stop the arm, because this process did not."""
        return self._heartbeat is not None and self._heartbeat.tripped

    def due_in(self, now: float) -> float:
        """Time until the verdict changes by itself, s; infinite where it does not."""
        with self._lock:
            if self._inhibited or self._fed_at is None:
                return math.inf
            age = now - self._fed_at
            left = [limit - age for limit in (self.limits.hold_s, self.limits.stop_s) if limit > age]
            return min(left, default=math.inf)

    def verdict(self, now: float) -> Verdict:
        """What to do now; a stop latches."""
        with self._lock:
            verdict = self._judge(now)
            self._inhibited = verdict is Verdict.STOP
            return verdict

    def _judge(self, now: float) -> Verdict:
        if self._inhibited:
            return Verdict.STOP
        if self._fed_at is not None and self.tripped:
            return Verdict.STOP
        if self._fed_at is None:
            return Verdict.IDLE
        age = now - self._fed_at
        if age < self.limits.hold_s:
            return Verdict.FRESH
        return Verdict.HOLD if age < self.limits.stop_s else Verdict.STOP


class WatchdogThread:
    """Holds and stops the arm from a thread of its own, whatever the rest of the process is busy with."""

    def __init__(
        self,
        watchdog: Watchdog,
        hold: Callable[[], None],
        stop: Callable[[], None],
        period_s: float = _LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the thread; `start` runs it.

        Args:
            watchdog: Who judges.
            hold: Brings the arm to zero speed; called once per hold.
            stop: Stops the arm; called once per stop, and again after an error.
            period_s: The longest time between two looks, s; a look that is due comes on time.
            clock: The clock that feeds the watchdog.
        """
        self._watchdog, self._clock, self._period_s = watchdog, clock, period_s
        self._actions = {Verdict.HOLD: hold, Verdict.STOP: stop}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts watching."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; stopping the arm is up to the caller."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        last, complained_at = self._watchdog.verdict(self._clock()), -math.inf
        while not self._over.wait(min(self._period_s, self._watchdog.due_in(self._clock()))):
            verdict = self._watchdog.verdict(self._clock())
            if verdict is not last and verdict in self._actions:
                try:
                    self._watchdog.end(self._actions[verdict])
                except ArmError as error:
                    if self._clock() - complained_at > _COMPLAINT_S:
                        logger.warning("watchdog: could not %s the arm, goes on trying: %s", verdict, error)
                        complained_at = self._clock()
                    self._over.wait(_RETRY_S)
                    continue
                except Exception:  # whatever it was, the next look must come
                    logger.exception("watchdog: could not %s the arm, trying again", verdict)
                    self._over.wait(_RETRY_S)
                    continue
                logger.info("watchdog: %s", verdict)
            last = verdict
