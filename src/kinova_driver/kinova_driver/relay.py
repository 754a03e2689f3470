"""Passes bytes on between a driver and an arm, and notes when which command passed: for benchmarks of stopping."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from glam_core.scheduling import GUARDIAN, real_time
from kinova_driver.kortex import frame, services

ZERO_S, STOP_S = 0.1, 0.25
"""After a failure the arm has to be told zero speed, and to stop, within this time."""
_PRIORITY = GUARDIAN + 1
_MOVING_RAD_S = 0.01
_RECENT_S = 0.05


@dataclass
class Passed:
    """What went by the relay to the arm, each with its time: monotonic clock, s."""

    moving: list[float] = field(default_factory=list)
    resting: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """One failure: how long until nothing moved the arm any more, and until it was stopped, s; infinite for never."""

    zero_s: float
    stop_s: float


class Relay:
    """Passes bytes on between clients and the arm's TCP port, and notes the commands among them."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self.passed = target, Passed()
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends every connection."""
        self._server.close()
        for each in self._sockets:
            each.close()

    def moves(self) -> bool:
        """Whether the arm is being moved: a failure of one that rests would tell nothing."""
        return time.monotonic() - max(self.passed.moving, default=0.0) < _RECENT_S

    def judge(self, failed_at: float, enough_s: float) -> Trial | None:
        """What happened after a failure; None where something else had already stopped the arm.

        Args:
            failed_at: When it was: monotonic clock, s.
            enough_s: How long ago that is now; an arm that was moved half as long after it was never stopped.
        """
        last = max(self.passed.moving, default=0.0)
        if last > failed_at + enough_s / 2:
            return Trial(np.inf, np.inf)
        stops = [at for at in self.passed.stops if at > last]
        rests = [at for at in self.passed.resting if at > last] + stops
        if min(rests, default=np.inf) <= failed_at:
            return None
        return Trial(min(rests, default=np.inf) - failed_at, min(stops, default=np.inf) - failed_at)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                arm = socket.create_connection(self._target)
            except OSError:  # the arm is not there yet
                client.close()
                continue
            for each in (client, arm):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, arm]
            reader = frame.FrameReader()
            for start, end, note in ((client, arm, reader), (arm, client, None)):
                threading.Thread(target=self._pass, args=(start, end, note), daemon=True).start()

    def _pass(self, start: socket.socket, end: socket.socket, reader: frame.FrameReader | None) -> None:
        real_time(_PRIORITY)  # this thread alone: what it notes shall be what happened, and it is little
        try:
            while data := start.recv(65536):
                end.sendall(data)
                if reader is not None:
                    now = time.monotonic()
                    for each in reader.feed(data):
                        self._note(*frame.decode(each), now)
        except OSError:
            pass
        for each in (start, end):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _note(self, header: frame.Header, payload: bytes, now: float) -> None:
        method = services.METHODS.get((header.service_id, header.function_id))
        if method is None or method.service != "Base":
            return
        if method.name == "Stop":
            self.passed.stops.append(now)
        elif method.name == "SendJointSpeedsCommand":
            speeds = [joint.value for joint in method.request.FromString(payload).joint_speeds]
            moves = max(map(abs, speeds)) > np.degrees(_MOVING_RAD_S)
            (self.passed.moving if moves else self.passed.resting).append(now)


def describe(failure: str, trials: list[Trial]) -> str:
    """One line for people."""
    zero, stop = (1e3 * np.array(times) for times in zip(*((t.zero_s, t.stop_s) for t in trials), strict=True))
    late = int(np.sum((zero > 1e3 * ZERO_S) | (stop > 1e3 * STOP_S)))
    texts = [
        f"{np.median(x):5.0f} median {np.percentile(x, 95, method='higher'):5.0f} p95 {x.max():5.0f} max"
        for x in (zero, stop)
    ]
    return f"{failure:20s} n {len(trials)}  zero speed {texts[0]} ms  Stop {texts[1]} ms  late {late}"
