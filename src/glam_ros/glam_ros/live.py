"""A running graph: its processes, and a node of this process that looks on. Used by `glam up` and `glam demo`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import rclpy
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from glam_core.errors import GlamError
from glam_ros.graph import Graph
from glam_ros.readiness import Readiness
from glam_ros.resources import graph_environment
from glam_ros.supervisor import Sink, Supervisor

SPIN_S = 0.05
TAIL_LINES = 12
ANSWER_S = 3.0


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment of this process for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class GraphError(GlamError):
    """A process of the graph ended, or did not become ready."""


class Interrupted(GraphError):
    """A person ended the graph."""


class LiveGraph(AbstractContextManager):
    """Starts a graph on entering, ends it on leaving. Between the two, `wait` runs the callbacks of `node`.

    Every wait ends early, with an error, when a process of the graph ends or a person presses Ctrl-C.
    """

    def __init__(self, graph: Graph, sink: Sink, node_name: str, domain: int | None = None) -> None:
        """Prepares the graph.

        Args:
            graph: What to start.
            sink: Takes every line of output.
            node_name: Name of the node that looks on.
            domain: ROS domain of the graph; None for the shell's, or else the station's.
        """
        self._graph, self._sink, self._node_name, self._domain = graph, sink, node_name, domain
        self._tails: dict[str, deque[str]] = {process.label: deque(maxlen=TAIL_LINES) for process in graph.processes}
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        environment = graph_environment(self._domain, self._graph.domain)
        self._handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        self._supervisor = Supervisor(self._graph.processes, self._take_line, environment)
        try:
            self._context = Context()
            # DDS reads the variables when the first participant of a process is made.
            with variables(environment):
                rclpy.init(context=self._context, args=[], signal_handler_options=SignalHandlerOptions.NO)
                self.node = Node(self._node_name, context=self._context)
            self._executor = SingleThreadedExecutor(context=self._context)
            self._executor.add_node(self.node)
        except BaseException:
            self._supervisor.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
        self._context.destroy()
        self._supervisor.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def pids(self) -> dict[str, int]:
        """Label of a process to its id."""
        return self._supervisor.pids

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until every lifecycle node is active.

        Raises:
            GraphError: One did not become active in time; the message says which, and how it is.
        """
        readiness = Readiness(self.node, self._graph.lifecycle)
        if not self.wait(lambda: not readiness.waiting_for, timeout_s):
            states = ", ".join(f"{name} is {state}" for name, state in readiness.waiting_for.items())
            raise GraphError(f"the graph did not become ready within {timeout_s:g} s: {states}")
        readiness.close()

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Runs the node's callbacks until the condition holds; False where it did not within the time.

        Raises:
            GraphError: A process ended; the message has its last lines.
            Interrupted: A person pressed Ctrl-C.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._require_alive()
            if time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=SPIN_S)
        return True

    def call(self, client: Client, request: Any, timeout_s: float) -> Any:
        """Calls a service, which has to be harmless when repeated, and waits for its answer.

        An answer that is lost, as happens while the nodes are still discovering each other, is asked for again.

        Raises:
            GraphError: The service is not there or does not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        if not self.wait(client.service_is_ready, timeout_s):
            raise GraphError(f"the service {client.srv_name} is not there")
        while (left_s := deadline - time.monotonic()) > 0.0:
            future = client.call_async(request)
            if self.wait(future.done, min(left_s, ANSWER_S)):
                return future.result()
            client.remove_pending_request(future)
        raise GraphError(f"the service {client.srv_name} did not answer within {timeout_s:g} s")

    def _require_alive(self) -> None:
        if self._stop.is_set():
            raise Interrupted("interrupted")
        for name, status in self._supervisor.ended().items():
            lines = "\n  ".join(self._tails[name])
            raise GraphError(f"the process {name} ended with status {status}; its last lines:\n  {lines}")

    def _take_line(self, name: str, line: str) -> None:
        self._tails[name].append(line)
        self._sink(name, line)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
