"""Whether the nodes of a graph are ready, asked of the nodes themselves."""

from __future__ import annotations

from collections.abc import Iterable

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from rclpy.task import Future

ASK_PERIOD_S = 0.1


class Readiness:
    """Asks lifecycle nodes for their state until every one is active. The owner spins the node."""

    def __init__(self, node: Node, names: Iterable[str]) -> None:
        """Begins to ask.

        Args:
            node: The node that asks; its executor has to be spun.
            names: Full names of the lifecycle nodes.
        """
        self._node = node
        self._clients = {name: node.create_client(GetState, f"{name}/get_state") for name in names}
        self._asked: dict[str, Future] = {}
        self.states: dict[str, str] = dict.fromkeys(self._clients, "not there")
        self._timer = node.create_timer(ASK_PERIOD_S, self._ask)

    @property
    def waiting_for(self) -> dict[str, str]:
        """The nodes that are not active yet, and how they are."""
        return {name: state for name, state in self.states.items() if state != "active"}

    def close(self) -> None:
        """Ceases to ask."""
        self._node.destroy_timer(self._timer)
        for client in self._clients.values():
            self._node.destroy_client(client)

    def _ask(self) -> None:
        for name in self.waiting_for:
            asked = self._asked.get(name)
            if asked is not None and asked.done():
                self._note(name, asked)
            if name not in self._asked and self._clients[name].service_is_ready():
                self._asked[name] = self._clients[name].call_async(GetState.Request())

    def _note(self, name: str, asked: Future) -> None:
        state: State = asked.result().current_state
        self.states[name] = state.label
        del self._asked[name]
