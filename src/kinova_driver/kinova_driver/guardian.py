"""A process that stops an arm when its driver does not: the driver may hang, be frozen or be killed.

A thread of the driver can not run while other code holds the interpreter, nor when the process is stopped or gone. So a
small process of its own, with a session of its own on the arm, looks at the driver's heartbeat. It sends nothing but
Stop, and only where a command is older than the driver's own watchdog lets it become.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from glam_core.errors import ConfigurationError, GlamError
from glam_core.scheduling import GUARDIAN, real_time
from glam_core.station import ArmConfig
from kinova_driver.arm import ArmError
from kinova_driver.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

AFTER_S = 0.03
"""How long the guardian waits for the driver's own watchdog, once that is due: for its command and the answer to it."""
READY_S = 10.0
"""How long the guardian may take to connect."""
_LOOK_S = 0.01
_RETRY_S = 0.01
_KEEP_ALIVE_S = 0.4
_GOODBYE = b"goodbye\n"
_READY = b"ready\n"


class Guardian:
    """The driver's side: starts the process, and ends it in peace.

    Args:
        config: The arm that is guarded.
        act_s: Age of the last fresh command from which the guardian stops the arm, unless somebody else has.
    """

    def __init__(self, config: ArmConfig, act_s: float) -> None:
        self.heartbeat = Heartbeat()
        self._config, self._act_s = config, act_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it is connected to the arm; raises ArmError where it is not."""
        file = self.heartbeat.file
        command = [sys.executable, "-m", "kinova_driver.guardian", str(file), str(self._act_s)]
        # A group of its own: Ctrl-C in a terminal is for the driver, and the guardian outlives it.
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(file,), process_group=0
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(self._config.model_dump(mode="json")).encode() + b"\n")
        process.stdin.flush()
        answered, _, _ = select.select([process.stdout], [], [], READY_S)
        answer = process.stdout.readline() if answered else b""
        if answer != _READY:
            self.close()
            why = answer.decode(errors="replace").strip() or f"no answer within {READY_S:.0f} s"
            raise ArmError(f"the guardian of the arm does not start: {why}")

    @property
    def alive(self) -> bool:
        """Whether it watches."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Ends it without a stop; harmless when repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.write(_GOODBYE)
            process.stdin.close()
        try:
            process.wait(READY_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def watch(
    heartbeat: Heartbeat, act_s: float, stop: Callable[[], None], keep: Callable[[], None], life: IO[bytes]
) -> None:
    """Watches until the driver says goodbye or is gone; in the second case the arm is stopped.

    Args:
        heartbeat: Of the driver.
        act_s: Age of an unanswered command from which the arm is stopped, s.
        stop: Stops the arm; raises ArmError where that fails, and is called again.
        keep: Keeps the connection alive; called now and then.
        life: Says goodbye, or ends with the driver.
    """
    kept_at = time.monotonic()
    while True:
        now = time.monotonic()
        since = heartbeat.unhandled_since
        due = since + act_s - now if since else _LOOK_S
        if due <= 0.0:
            if _tried(stop):
                logger.error("the driver did not stop the arm in time: stopped by its guardian")
                heartbeat.trip(since)
                heartbeat.handled(since)
            due = _RETRY_S
        elif now - kept_at > _KEEP_ALIVE_S and (not since or due > 2 * _LOOK_S):
            _tried(keep)
            kept_at = now
        readable, _, _ = select.select([life], [], [], min(due, _LOOK_S))
        if readable:
            if os.read(life.fileno(), len(_GOODBYE)) == _GOODBYE:
                return
            logger.error("the driver is gone: its guardian stops the arm")
            deadline = time.monotonic() + READY_S
            while not _tried(stop) and time.monotonic() < deadline:
                time.sleep(_RETRY_S)
            return


def _tried(action: Callable[[], None]) -> bool:
    try:
        action()
    except ArmError as error:
        logger.warning("%s", error)
        return False
    return True


class _StopLine:
    """The guardian's own connection to the arm, opened again when it breaks."""

    def __init__(self, config: ArmConfig) -> None:
        from kinova_driver.kortex.api import load
        from kinova_driver.kortex.link import Endpoint, Link

        endpoint = Endpoint.of(config)
        trust = config.trust_unofficial_client_with_a_real_arm
        api = load(endpoint.address, trust_unofficial_client_with_a_real_arm=trust)
        self._make = lambda: Link(api, endpoint, config.timeouts)
        self._link: Link | None = None

    def open(self) -> None:
        """Connects."""
        link = self._make()
        link.open(lambda notification: None)
        self._link = link

    def stop(self) -> None:
        """Stops the arm."""
        self._call("Stop")

    def keep(self) -> None:
        """Tells the arm that we are there."""
        self._call("GetServoingMode")

    def close(self) -> None:
        """Closes the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _call(self, name: str) -> None:
        if self._link is None:
            self.open()
        assert self._link is not None
        try:
            self._link.command(name)
        except ArmError as error:
            # A late answer is one all the same; anything else needs a new connection.
            if not getattr(error, "timed_out", False):
                self.close()
            raise


def main() -> int:
    """The guardian's process: the heartbeat's file and the time to act as arguments, the arm on the first line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with its driver, never before
    real_time(GUARDIAN)  # nothing is more urgent, and it is little
    logging.basicConfig(level=logging.WARNING, format="[guardian] %(message)s")
    heartbeat, act_s = Heartbeat(int(sys.argv[1])), float(sys.argv[2])
    life = sys.stdin.buffer.raw  # type: ignore[attr-defined]
    try:
        line = b""
        while not line.endswith(b"\n"):
            part = os.read(life.fileno(), 1)
            if not part:
                raise ConfigurationError("the driver ended before it named its arm")
            line += part
        arm = _StopLine(ArmConfig.model_validate(json.loads(line)))
        arm.open()
    except GlamError as error:
        os.write(sys.stdout.fileno(), str(error).replace("\n", " ").encode() + b"\n")
        return 1
    os.write(sys.stdout.fileno(), _READY)
    try:
        watch(heartbeat, act_s, arm.stop, arm.keep, life)
    finally:
        arm.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
