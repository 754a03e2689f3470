"""How fast an arm is stopped when something fails: `python -m kinova_driver.bench_watchdog`.

A simulated arm (`kinova-sim`), the driver node and a commander that streams a circle run as processes of their own; in
each trial one thing fails while the arm moves. A relay between the driver and the arm notes when which command passes,
so what is measured is what the arm is told: the time from the failure until nothing but zero speed or a Stop has come,
and until the Stop. The failure is the moment at which the signal is sent, silence is ordered, or the block begins; the
last fresh command came up to one period earlier.
"""

from __future__ import annotations

import ctypes
import mmap
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import rclpy
import tyro
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64
from std_srvs.srv import SetBool, Trigger

from glam_core.errors import GlamError
from glam_core.pose import tool_down
from glam_core.scheduling import DRIVER, real_time
from glam_core.station import ArmConfig
from glam_msgs.msg import ToolCommand
from kinova_driver import messages
from kinova_driver.driver_node import DriverNode, kortex_arm
from kinova_driver.process import quick_executor
from kinova_driver.process import run as run_nodes
from kinova_driver.relay import STOP_S, ZERO_S, Relay, Trial, describe
from kinova_driver.simulator.process import simulator

Failure = Literal[
    "commander_frozen",
    "commander_killed",
    "commander_silent",
    "executor_blocked",
    "interpreter_blocked",
    "driver_frozen",
    "driver_killed",
]
FAILURES: tuple[Failure, ...] = get_args(Failure)
_PATIENCE_S = 60.0
_AGREES_S = 2.0
_BLOCK_S = 0.6
_MOVES_S = 3.0
"""A driver that was enabled follows its commander within this time, or is enabled again."""
_ENOUGH_S = 0.6
"""A trial is over this long after the failure."""
_ATTEMPTS = 10
"""A trial in which something else stops the arm first is repeated, up to this often."""
_CENTRE, _RADIUS_M, _SPEED_M_S = (0.45, 0.0, 0.2), 0.08, 0.15
_STATION = """
name: bench
arms: [{name: arm}]
safety: {workspace_min: [0.2, -0.35, 0.005], workspace_max: [0.75, 0.35, 0.5]}
"""


@dataclass(frozen=True)
class WatchdogConfig:
    """What fails, and how often."""

    failures: tuple[Failure, ...] = FAILURES
    """Kinds of failure."""
    trials: int = 50
    """Trials of each kind."""
    guardian: bool = True
    """Whether the driver has its guardian."""
    seed: int = 0
    """Decides when in a trial the failure comes."""


class Mailbox:
    """A float64 in a file that several processes see."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def put(self, value: float) -> None:
        """Writes."""
        struct.pack_into("d", self._memory, 0, value)

    def get(self) -> float:
        """Reads."""
        return float(struct.unpack_from("d", self._memory, 0)[0])


def command(folder: Path) -> None:
    """The commander's process: a circle at 40 Hz, unless the mailbox `silence` says otherwise."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, silence = Node("commander"), Mailbox(folder / "silence")
    publisher = node.create_publisher(ToolCommand, "command", 5)
    due, sequence = time.monotonic(), 0
    while not over.is_set():
        now = time.monotonic()
        angle = _SPEED_M_S / _RADIUS_M * now
        x, y, z = _CENTRE
        pose = tool_down((x + _RADIUS_M * np.cos(angle), y + _RADIUS_M * np.sin(angle), z), 0.0)
        message = ToolCommand(arm="arm", sequence=sequence, pose=messages.pose_message(pose))
        message.header.frame_id = "base_link"
        message.header.stamp = message.observed_at = messages.stamp_from_monotonic(now)
        message.expires = messages.stamp_from_monotonic(now + 0.25)
        if not silence.get():
            publisher.publish(message)
        sequence, due = (sequence + 1) % 2**31, max(due + 0.025, now)
        over.wait(max(0.0, due - time.monotonic()))
    rclpy.try_shutdown()


def drive(folder: Path) -> int:
    """The driver's process, as `driver_node.main` makes it, with a topic that blocks its executor."""
    sys.setswitchinterval(0.001)
    real_time(DRIVER)
    blocked = Mailbox(folder / "blocked")

    def block(message: Float64) -> None:
        blocked.put(time.monotonic())
        if message.data > 0.0:  # in Python code, which gives the interpreter away now and then
            end = time.monotonic() + message.data
            while time.monotonic() < end:
                pass
        else:  # in C code that never does
            ctypes.PyDLL(None).usleep(int(-1e6 * message.data))

    def build(stack: ExitStack) -> list[Node]:
        node = DriverNode(kortex_arm)
        stack.callback(node.close)
        node.create_subscription(Float64, "/bench/block", block, 5)
        node.autostart()
        return [node]

    return run_nodes(build, quick_executor)


class Bench:
    """The processes of a trial."""

    def __init__(self, arm: ArmConfig, folder: Path, config: WatchdogConfig) -> None:
        self._arm, self._folder, self._config = arm, folder, config
        assert arm.address is not None and arm.tcp_port is not None
        self.relay = Relay((arm.address, arm.tcp_port))
        (folder / "station.yaml").write_text(_STATION, encoding="utf-8")
        self.silence, self.blocked = Mailbox(folder / "silence"), Mailbox(folder / "blocked")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        rclpy.init()
        self.node = Node("bench")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._block = self.node.create_publisher(Float64, "/bench/block", 5)

    def close(self) -> None:
        """Ends everything."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.relay.close()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def start(self, name: str) -> None:
        """Starts `driver` or `commander`, unless it runs."""
        old = self.processes.get(name)
        if old is not None and old.poll() is None:
            return
        arguments = [sys.executable, "-m", "kinova_driver.bench_watchdog", name, str(self._folder)]
        if name == "driver":
            arguments += ["--ros-args", "-p", f"station:={self._folder / 'station.yaml'}"]
            arguments += ["-p", f"tcp_port:={self.relay.port}", "-p", f"udp_port:={self._arm.udp_port}"]
            arguments += ["-p", f"guardian:={str(self._config.guardian).lower()}", "--log-level", "error"]
        self.processes[name] = subprocess.Popen(arguments)

    def get_going(self) -> None:
        """Everything runs, and the arm moves."""
        self.silence.put(0.0)
        for name in ("driver", "commander"):
            self.start(name)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            self._call(Trigger, "reset")
            try:
                self._call(SetBool, "enable", _AGREES_S, data=True)
            except GlamError:  # a fault that came after the reset
                continue
            since = time.monotonic()
            while time.monotonic() < since + _MOVES_S:
                self._executor.spin_once(timeout_sec=0.01)
                moving = self.relay.passed.moving
                if moving and moving[-1] > since and time.monotonic() - moving[-1] < _MOVES_S / 10:
                    return
        raise GlamError("the arm does not move; see the driver's output")

    def fail(self, failure: Failure) -> float:
        """Makes something fail; returns when: monotonic clock, s."""
        who, _, what = failure.partition("_")
        if what in ("frozen", "killed"):
            now = time.monotonic()
            self.processes[who].send_signal(signal.SIGSTOP if what == "frozen" else signal.SIGKILL)
            return now
        if what == "silent":
            now = time.monotonic()
            self.silence.put(1.0)
            return now
        before = self.blocked.get()
        self._block.publish(Float64(data=_BLOCK_S if who == "executor" else -_BLOCK_S))
        deadline = time.monotonic() + _PATIENCE_S
        while self.blocked.get() == before:
            if time.monotonic() > deadline:
                raise GlamError("the driver was not blocked")
            time.sleep(0.0005)
        return self.blocked.get()

    def mend(self, failure: Failure) -> None:
        """Undoes a failure."""
        who, _, what = failure.partition("_")
        if what == "frozen":
            self.processes[who].send_signal(signal.SIGCONT)
        elif what == "killed":
            self.processes[who].wait()
            # DDS takes a while to find out that somebody was killed; who talked to it would wait for it until then.
            if who == "driver":
                self.processes["commander"].kill()
                self.processes["commander"].wait()

    def _call(self, kind: type, name: str, patience_s: float = _PATIENCE_S, **fields: Any) -> None:
        client = self.node.create_client(kind, name)
        deadline = time.monotonic() + patience_s
        try:
            while True:
                if client.wait_for_service(1.0):
                    future = client.call_async(kind.Request(**fields))
                    self._executor.spin_until_future_complete(future, timeout_sec=2.0)
                    answer: Any = future.result() if future.done() else None
                    if answer is not None and answer.success:
                        return
                    time.sleep(0.05)
                if time.monotonic() > deadline:
                    raise GlamError(f"the driver does not answer to {name}: {answer.message if answer else 'nothing'}")
        finally:
            self.node.destroy_client(client)


def trial(bench: Bench, failure: Failure, wait_s: float) -> Trial:
    """One failure while the arm moves.

    Where something else stops the arm before it, such as measurements that a busy computer lost, the trial would tell
    nothing, and is repeated.
    """
    for _ in range(_ATTEMPTS):
        bench.get_going()
        time.sleep(wait_s)
        if not bench.relay.moves():
            continue
        failed_at = bench.fail(failure)
        time.sleep(max(0.0, failed_at + _ENOUGH_S - time.monotonic()))
        result = bench.relay.judge(failed_at, _ENOUGH_S)
        bench.mend(failure)
        if result is not None:
            return result
        print(f"{failure}: something else had stopped the arm; once more", file=sys.stderr)
    raise GlamError(f"the arm does not keep moving until {failure}; see the driver's output")


@contextmanager
def bench_of(config: WatchdogConfig) -> Iterator[Bench]:
    """Everything that a trial needs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(stack.enter_context(simulator()).arm, folder, config)
        stack.callback(bench.close)
        yield bench


def measure(config: WatchdogConfig, say: Callable[[str], None] = print) -> dict[Failure, list[Trial]]:
    """Runs all trials."""
    rng = np.random.default_rng(config.seed)
    results: dict[Failure, list[Trial]] = {}
    with bench_of(config) as bench:
        for failure in config.failures:
            results[failure] = [trial(bench, failure, rng.uniform(0.2, 0.5)) for _ in range(config.trials)]
            say(describe(failure, results[failure]))
    return results


def main() -> int:
    """The command line; fails where a single trial was late."""
    if sys.argv[1:2] == ["commander"]:
        command(Path(sys.argv[2]))
        return 0
    if sys.argv[1:2] == ["driver"]:
        return drive(Path(sys.argv[2]))
    results = measure(tyro.cli(WatchdogConfig, description=__doc__))
    late = any(t.zero_s > ZERO_S or t.stop_s > STOP_S for trials in results.values() for t in trials)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
