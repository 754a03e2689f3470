"""A stage's report on /diagnostics, once per second."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from glam_ros import convert, qos, topics
from glam_ros.meters import Health

PERIOD_S = 1.0


class Reporter:
    """Publishes what `examine` says of a node, whatever its lifecycle state."""

    def __init__(self, node: Node, examine: Callable[[float], Health]) -> None:
        """Starts the timer.

        Args:
            node: The node that reports.
            examine: Time (s, node clock) to the stage's health.
        """
        self._node, self._examine = node, examine
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, qos.STATUS)
        node.create_timer(PERIOD_S, self.report)

    def report(self) -> None:
        """Examines the stage and publishes the verdict."""
        now = clock_s(self._node)
        self._publisher.publish(convert.diagnostics_message([self._examine(now)], now))


def clock_s(node: Node) -> float:
    """The node clock, s."""
    return node.get_clock().now().nanoseconds * 1e-9
