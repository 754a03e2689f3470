"""A simulated arm in a process of its own, for benchmarks."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from glam_core.errors import GlamError
from glam_core.station import ArmConfig
from kinova_driver.simulator.control_port import ask

_READY_S = 30.0


@dataclass(frozen=True)
class Simulated:
    """A running simulator."""

    arm: ArmConfig
    """Its arm in a station file."""
    control_port: int

    def tell(self, words: str) -> str:
        """Makes it misbehave; see `kinova-sim tell`."""
        return ask(self.control_port, words)


def free_ports() -> tuple[int, int, int]:
    """Three different ports of loopback that nobody uses: TCP, UDP, and TCP again."""
    while True:
        with contextlib.ExitStack() as stack:
            ports = []
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_STREAM):
                probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        if len(set(ports)) == len(ports):  # a port of one kind may be free where one of the other is taken
            return ports[0], ports[1], ports[2]


@contextlib.contextmanager
def simulator(task: str = "lift", **changes: object) -> Iterator[Simulated]:
    """A `kinova-sim` with one arm in a process of its own, for as long as the context lasts.

    Args:
        task: What stands on the table.
        changes: Of the arm's entry in a station file.
    """
    tcp_port, udp_port, control_port = free_ports()
    command = [sys.executable, "-c", "import sys; from kinova_driver.simulator.cli import main; sys.exit(main())"]
    command += ["--task", task, "--tcp-port", str(tcp_port), "--udp-port", str(udp_port)]
    process = subprocess.Popen(
        [*command, "--control-port", str(control_port)], stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready"):
                break
        else:
            raise GlamError("kinova-sim ended before it was ready")
        where = {"address": "127.0.0.1", "tcp_port": tcp_port, "udp_port": udp_port}
        yield Simulated(ArmConfig.model_validate({"name": "arm"} | where | changes), control_port)
    finally:
        process.terminate()
        process.wait(_READY_S)
