"""`glam up`: the graph of a station with a model, where there is no `ros2 launch`."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass

import tyro
from std_srvs.srv import SetBool, Trigger

from glam_ros import choice, graph, topics
from glam_ros.graph import Place, Simulation
from glam_ros.live import GraphError, Interrupted, LiveGraph

READY_TIMEOUT_S = 60.0
FOREVER_S = float("inf")
RETRY_S = 0.1


@dataclass(frozen=True)
class UpOptions:
    """Starts the nodes of a station with a model, shows their output, and ends them all on Ctrl-C."""

    model: str = ""
    """Name of a shipped model, or path of a model folder; by default the one of `glam demo`."""
    station: str = ""
    """Name of a shipped station, or path of a station file; by default the simulated cell with as many arms as the
    model has."""
    task: str = ""
    """Task of a simulated cell; the model's where it is empty."""
    seed: int = 0
    """Seed of the first initial state of a simulated cell."""
    embodiment: str = "gen3"
    """What moves in a simulated cell."""
    enable: bool = False
    """Let the arms move as soon as everything is ready; otherwise a person enables the drivers."""
    domain: int | None = None
    """ROS domain; the shell's or the station's where it is not given."""


def main() -> int:
    """Runs `glam up`; returns the exit status."""
    options = tyro.cli(UpOptions)
    folder = choice.model_folder(options.model)
    place = Place.read(choice.station_file(options.station, folder))
    description = graph.deployment(place, folder, Simulation(options.task, options.seed, options.embodiment))
    printer = LinePrinter(max(len(process.label) for process in description.processes))
    with LiveGraph(description, printer.show, "glam_up", options.domain) as live:
        try:
            live.wait_ready(READY_TIMEOUT_S)
            printer.show("glam up", f"ready: {', '.join(live.pids)}. Ctrl-C ends it")
            if options.enable:
                enable(live, place)
            live.wait(lambda: False, FOREVER_S)
        except Interrupted:
            printer.show("glam up", "ending")
    return 0


def enable(live: LiveGraph, place: Place, timeout_s: float = 10.0) -> None:
    """Enables every driver of the station, as soon as it agrees.

    Faults of a simulated station are cleared first: a busy computer can cause them, and no person has to look. Those
    of a real arm are left to a person.

    Raises:
        GraphError: A driver goes on refusing; it says why.
    """
    deadline = time.monotonic() + timeout_s
    for arm in place.station.arms:
        client = live.node.create_client(SetBool, topics.of_arm(arm.namespace, topics.ENABLE_DRIVER))
        while True:
            if place.simulated:
                _clear_faults(live, arm.namespace, timeout_s)
            answer = live.call(client, SetBool.Request(data=True), timeout_s)
            if answer.success or time.monotonic() >= deadline:
                break
            live.wait(lambda: False, RETRY_S)
        live.node.destroy_client(client)
        if not answer.success:
            raise GraphError(f"the driver of arm '{arm.name}' can not be enabled: {answer.message}")


def _clear_faults(live: LiveGraph, namespace: str, timeout_s: float) -> None:
    """Acknowledges the faults of an arm; one that stays is named when the arm is enabled."""
    client = live.node.create_client(Trigger, topics.of_arm(namespace, topics.CLEAR_FAULTS))
    live.call(client, Trigger.Request(), timeout_s)
    live.node.destroy_client(client)


class LinePrinter:
    """Shows lines of several processes, each with the name of its process in front."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lock = threading.Lock()

    def show(self, name: str, line: str) -> None:
        """Writes one line; may be called from any thread."""
        with self._lock:
            sys.stdout.write(f"{name:<{self._width}} | {line}\n")
            sys.stdout.flush()
