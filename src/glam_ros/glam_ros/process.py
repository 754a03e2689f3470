"""What every node process does: start, configure, activate, spin in one thread, survive a second Ctrl-C, clean up."""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy import utilities
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from glam_core.errors import GlamError

SPIN_PERIOD_S = 0.2
"""How soon a signal is noticed while no message arrives."""


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
    make_node: Callable[[], Node],
    arguments: list[str] | None = None,
    make_executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Runs one node until SIGINT or SIGTERM.

    A lifecycle node with a true parameter `autostart` is configured and activated first, and must not fail at it.

    Args:
        make_node: Builds the node; rclpy is initialised by then.
        arguments: Command line with ROS arguments; default `sys.argv`.
        make_executor: Makes what runs the node's callbacks.

    Returns:
        The exit status: 0 after a signal, 1 where the node could not be built, configured or activated.
    """
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop = _stop_on_signals()
    node: Node | None = None
    try:
        node = make_node()
        if isinstance(node, LifecycleNode) and not _autostart(node):
            return 1
        spin(node, stop, make_executor())
        return 0
    except GlamError as error:
        get_logger("glam_ros").fatal(str(error))
        return 1
    finally:
        if node is not None:
            close(node)
        utilities.try_shutdown()


def main(make_node: Callable[[], Node], make_executor: Callable[[], Executor] = SingleThreadedExecutor) -> None:
    """The body of an entry point: `run`, then leave with its exit status."""
    sys.exit(run(make_node, make_executor=make_executor))


def spin(node: Node, stop: threading.Event, executor: Executor) -> None:
    """Serves the node's callbacks in this thread until `stop` is set or the context is shut down."""
    executor.add_node(node)
    try:
        while not stop.is_set() and utilities.ok():
            executor.spin_once(timeout_sec=SPIN_PERIOD_S)
    except ExternalShutdownException:
        pass
    finally:
        executor.remove_node(node)
        executor.shutdown()


def close(node: Node) -> None:
    """Runs a lifecycle node's shutdown transition, which releases its threads and devices, and destroys the node."""
    if isinstance(node, LifecycleNode) and utilities.ok() and label(node) in ("unconfigured", "inactive", "active"):
        node.trigger_shutdown()
    node.destroy_node()
    if isinstance(node, LifecycleNode):  # rclpy forgets the lifecycle's services, which would keep the node in DDS
        node._state_machine.destroy_when_not_in_use()


def label(node: LifecycleNode) -> str:
    """The lifecycle state: unconfigured, inactive, active or finalized."""
    return node._state_machine.current_state[1]


def refuse_on_error(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., TransitionCallbackReturn]:
    """Makes a transition callback fail, with the error in the log, where rclpy would swallow what it raises."""

    @functools.wraps(transition)
    def guarded(node: LifecycleNode, state: LifecycleState, *rest: Any) -> TransitionCallbackReturn:
        try:
            return transition(node, state, *rest)
        except GlamError as error:
            node.get_logger().error(f"{transition.__name__.removeprefix('on_')} refused: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            node.get_logger().fatal(f"{transition.__name__} failed: {type(error).__name__}: {error}")
            raise

    return guarded


def _autostart(node: LifecycleNode) -> bool:
    if not node.get_parameter("autostart").value:
        return True
    if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
        return False
    return node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def _stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set, the second one as harmlessly as the first."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop
