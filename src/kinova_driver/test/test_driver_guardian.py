"""The guardian: it stops an arm whose driver hangs, is frozen, or is killed; and leaves a healthy one alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from live_arm import LiveArm

from glam_core.station import ArmConfig
from kinova_driver.arm import ArmError
from kinova_driver.guardian import Guardian, watch
from kinova_driver.heartbeat import Heartbeat
from kinova_driver.watchdog import Verdict, Watchdog, WatchdogLimits

AWAIT_S = 20.0
ACT_S = 0.2


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + AWAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


@pytest.fixture
def live() -> Iterator[LiveArm]:
    live = LiveArm()
    yield live
    live.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):  # closed by the test
            os.close(end)


class Watched:
    """The guardian's loop on a thread, with an arm that counts its stops."""

    def __init__(self, pipe: tuple[int, int]) -> None:
        self.heartbeat, self.stops, self.fails = Heartbeat(), 0, 0
        self.life = os.fdopen(pipe[0], "rb", buffering=0, closefd=False)
        self.thread = threading.Thread(
            target=watch, args=(self.heartbeat, ACT_S, self.stop, lambda: None, self.life), daemon=True
        )
        self.thread.start()

    def stop(self) -> None:
        if self.fails:
            self.fails -= 1
            raise ArmError("lost")
        self.stops += 1


def test_a_command_that_nobody_ends_is_ended_once(pipe: tuple[int, int]) -> None:
    watched = Watched(pipe)
    watched.fails = 2
    watchdog = Watchdog(WatchdogLimits(), watched.heartbeat)
    watchdog.enable()
    watchdog.feed(time.monotonic())
    wait_for(lambda: watched.stops == 1)
    wait_for(lambda: watchdog.tripped)
    assert watchdog.verdict(time.monotonic()) is Verdict.STOP
    assert watchdog.inhibited
    time.sleep(2 * ACT_S)  # nothing new was commanded: there is nothing to end
    assert watched.stops == 1
    os.write(pipe[1], b"goodbye\n")
    watched.thread.join(AWAIT_S)
    assert watched.stops == 1


def test_a_driver_that_feeds_or_ends_its_commands_is_left_alone(pipe: tuple[int, int]) -> None:
    watched = Watched(pipe)
    watchdog = Watchdog(WatchdogLimits(), watched.heartbeat)
    watchdog.enable()
    deadline = time.monotonic() + 3 * ACT_S
    while time.monotonic() < deadline:
        watchdog.feed(time.monotonic())
        time.sleep(0.01)
    watchdog.end(lambda: None)
    time.sleep(2 * ACT_S)
    assert watched.stops == 0
    os.write(pipe[1], b"goodbye\n")
    watched.thread.join(AWAIT_S)


def test_a_hold_that_failed_or_came_before_the_command_counts_for_nothing(pipe: tuple[int, int]) -> None:
    watched = Watched(pipe)
    watchdog = Watchdog(WatchdogLimits(hold_s=1.0, stop_s=1.0), watched.heartbeat)
    watchdog.enable()
    watchdog.feed(time.monotonic())

    def late_hold() -> None:
        watchdog.feed(time.monotonic())  # a new command slips in while the hold is on its way

    watchdog.end(late_hold)
    wait_for(lambda: watched.stops == 1)
    os.write(pipe[1], b"goodbye\n")
    watched.thread.join(AWAIT_S)


def test_the_end_of_the_driver_stops_the_arm(pipe: tuple[int, int]) -> None:
    watched = Watched(pipe)
    os.close(pipe[1])
    watched.thread.join(AWAIT_S)
    assert watched.stops == 1


DRIVER = """
import sys, time, numpy as np
from glam_core.station import ArmConfig
from kinova_driver.guardian import Guardian
from kinova_driver.kortex_arm import KortexArm
from kinova_driver.watchdog import Watchdog, WatchdogLimits
config = ArmConfig.model_validate_json(sys.argv[1])
arm = KortexArm(config)
arm.connect()
guardian = Guardian(config, 0.1)
guardian.start()
watchdog = Watchdog(WatchdogLimits(), guardian.heartbeat)
watchdog.enable()
hang = sys.argv[2]
for tick in range(10**9):
    watchdog.feed(time.monotonic())
    arm.command_joint_speeds(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2]))
    if tick == 20:
        print("moving", flush=True)
        if hang == "python":
            while True: pass
        elif hang == "c":
            import re
            re.match("(a+)+$", "a" * 40 + "b")
    time.sleep(0.025)
"""


@pytest.mark.parametrize("failure", ["python", "c", "SIGSTOP", "SIGKILL"])
def test_whatever_becomes_of_the_driver_the_arm_stops(live: LiveArm, failure: str) -> None:
    config = live.config()
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, config.model_dump_json(), failure], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "moving\n"
        wait_for(lambda: live.moving)
        if failure.startswith("SIG"):
            process.send_signal(getattr(signal, failure))
        wait_for(lambda: not live.moving)
        time.sleep(0.2)
        assert np.abs(live.speeds).max() < 1e-3
    finally:
        process.kill()
        process.wait()


def test_without_a_connection_the_guardian_says_why() -> None:
    guardian = Guardian(ArmConfig(name="arm", address="127.0.0.1", tcp_port=9, udp_port=19), 0.1)
    with pytest.raises(ArmError, match="guardian of the arm does not start: .*can not be reached on TCP port 9"):
        guardian.start()
    assert not guardian.alive


def test_goodbye_leaves_the_arm_as_it_is(live: LiveArm) -> None:
    guardian = Guardian(live.config(), 0.1)
    guardian.start()
    assert guardian.alive
    guardian.close()
    guardian.close()
    assert not guardian.alive
