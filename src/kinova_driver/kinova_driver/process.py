"""What a process does with its nodes: spin them in one thread, survive a second Ctrl-C, close them in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from glam_core.errors import GlamError

_SPIN_S = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def quick_executor() -> Executor:
    """An executor with less work per callback than the usual one, where this rclpy has it.

    It serves no guard conditions, and fails now and then where clients come and go: for nodes whose parts stay.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def run(
    build: Callable[[ExitStack], list[Node]], make_executor: Callable[[], Executor] = SingleThreadedExecutor
) -> int:
    """Runs nodes until SIGINT or SIGTERM.

    Args:
        build: Makes the nodes; what it puts on the stack is closed in reverse order before the nodes are destroyed.
        make_executor: Makes what runs their callbacks.

    Returns:
        The exit status: 0 after a signal, 1 where the nodes can not be made.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    over = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: over.set())
    executor = make_executor()
    try:
        with ExitStack() as stack:
            for node in build(stack):
                executor.add_node(node)
            while not over.is_set():
                executor.spin_once(timeout_sec=_SPIN_S)
        return 0
    except GlamError as error:
        get_logger("kinova_driver").fatal(str(error))
        return 1
    finally:
        executor.shutdown()
        try_shutdown()
        for number in _SIGNALS:  # while Python ends, a second Ctrl-C would kill it
            signal.signal(number, signal.SIG_IGN)
