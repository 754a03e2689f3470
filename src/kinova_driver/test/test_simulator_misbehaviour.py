"""The simulated arm misbehaves when it is told to, and is well again when it is told to behave."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest
from served_arm import AWAIT_S, Client, ServedArm, wait_for

from glam_core.errors import ConfigurationError
from kinova_driver.kortex.client import KServerException, RouterClientSendOptions
from kinova_driver.kortex.definitions import Base, Common, SubErrorCodes
from kinova_driver.simulator import server
from kinova_driver.simulator.control_port import ControlPort, ask
from kinova_driver.simulator.devices import DEVICES, fault_names
from kinova_driver.simulator.server import Address, Server

QUICK = RouterClientSendOptions(timeout_ms=150)
SLOWLY = Base.JointSpeeds(joint_speeds=[Base.JointSpeed(joint_identifier=i, value=5.0) for i in range(7)])


@pytest.fixture
def served() -> Iterator[ServedArm]:
    with ServedArm() as served:
        yield served


def answered(client: Client, count: int = 40) -> int:
    """How many of some questions are answered in time."""
    answers = 0
    for _ in range(count):
        try:
            client.cyclic.RefreshFeedback(options=RouterClientSendOptions(timeout_ms=100))
            answers += 1
        except TimeoutError:
            pass
    return answers


def sub_error(call: Any, *arguments: Any) -> str:
    with pytest.raises(KServerException) as error:
        call(*arguments)
    return SubErrorCodes.Name(error.value.get_error_sub_code())


def test_packets_are_dropped_at_the_rate_that_was_asked_for(served: ServedArm) -> None:
    with Client(served, udp=True) as client:
        served.tell("drop 30")  # each way: about half of the answers arrive
        assert 8 <= answered(client) <= 32
        served.tell("drop 100")
        assert answered(client, 3) == 0
        served.tell("behave")
        assert answered(client) >= 39  # on a busy computer one may be late


def test_answers_are_delayed(served: ServedArm) -> None:
    with Client(served, udp=True) as client:
        served.tell("delay 80")
        start = time.monotonic()
        client.cyclic.RefreshFeedback()
        assert time.monotonic() - start >= 0.08
        served.tell("delay 0 30")
        took = []
        for _ in range(10):
            start = time.monotonic()
            client.cyclic.RefreshFeedback()
            took.append(time.monotonic() - start)
        assert max(took) - min(took) > 0.005


def test_a_frozen_arm_keeps_moving_and_answers_when_it_wakes_up(served: ServedArm) -> None:
    with Client(served) as client:
        client.base.SendJointSpeedsCommand(SLOWLY)
        wait_for(lambda: served.moving)
        served.tell("freeze on")
        with pytest.raises(TimeoutError):
            client.base.Stop(options=QUICK)
        assert served.moving  # nobody knows how to stop it: that is what a watchdog on this side can not change
        served.tell("freeze off")
        wait_for(lambda: not served.moving)  # the stop that was waiting


def test_through_a_cut_cable_nothing_comes_and_the_arm_stops_by_itself(served: ServedArm) -> None:
    with Client(served, timeouts_ms=(60000, 300)) as client, Client(served, udp=True) as fast:
        client.base.SendJointSpeedsCommand(SLOWLY)
        wait_for(lambda: served.moving)
        served.tell("cable cut")
        assert answered(fast, 3) == 0
        wait_for(lambda: not served.moving)
        served.tell("cable back")
        wait_for(lambda: answered(fast, 1))
        client.base.GetArmState()


def test_sessions_are_refused_and_ended(served: ServedArm) -> None:
    with Client(served) as client:
        served.tell("sessions refuse")
        other = Client(served)
        assert sub_error(other.log_in) == "INVALID_SESSION"
        served.tell("sessions accept")
        other.log_in()
        served.tell("sessions end")
        assert sub_error(client.base.Stop) == "INVALID_USER_SESSION_ACCESS"
        other.hang_up()


def test_somebody_else_takes_control(served: ServedArm) -> None:
    with Client(served) as client:
        client.base.SendJointSpeedsCommand(SLOWLY)
        wait_for(lambda: served.moving)
        served.tell("control steal")
        wait_for(lambda: not served.moving)
        assert sub_error(client.base.SendJointSpeedsCommand, SLOWLY) == "SESSION_NOT_IN_CONTROL"
        feedback = client.cyclic.RefreshFeedback()
        assert feedback.base.active_state_connection_identifier not in (0, client.router.session_id)
        client.base.Stop()
        served.tell("control release")
        client.base.SendJointSpeedsCommand(SLOWLY)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_every_named_fault_can_be_raised_and_is_cleared(served: ServedArm, device: Any) -> None:
    with Client(served) as client:
        for name in fault_names(device):
            served.tell(f"fault {name} {device.name}")
            feedback = client.cyclic.RefreshFeedback()
            banks = {
                "base": feedback.base.fault_bank_a,
                "interconnect": feedback.interconnect.fault_bank_a,
                "gripper": feedback.interconnect.gripper_feedback.fault_bank_a,
                **{f"joint_{n}": a.fault_bank_a for n, a in enumerate(feedback.actuators, start=1)},
            }
            assert banks.pop(device.name) == device.bank.Value(name)
            assert set(banks.values()) == {0}
            assert feedback.base.active_state == Common.ARMSTATE_IN_FAULT
            client.base.ClearFaults()
        served.tell(f"fault {fault_names(device)[0]} {device.name} lasting")
        client.base.ClearFaults()
        assert client.base.GetArmState().active_state == Common.ARMSTATE_IN_FAULT
        served.tell("mend")
        client.base.ClearFaults()
        assert client.base.GetArmState().active_state == Common.ARMSTATE_SERVOING_READY


def test_a_lost_joint_and_a_jammed_gripper(served: ServedArm) -> None:
    with Client(served) as client:
        served.tell("lose joint_2")
        start = served.measured.positions[1]
        client.base.SendJointSpeedsCommand(
            Base.JointSpeeds(joint_speeds=[Base.JointSpeed(joint_identifier=i, value=15.0) for i in range(7)])
        )
        wait_for(lambda: client.cyclic.RefreshFeedback().actuators[1].fault_bank_a == 1)
        assert served.measured.positions[1] == pytest.approx(start)
        served.tell("follow")
        client.base.ClearFaults()
        served.tell("jam on")
        command = Base.GripperCommand(mode=Base.GRIPPER_POSITION)
        command.gripper.finger.add(value=1.0)
        client.base.SendGripperCommand(command)
        time.sleep(0.2)
        assert served.measured.gripper == pytest.approx(0.0)
        served.tell("jam off")
        wait_for(lambda: served.measured.gripper > 0.9)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("drip 20", "did you mean 'drop'"),
        ("", "unknown misbehaviour ''"),
        ("drop", "expected percent, each 0 to 100"),
        ("drop 120", "expected percent"),
        ("drop nan", "expected percent"),
        ("freeze maybe", "legal: off, on"),
        ("fault FOLLOWING_EROR", "did you mean 'FOLLOWING_ERROR'"),
        ("fault FOLLOWING_ERROR base", "unknown fault of base"),
        ("fault FOLLOWING_ERROR joint_9", "unknown device of the arm 'joint_9'"),
        ("lose elbow", "unknown joint to lose 'elbow'"),
    ],
)
def test_words_that_are_not_understood_are_errors_that_help(served: ServedArm, words: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        served.tell(words)


def test_the_state_can_be_asked_for(served: ServedArm) -> None:
    with Client(served):
        served.tell("fault FOLLOWING_ERROR joint_3")
        state = json.loads(served.tell("state"))
        assert state["arm_state"] == "IN_FAULT"
        assert state["faults"] == ["joint_3: FOLLOWING_ERROR"]
        assert len(state["sessions"]) == 1
        assert len(state["positions_rad"]) == 7


def test_the_control_port_passes_words_on(served: ServedArm) -> None:
    port = ControlPort(lambda arm, text: f"{arm}:{served.tell(text)}", 0)
    port.start()
    try:
        assert ask(port.port, "drop 20", "left") == "left:done"
        assert served.server.network.drop == pytest.approx(0.2)
        with pytest.raises(ConfigurationError, match="did you mean 'drop'"):
            ask(port.port, "drip 20")
        with socket.create_connection(("127.0.0.1", port.port)) as connection:
            connection.sendall(b"what?\n[1]\n")
            with connection.makefile() as lines:
                assert [json.loads(lines.readline())["ok"] for _ in range(2)] == [False, False]
        with pytest.raises(ConfigurationError, match="can not be opened"):
            ControlPort(lambda arm, text: "", port.port)
    finally:
        port.close()
    with pytest.raises(ConfigurationError, match="no simulator answers"):
        ask(port.port, "state")


def test_a_port_in_use_is_named(served: ServedArm) -> None:
    for address in (
        Address(tcp_port=served.server.address.tcp_port, udp_port=0),
        Address(tcp_port=0, udp_port=served.server.address.udp_port),
    ):
        with pytest.raises(ConfigurationError, match="can not listen at 127.0.0.1"):
            Server(served.router, address)


def test_two_free_ports_are_two(served: ServedArm, monkeypatch: pytest.MonkeyPatch) -> None:
    bind, taken = server._bound, free_port()
    asked = iter([taken, taken, 0])
    monkeypatch.setattr(server, "_bound", lambda kind, host, _port: bind(kind, host, next(asked)))
    both = Server(served.router, Address(tcp_port=0, udp_port=0))
    try:
        assert both.address.udp_port == taken != both.address.tcp_port
    finally:
        both.start()
        both.close()


# -- the program -------------------------------------------------------------------------------------------------------

RUN = "import sys; from kinova_driver.simulator.cli import main; sys.exit(main())"


def program(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    """The first of 30 ports in a row that are free, below those that the system gives to whoever asks for any."""
    while True:
        first = random.randrange(20000, 32000)
        with ExitStack() as stack, suppress(OSError):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                for port in range(first, first + 30):
                    stack.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
            return first


@pytest.mark.sim
def test_two_arms_are_served_by_one_program_and_told_apart() -> None:
    port = free_port()
    options = ["--task", "stack_three", "--tcp-port", str(port), "--udp-port", str(port + 1), "--misbehave", "jam on"]
    process = program(*options)
    try:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("ready"):
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        assert f"left: Kinova Gen3 at 127.0.0.1, TCP {port}, UDP {port + 1}" in lines[0]
        assert f"right: Kinova Gen3 at 127.0.0.1, TCP {port + 2}, UDP {port + 3}" in lines[1]
        tell = program("tell", "fault", "FOLLOWING_ERROR", "--arm", "right", "--control-port", str(port + 19))
        assert tell.communicate(timeout=AWAIT_S)[0] == "joint_1 reports FOLLOWING_ERROR\n"
        states = [json.loads(ask(port + 19, "state", arm)) for arm in ("left", "right")]
        assert [state["arm_state"] for state in states] == ["SERVOING_READY", "IN_FAULT"]
        before = states[0]["positions_rad"]
        assert ask(port + 19, "reset 5") == "done"
        after = json.loads(ask(port + 19, "state", "left"))["positions_rad"]
        assert np.abs(np.subtract(before, after)).max() > 1e-3
        with pytest.raises(ConfigurationError, match="was started with the arms left, right"):
            ask(port + 19, "reset 5 lift")
        with pytest.raises(ConfigurationError, match="did you mean 'left'"):
            ask(port + 19, "state", "lift")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=AWAIT_S)
        assert process.returncode == 0, output
        assert "Traceback" not in output
    finally:
        process.kill()
        process.wait()


@pytest.mark.sim
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--task", "juggle"], "unknown task 'juggle'"),
        (
            ["--misbehave", "drip 3", "--tcp-port", "0", "--udp-port", "0", "--control-port", "{free}"],
            "did you mean 'drop'",
        ),
    ],
)
def test_the_program_says_what_is_wrong(arguments: list[str], complaint: str) -> None:
    process = program(*(argument.format(free=free_port()) for argument in arguments))
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 1
    assert complaint in output
    assert "Traceback" not in output
