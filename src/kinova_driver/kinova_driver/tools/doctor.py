"""`kinova doctor`: what is reachable, what the arm says of itself, and how fast it answers. Nothing moves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import google.protobuf
import numpy as np
import tyro

from kinova_driver import faults
from kinova_driver.arm import ArmError
from kinova_driver.kortex.api import load
from kinova_driver.kortex.link import CallError, Endpoint, Link
from kinova_driver.kortex.lock import AddressLock
from kinova_driver.tools.target import Target

_REQUIRED_FEEDBACK_HZ, _REQUIRED_COMMANDS_HZ = 500.0, 40.0


@dataclass(frozen=True)
class DoctorOptions:
    """Looks at an arm, moves nothing, and says what is well and what is not. Exit status 1 where something is not."""

    target: tyro.conf.OmitArgPrefixes[Target]
    seconds: float = 2.0
    """How long to measure each of the two rates."""


@dataclass
class Report:
    """What was found, line by line."""

    say: Callable[[str], object]
    problems: list[str] = field(default_factory=list)

    def fact(self, name: str, value: object) -> None:
        """Something that is as it is."""
        self.say(f"      {name}: {value}")

    def judge(self, name: str, value: object, well: bool, advice: str = "") -> None:
        """Something that is well, or is not."""
        self.say(f"{'ok' if well else 'BAD':<5} {name}: {value}" + ("" if well or not advice else f"; {advice}"))
        if not well:
            self.problems.append(name)


def main() -> int:
    """Runs `kinova doctor`; returns the exit code."""
    options = tyro.cli(DoctorOptions)
    report = Report(lambda line: sys.stdout.write(f"{line}\n"))
    examine(options, report)
    report.say("all is well" if not report.problems else f"not well: {', '.join(report.problems)}")
    return 1 if report.problems else 0


def examine(options: DoctorOptions, report: Report) -> None:
    """Looks at everything, one after the other; stops where the next step makes no sense."""
    _, config = options.target.load()
    report.fact("Python", f"{sys.version.split()[0]} at {sys.executable}, protobuf {google.protobuf.__version__}")
    try:
        endpoint = Endpoint.of(config)
        trust = config.trust_unofficial_client_with_a_real_arm
        api = load(endpoint.address, trust_unofficial_client_with_a_real_arm=trust)
        report.fact("client", api.name)
        lock = AddressLock(endpoint.resolved(), endpoint.tcp_port)
        _try(report, "no other driver on this computer", lock.acquire)
        lock.release()
        link = Link(api, endpoint, config.timeouts)
        link.look()
    except ArmError as error:
        report.judge("connection", error, False)
        return
    try:
        report.judge("connection", f"TCP {endpoint.tcp_port} and UDP {endpoint.udp_port}, a session on each", True)
        _devices(link, report)
        _state(link, report)
        _rates(link, options.seconds, report)
    except CallError as error:
        report.judge("connection", error, False, "it broke while it was examined")
    finally:
        link.close()


def _devices(link: Link, report: Report) -> None:
    joints = link.call("GetActuatorCount").count
    report.judge("joints", joints, joints == 7, "the driver is for the Gen3 with 7")
    kinds = link.api.messages["Common"].DeviceTypes
    for handle in sorted(link.call("ReadAllDevices", service="DeviceManager").device_handle, key=lambda h: h.order):
        device = handle.device_identifier
        try:
            version = link.call("GetFirmwareVersion", service="DeviceConfig", device=device).firmware_version
            text = f"firmware {firmware(version)}"
        except CallError as error:
            text = str(error)
        report.fact(f"device {device}", f"{kinds.Name(handle.device_type)}, {text}")


def _state(link: Link, report: Report) -> None:
    base = link.api.messages["Base"]
    feedback = link.feedback()
    report.judge("state", faults.arm_state_name(feedback.base.active_state), not _in_fault(feedback), "see the faults")
    found = faults.of_feedback(feedback)
    report.judge("faults", ", ".join(found) or "none", not found, "remove the cause, then call clear_faults")
    report.fact("warnings", ", ".join(faults.warnings_of_feedback(feedback)) or "none")
    mode = link.call("GetServoingMode").servoing_mode
    single = mode == base.SINGLE_LEVEL_SERVOING
    report.judge(
        "servoing mode", base.ServoingMode.Name(mode), single, "another program holds the arm; the driver changes it"
    )
    controller = link.call("GetArmState").connection
    held = controller.connection_identifier
    report.fact("in control", f"connection {held} {controller.connection_information}".strip() if held else "nobody")
    connections = link.call("GetConnections", service="Session").connection
    for connection in connections:
        report.fact(f"connection {connection.connection_identifier}", connection.connection_information)
    report.judge("connections", len(connections), len(connections) <= 2, "others than the two of this program are open")


def _rates(link: Link, seconds: float, report: Report) -> None:
    rate, delays, lost = measure(link.feedback, seconds)
    text = f"{rate:.0f} Hz, {_delays(delays)}, {lost} lost"
    well = rate >= _REQUIRED_FEEDBACK_HZ and lost <= 0.01 * (len(delays) + lost)
    report.judge("feedback on UDP", text, well, f"at least {_REQUIRED_FEEDBACK_HZ:.0f} Hz are needed, with few losses")
    rate, delays, lost = measure(lambda: link.call("GetServoingMode", timeout_s=0.2), seconds)
    text = f"{rate:.0f} Hz, {_delays(delays)}, {lost} lost"
    well = rate >= _REQUIRED_COMMANDS_HZ and lost == 0
    report.judge("questions on TCP", text, well, f"at least {_REQUIRED_COMMANDS_HZ:.0f} Hz are needed, without losses")


def measure(call: Callable[[], Any], seconds: float) -> tuple[float, list[float], int]:
    """Calls as fast as answers come.

    Returns:
        Answers per second, the time of each (s), and how many did not come.
    """
    delays: list[float] = []
    lost = 0
    started = now = time.monotonic()
    while now < started + seconds:
        before = now
        try:
            call()
        except CallError as error:
            if not error.timed_out:
                raise
            lost += 1
            now = time.monotonic()
        else:
            now = time.monotonic()
            delays.append(now - before)
    return len(delays) / (now - started), delays, lost


def firmware(version: int) -> str:
    """A firmware version in four parts, of one byte each."""
    return ".".join(str(version >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _delays(delays: list[float]) -> str:
    if not delays:
        return "no answer"
    median, late = 1e3 * np.percentile(delays, [50, 99])
    return f"median {median:.1f} ms, p99 {late:.1f} ms"


def _in_fault(feedback: Any) -> bool:
    return faults.arm_state_name(feedback.base.active_state) == "IN_FAULT"


def _try(report: Report, name: str, action: Callable[[], object]) -> None:
    try:
        action()
    except ArmError as error:
        report.judge(name, error, False)
    else:
        report.judge(name, "yes", True)
