"""The driver's process against a simulated arm: signals, and wrong addresses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.protobuf
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from live_arm import PATIENT, LiveArm
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from glam_core.gen3 import JOINTS
from glam_msgs.msg import ToolState
from kinova_driver import messages

pytestmark = pytest.mark.ros
AWAIT_S = 60.0
MAIN = """
import google.protobuf
from kinova_driver.driver_node import main
print("protobuf", google.protobuf.__version__, flush=True)
main()
"""
KORTEX_PYTHON = Path(__file__).resolve().parents[3] / ".venv" / "kortex" / "python"
TIMEOUTS = "{" + ", ".join(f"{name}: {value}" for name, value in PATIENT.items()) + "}"
STATION = """
name: bench
arms: [{arms}]
safety:
  workspace_min: [0.0, -0.8, -0.5]
  workspace_max: [0.9, 0.8, 1.2]
  command_timeout_s: {patience_s}
  stop_timeout_s: {stop_s}
"""


class Station:
    """Drivers in processes of their own, and a client that spins on a thread."""

    def __init__(self, folder: Path, names: tuple[str, ...], patience_s: float = 0.1) -> None:
        self.file = folder / "station.yaml"
        arms = ", ".join(f"{{name: {name}, namespace: '{_namespace(name)}', timeouts: {TIMEOUTS}}}" for name in names)
        self.file.write_text(STATION.format(arms=arms, patience_s=patience_s, stop_s=2.5 * patience_s))
        self.domain = 60 + os.getpid() % 40
        rclpy.init(domain_id=self.domain)
        self.client = Node("client")
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.client)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()
        self._over.set()
        self._thread.join(AWAIT_S)
        self._executor.shutdown()
        self.client.destroy_node()
        try_shutdown()

    def drive(self, name: str, *parameters: str, python: Path | str = sys.executable) -> subprocess.Popen[str]:
        given = [word for each in (f"station:={self.file}", f"arm:={name}", *parameters) for word in ("-p", each)]
        namespace = ["-r", f"__ns:={_namespace(name) or '/'}"]
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(self.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self.processes[name] = process = subprocess.Popen(
            [python, "-c", MAIN, "--ros-args", *given, *namespace],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return process

    def call(self, kind: type, name: str, **fields: Any) -> tuple[bool, str]:
        client = self.client.create_client(kind, name)
        assert client.wait_for_service(AWAIT_S)
        future = client.call_async(kind.Request(**fields))
        wait_for(future.done)
        response: Any = future.result()
        return response.success, response.message

    def enable(self, name: str) -> None:
        wait_for(lambda: self.call(SetBool, f"{_namespace(name)}/enable", data=True)[0])

    def _spin(self) -> None:
        while not self._over.is_set():
            self._executor.spin_once(timeout_sec=0.05)


class Turning:
    """Turns the last joint of an arm, by joint speeds at 40 Hz, joints in an order of their own."""

    def __init__(self, station: Station, name: str) -> None:
        self._publisher = station.client.create_publisher(JointState, f"{_namespace(name)}/joint_speeds", 5)
        self._prefix = f"{name}/" if _namespace(name) else ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(AWAIT_S)

    def _run(self) -> None:
        speeds = dict.fromkeys(reversed(JOINTS), 0.0) | {"joint_7": 0.2}
        while not self._over.wait(0.025):
            message = JointState(name=[self._prefix + name for name in speeds], velocity=list(speeds.values()))
            message.header.stamp = messages.stamp_from_monotonic(time.monotonic())
            self._publisher.publish(message)


class Slowest:
    """The least speed of an arm's last joint, from now until `end`."""

    def __init__(self, live: LiveArm) -> None:
        self._live, self._least = live, np.inf
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> float:
        self._over.set()
        self._thread.join(AWAIT_S)
        return self._least

    def _run(self) -> None:
        while not self._over.wait(0.001):
            self._least = min(self._least, float(self._live.speeds[6]))


def _namespace(name: str) -> str:
    return "" if name == "arm" else f"/{name}"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + AWAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


def ports(live: LiveArm) -> tuple[str, str]:
    return f"tcp_port:={live.server.address.tcp_port}", f"udp_port:={live.server.address.udp_port}"


@pytest.fixture
def station(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Station]:
    station = Station(tmp_path, getattr(request, "param", ("arm",)))
    yield station
    station.close()


@pytest.fixture
def live() -> Iterator[LiveArm]:
    live = LiveArm()
    yield live
    live.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_arm_and_ends_the_process_well(station: Station, live: LiveArm, number: int) -> None:
    states: list[ToolState] = []
    station.client.create_subscription(ToolState, "tool_state", states.append, 5)
    process = station.drive("arm", *ports(live))
    wait_for(lambda: len(states) > 0)
    station.enable("arm")
    turning = Turning(station, "arm")
    wait_for(lambda: live.moving)
    assert live.speeds[6] > 0.05
    assert np.abs(live.speeds[:6]).max() < 0.01
    process.send_signal(number)
    output, _ = process.communicate(timeout=AWAIT_S)
    turning.end()
    assert process.returncode == 0, output
    assert not live.moving
    assert "max_speed_m_s: 0.5" in output  # the limits in force


def test_the_driver_runs_in_its_own_environment_with_the_protobuf_of_kinovas_package(
    station: Station, live: LiveArm
) -> None:
    """While this process, and with it the rest of a graph, has a current one."""
    assert google.protobuf.__version__ > "4"
    process = station.drive("arm", *ports(live), python=KORTEX_PYTHON)
    station.enable("arm")
    turning = Turning(station, "arm")
    wait_for(lambda: live.speeds[6] > 0.19)
    turning.end()
    process.terminate()
    output, _ = process.communicate(timeout=AWAIT_S)
    assert process.returncode == 0, output
    assert "protobuf 3.20.3" in output
    assert not live.moving


def test_stopping_or_losing_one_driver_leaves_the_other_arm_moving(tmp_path: Path) -> None:
    """The other one is never slower than it was told to be, not for a moment."""
    station = Station(tmp_path, ("left", "right"), patience_s=2.0)  # this is not about a computer that is too busy
    lives = {name: LiveArm() for name in ("left", "right")}
    turning: list[Turning] = []
    try:
        for name, live in lives.items():
            station.drive(name, *ports(live))
            station.enable(name)
            turning.append(Turning(station, name))
        # It overshoots by a twentieth when it starts.
        wait_for(lambda: all(abs(live.speeds[6] - 0.2) < 1e-4 for live in lives.values()))
        slowest = Slowest(lives["right"])
        for service in ("stop", "emergency_stop"):
            assert station.call(Trigger, f"/left/{service}")[0]
            wait_for(lambda: not lives["left"].moving)
            assert station.call(Trigger, "/left/reset")[0]
            station.enable("left")
            wait_for(lambda: lives["left"].moving)
        station.processes["left"].kill()
        wait_for(lambda: not lives["left"].moving)
        assert slowest.end() == pytest.approx(0.2, abs=1e-3)
    finally:
        for each in turning:
            each.end()
        station.close()
        for live in lives.values():
            live.close()


def test_an_arm_that_is_not_there_is_an_error_that_says_so(station: Station) -> None:
    process = station.drive("arm", "tcp_port:=9", "udp_port:=19", "patience_s:=0.0")
    output, _ = process.communicate(timeout=AWAIT_S)
    assert process.returncode == 1
    assert "the arm at 127.0.0.1 can not be reached on TCP port 9" in output
    assert "Traceback" not in output


def test_a_real_address_needs_kinovas_package(station: Station) -> None:
    process = station.drive("arm", "address:=192.168.1.10", "patience_s:=0.0")
    output, _ = process.communicate(timeout=AWAIT_S)
    assert process.returncode == 1
    assert "kortex_api" in output
    assert "Traceback" not in output
