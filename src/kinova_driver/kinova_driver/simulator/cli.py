"""`kinova-sim`: a simulated Kinova Gen3, or two, for any program that speaks Kortex. No ROS is needed.

kinova-sim --task stack_two --seed 3
kinova-sim tell drop 20
kinova-sim tell fault FOLLOWING_ERROR joint_3 --arm left
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from glam_core.errors import GlamError
from glam_sim.tasks import TASKS
from kinova_driver.episode import known_task
from kinova_driver.simulator.arm import ArmOptions
from kinova_driver.simulator.control_port import ControlPort, ask
from kinova_driver.simulator.kortex_cell import KortexCell
from kinova_driver.simulator.router import Firmware
from kinova_driver.simulator.server import LOOPBACK, Address

PORTS_PER_ARM = 2
CONTROL_PORT_OFFSET = 19
"""From the first TCP port to the control port."""
_DEFAULT_TCP_PORT = 10000


@dataclass(frozen=True)
class ServeOptions:
    """Serves the arms of a simulated cell over the Kortex protocol until Ctrl-C."""

    task: str = "stack_two"
    """What stands on the table, and with it whether one arm works there or two (stack_three)."""
    seed: int = 0
    """Decides where things stand."""
    host: str = LOOPBACK
    """Where to listen. Whoever can reach it can move the arm, as with a real one."""
    tcp_port: int = _DEFAULT_TCP_PORT
    """TCP port of the first arm; the second one has the next but one."""
    udp_port: int = _DEFAULT_TCP_PORT + 1
    """UDP port of the first arm; the second one has the next but one."""
    control_port: int = 0
    """Where `kinova-sim tell` speaks to it, on loopback alone; 0 stands for the TCP port + 19."""
    user: str = "admin"
    """Who may log in."""
    password: str = "admin"
    """With which password."""
    refresh_command: bool = False
    """Know the call BaseCyclic.RefreshCommand, which some firmware does not."""
    answer_strangers: bool = True
    """Answer requests without a session with an error, instead of not at all."""
    misbehave: tuple[str, ...] = ()
    """What is wrong from the start, each in quotes, such as: "drop 20" "jam on"."""


@dataclass(frozen=True)
class TellOptions:
    """Says something to a running simulator."""

    words: Annotated[tuple[str, ...], tyro.conf.Positional]
    """What: drop 20, delay 5 2, freeze on, cable cut, sessions refuse, control steal, fault NAME DEVICE, mend,
    lose joint_3, follow, jam on, emergency_stop, clear_faults, behave, state, reset SEED TASK."""
    arm: str = ""
    """Which arm; all of them where it is empty."""
    control_port: int = _DEFAULT_TCP_PORT + CONTROL_PORT_OFFSET
    """Its control port."""


def arm_options(options: ServeOptions) -> dict[str, ArmOptions]:
    """How every arm of the task is served."""
    firmware = Firmware(options.refresh_command, options.answer_strangers)
    names = TASKS[known_task(options.task)].layout.arm_names
    return {
        name: ArmOptions(
            Address(options.host, options.tcp_port + PORTS_PER_ARM * index, options.udp_port + PORTS_PER_ARM * index),
            options.user,
            options.password,
            firmware,
        )
        for index, name in enumerate(names)
    }


def serve(options: ServeOptions, over: threading.Event) -> None:
    """Runs a simulator until `over` is set."""
    cell = KortexCell(options.task, options.seed, arm_options(options))
    try:
        cell.start()
        control = ControlPort(cell.tell, options.control_port or options.tcp_port + CONTROL_PORT_OFFSET)
        try:
            control.start()
            for text in options.misbehave:
                cell.tell("", text)
            for name, arm in cell.arms.items():
                where = arm.server.address
                print(f"{name}: Kinova Gen3 at {where.host}, TCP {where.tcp_port}, UDP {where.udp_port}, ", end="")
                print(f"user {options.user}")
            print(f"task {options.task}, seed {options.seed}; kinova-sim tell state --control-port {control.port}")
            print("ready; Ctrl-C ends it", flush=True)
            over.wait()
        finally:
            control.close()
    finally:
        cell.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `kinova-sim`; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["tell"]:
            told = tyro.cli(TellOptions, prog="kinova-sim tell", args=given[1:])
            print(ask(told.control_port, " ".join(told.words), told.arm))
            return 0
        options = tyro.cli(ServeOptions, prog="kinova-sim", description=__doc__, args=given)
        over = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        sys.setswitchinterval(0.001)  # physics and sockets share the interpreter: neither shall wait long
        serve(options, over)
    except GlamError as error:
        print(f"kinova-sim: {error}", file=sys.stderr)
        return 1
    return 0
