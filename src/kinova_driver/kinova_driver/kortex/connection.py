"""Keeps one arm connected: feedback at its rate, losses counted, what breaks named, reconnected with back-off.

A connection that is lost comes back by itself. What was latched meanwhile stays until somebody clears it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from glam_core.station import ArmConfig
from kinova_driver import faults
from kinova_driver.arm import ArmError
from kinova_driver.kortex.api import KortexApi, load
from kinova_driver.kortex.link import CallError, Endpoint, Link
from kinova_driver.kortex.lock import AddressLock

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
"""Between two tries to reach an arm."""
_QUIET_S, _PROBE_S = 0.1, 0.1
"""No answer on TCP for this long: ask whether the arm is there, and wait this long for the answer."""
_IDLE_S = 0.01
_CATCH_UP_S = 0.05
"""Feedback that is late by less is made up for, so that the rate holds on a busy computer."""
_RATE_WINDOW = 500
_LOSSY_WINDOW_S, _LOSSY_SHARE, _LOSSY_GAPS = 0.4, 0.15, 4
"""A connection that loses this share of the measurements within the window, here and there, is not one to move an arm
over. One gap alone is a computer that was late."""
_OURS_S = 0.5
"""How soon after our command the arm says whose command changed its state."""


@dataclass(frozen=True)
class FeedbackStatistics:
    """How well the arm is heard.

    Attributes:
        received: Measurements so far.
        lost: Requests so far that were not answered in time.
        rate_hz: Of the last measurements.
        reconnections: How often the connection was lost and came back.
    """

    received: int
    lost: int
    rate_hz: float
    reconnections: int


class Owner(Protocol):
    """Whose connection it is; called on the connection's threads."""

    def on_lost(self) -> None:
        """The connection is gone: whatever was under way is not."""
        ...

    def on_action(self, notification: Any) -> None:
        """A motion of the arm's own began or ended."""
        ...

    def on_duty(self, link: Link) -> float:
        """Time for what is done in the background; returns when it wants to be called again: monotonic clock, s."""
        ...


class Connection:
    """A connection from `open` to `close`, with a thread for feedback and one that keeps everything else."""

    def __init__(self, config: ArmConfig, owner: Owner, load_api: Callable[..., KortexApi] = load) -> None:
        """Nothing is connected yet.

        Args:
            config: The arm, as in the station file.
            owner: Whose connection it is.
            load_api: Chooses the client.
        """
        self._config, self._owner, self._load_api = config, owner, load_api
        self._timeouts = config.timeouts
        self.newest: tuple[Any, float] | None = None
        """The newest feedback, and when it was measured: monotonic clock, s."""
        self._asked_at = 0.0  # when that was asked for
        self.moving = False
        """Whether something was commanded that goes on without us; it is stopped as soon as the arm can be reached."""
        self.commanded_at = 0.0
        """When the arm was last told to move: monotonic clock, s."""
        self._state = threading.Lock()  # guards what follows; held for moments
        self._link: Link | None = None
        self._latched: dict[str, str] = {}
        self._broken: list[Link] = []
        self._thief_named = False
        self._controller: int | None = None
        self._own: set[int] = set()

        self._arrivals: deque[float] = deque(maxlen=_RATE_WINDOW)
        self._outcomes: deque[tuple[float, bool]] = deque()  # of the last requests: when, and whether it was lost
        self._received = self._lost = self._reconnections = 0
        self._fresh = threading.Condition()
        self._over, self._wake = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock: AddressLock | None = None
        self._api: KortexApi | None = None
        self._endpoint: Endpoint | None = None

    # -- for the owner -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes the arm's lock, connects, and waits for the first measurement; nothing moves.

        An arm that still holds the session of a killed driver is tried again until that one has timed out.
        """
        if self._threads:
            raise ArmError("the arm is connected; call disconnect first")
        config = self._config
        self._endpoint = endpoint = Endpoint.of(config)
        trust = config.trust_unofficial_client_with_a_real_arm
        self._api = self._load_api(endpoint.address, trust_unofficial_client_with_a_real_arm=trust)
        self._lock = AddressLock(endpoint.resolved(), endpoint.tcp_port)
        try:
            self._lock.acquire()
            self._begin(self._connect_patiently())
        except BaseException:
            self.close()
            raise
        logger.info("connected to the arm at %s with the %s", endpoint, self._api.name)

    def close(self) -> None:
        """Ends the threads, closes the connection and gives the lock back; harmless when it is closed."""
        self._over.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        with self._state:
            links, self._link = [*self._broken, *([self._link] if self._link else [])], None
            self._broken.clear()
        for link in links:
            link.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def latched(self) -> dict[str, str]:
        """Faults of the connection that wait for `clear`, each with its reason."""
        with self._state:
            return dict(self._latched)

    @property
    def statistics(self) -> FeedbackStatistics:
        """How well the arm is heard."""
        arrivals = list(self._arrivals)
        rate = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) if len(arrivals) > 1 else 0.0
        return FeedbackStatistics(self._received, self._lost, rate, self._reconnections)

    def messages(self, service: str) -> Any:
        """The messages of a service."""
        if self._api is None:
            raise ArmError("the arm is not connected; call connect first")
        return self._api.messages[service]

    def require_link(self) -> Link:
        """The connection as it is now.

        Raises:
            ArmError: There is none; the message says why.
        """
        link = self._link
        if link is None:
            raise ArmError(f"there is no connection to the arm: {_reasons(self.latched) or 'call connect first'}")
        return link

    def require_well(self) -> None:
        """Raises ArmError where something is latched."""
        latched = self.latched
        if latched:
            raise ArmError(f"the arm follows no commands: {_reasons(latched)}; call clear_faults")

    def clear(self, link: Link) -> None:
        """Forgets what was latched, unless the connection was lost again meanwhile; waits for a new measurement."""
        with self._state:
            if self._link is link:
                self._latched.clear()
                self._thief_named = False
                self._outcomes.clear()
        self._await_measurement(link)

    def latch(self, fault: str, reason: str) -> None:
        """Keeps a fault until `clear`."""
        with self._state:
            known = fault in self._latched
            self._latched.setdefault(fault, reason)
        if not known:
            logger.error("%s: %s", fault, reason)

    def judge(self, link: Link, error: CallError) -> None:
        """Finds out from an error whether the connection or the session is lost."""
        if error.means("INVALID_USER_SESSION_ACCESS", "INVALID_SESSION"):
            self._lose(link, faults.SESSION_LOST, f"the arm ended our session: {error}")
        elif error.means("SESSION_NOT_IN_CONTROL", "CONTROL_PERMISSION_DENIED"):
            self._own.discard(self._controller or 0)
            self.latch(faults.SESSION_LOST, f"another session controls the arm: {error}")
        elif error.means("WRONG_SERVOING_MODE", "LOW_LEVEL_SERVOING"):
            self.latch(faults.SERVOING_MODE_CHANGED, f"the arm is not in single-level servoing: {error}")
        elif error.sub_code is None and not error.timed_out:
            self._lose(link, faults.CONNECTION_LOST, str(error))

    def wake(self) -> None:
        """Asks for `on_duty` now."""
        self._wake.set()

    # -- beginning and ending ------------------------------------------------------------------------------------------

    def _begin(self, link: Link) -> None:
        self._over.clear()
        self._latched.clear()
        self.newest, self._asked_at = None, 0.0
        self._outcomes.clear()
        self.moving, self._controller = False, None
        self._own.clear()
        self._link = link
        for name, target in (("kortex-feedback", self._feed), ("kortex-keeper", self._keep)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._await_measurement(link)

    def _await_measurement(self, link: Link) -> None:
        """Waits for feedback that was asked for after now: whatever was on its way may tell of before."""
        now = time.monotonic()
        with self._fresh:
            arrived = self._fresh.wait_for(lambda: self._asked_at > now, self._timeouts.request_s)
        if not arrived:
            raise ArmError(
                f"the arm at {link.endpoint} gives no feedback on UDP port {link.endpoint.udp_port}; check that "
                "nothing between it and this computer blocks the port"
            )

    def _connect(self) -> Link:
        assert self._api is not None and self._endpoint is not None
        link = Link(self._api, self._endpoint, self._timeouts)
        link.open(self._owner.on_action)
        return link

    def _connect_patiently(self) -> Link:
        """Connects; tries again while a killed driver's session may still time out."""
        deadline = time.monotonic() + self._timeouts.session_s + 1.0
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return self._connect()
            except CallError as error:
                unreachable = error.sub_code is None and not error.timed_out
                if unreachable or error.means(*Link.LOGIN_ERRORS) or time.monotonic() + pause > deadline:
                    raise
                logger.info("trying again: %s", error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    # -- feedback ------------------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Asks for feedback at its rate, and counts what is lost."""
        period = 1.0 / self._config.feedback_hz
        losses, due = 0, time.monotonic()
        while not self._over.is_set():
            link = self._link
            if link is None:
                losses = 0
                self._over.wait(_IDLE_S)
                due = time.monotonic()
                continue
            asked_at = time.monotonic()
            try:
                feedback = link.feedback()
            except CallError as error:
                losses += 1
                self._lost += 1
                self._on_loss(link, losses, error)
            else:
                losses = 0
                self._take(feedback, asked_at)
            self._look_for_gaps(asked_at, losses > 0)
            due += period
            wait = due - time.monotonic()
            if wait > 0.0:
                time.sleep(wait)
            elif wait < -_CATCH_UP_S:
                due -= wait

    def _on_loss(self, link: Link, losses: int, error: CallError) -> None:
        if error.sub_code is not None:
            self.judge(link, error)
        if losses >= self._timeouts.max_losses:
            self._lose(link, faults.CONNECTION_LOST, f"{losses} measurements in a row were lost; the last: {error}")

    def _look_for_gaps(self, now: float, lost: bool) -> None:
        """Names a connection that is not lost, but loses too much."""
        with self._state:
            outcomes = self._outcomes
            outcomes.append((now, lost))
            while now - outcomes[0][0] > _LOSSY_WINDOW_S:
                outcomes.popleft()
            losses = [each for _, each in outcomes] if lost else []
        count, missing = len(losses), sum(losses)
        gaps = sum(this and not before for before, this in zip([False, *losses], losses, strict=False))
        if gaps >= _LOSSY_GAPS and missing >= _LOSSY_SHARE * count:
            reason = f"{missing} of {count} measurements within {_LOSSY_WINDOW_S} s did not come"
            self.latch(faults.PACKETS_LOST, reason)

    def _take(self, feedback: Any, asked_at: float) -> None:
        stamp = time.monotonic() - self._config.feedback_latency_s
        self._received += 1
        self._arrivals.append(stamp)
        controller = feedback.base.active_state_connection_identifier
        if controller != self._controller:
            self._on_controller(controller, stamp)
        with self._fresh:
            self.newest, self._asked_at = (feedback, stamp), asked_at
            self._fresh.notify_all()

    def _on_controller(self, controller: int, now: float) -> None:
        """The arm changed its state at somebody's command. It was ours right after ours, and somebody else's else.

        Numbers of connections can not be asked for beforehand, so ours is learnt.
        """
        first, self._controller = self._controller is None, controller
        if first or not controller or controller in self._own:
            return
        if now - self.commanded_at < _OURS_S:
            self._own.add(controller)
        else:
            self.latch(faults.SESSION_LOST, f"connection {controller} took control of the arm")

    # -- keeping -------------------------------------------------------------------------------------------------------

    def _lose(self, link: Link, fault: str, reason: str) -> None:
        """Gives a connection up; the keeper makes a new one."""
        with self._state:
            if self._link is not link:
                return
            self._link = None
            self._broken.append(link)
        self.latch(fault, reason)
        self._owner.on_lost()
        self._wake.set()

    def _keep(self) -> None:
        pause, retry_at = _FIRST_PAUSE_S, 0.0
        while not self._over.is_set():
            self._close_broken()
            link = self._link
            if link is not None:
                pause, retry_at = _FIRST_PAUSE_S, 0.0
                self._nap(self._look_after(link))
            elif time.monotonic() < retry_at:
                self._nap(retry_at)
            else:
                try:
                    self._return(self._connect())
                except ArmError as error:
                    logger.info("the arm is not back yet: %s", error)
                    retry_at = time.monotonic() + pause
                    pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _nap(self, until: float) -> None:
        self._wake.wait(max(until - time.monotonic(), 0.001))
        self._wake.clear()

    def _look_after(self, link: Link) -> float:
        """Everything that is done while there is a connection; returns when to look again."""
        try:
            due = self._owner.on_duty(link)
            self._probe(link)
            self._name_thief(link)
        except CallError as error:
            logger.warning("%s", error)
            self.judge(link, error)
            return time.monotonic() + _QUIET_S
        return min(due, max(link.heard, time.monotonic() - _QUIET_S / 2) + _QUIET_S)

    def _probe(self, link: Link) -> None:
        """Asks for the servoing mode where nothing was heard on TCP for a while: all of it may have changed."""
        if time.monotonic() - link.heard < _QUIET_S:
            return
        try:
            mode = link.call("GetServoingMode", timeout_s=_PROBE_S).servoing_mode
        except CallError as error:
            if not error.timed_out:
                raise
            silence = time.monotonic() - link.heard
            if silence > self._timeouts.silence_s:
                self._lose(link, faults.CONNECTION_LOST, f"no answer on TCP for {silence:.2f} s")
            return
        if mode != self.messages("Base").SINGLE_LEVEL_SERVOING:
            self.latch(faults.SERVOING_MODE_CHANGED, "somebody took the arm out of single-level servoing")

    def _name_thief(self, link: Link) -> None:
        """Adds who else is connected to the reason of a lost session."""
        with self._state:
            lost = faults.SESSION_LOST in self._latched and not self._thief_named
        if not lost:
            return
        others = link.others()
        logger.error("%s: %s", faults.SESSION_LOST, others)
        with self._state:
            self._thief_named = True
            if faults.SESSION_LOST in self._latched:
                self._latched[faults.SESSION_LOST] += f"; {others}"

    def _close_broken(self) -> None:
        """Closes connections that were given up; one that still takes calls is told to stop the arm first."""
        while self._broken:
            link = self._broken.pop()
            if self.moving:
                try:
                    link.command("Stop")
                    self.moving = False
                except CallError as error:
                    logger.info("the arm could not be stopped over the old connection: %s", error)
            link.close()

    def _return(self, link: Link) -> None:
        """A new connection is there: nothing shall move on it that began on the old one."""
        if self.moving:
            try:
                link.command("Stop")
                self.moving = False
            except CallError:
                link.close()
                raise
        with self._state:
            for fault in (faults.CONNECTION_LOST, faults.COMMANDS_LOST, faults.PACKETS_LOST):
                self._latched.pop(fault, None)
            self._outcomes.clear()
            self._latched.setdefault(faults.CONNECTION_RESTORED, "the connection was lost and is back")
            self._controller = None
            self._own.clear()
            self._link = link
        self._reconnections += 1
        logger.warning("the arm at %s is back; call clear_faults to move it", link.endpoint)


def _reasons(latched: dict[str, str]) -> str:
    return "; ".join(f"{name} ({reason})" for name, reason in latched.items())
