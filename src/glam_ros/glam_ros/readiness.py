"""Whether the nodes of a graph are ready, asked of the nodes themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from rclpy.task import Future

ASK_PERIOD_S = 0.1
ASKS_PER_QUESTION = 10
"""A question that was not answered after so many periods is asked again: an answer can be lost during discovery."""


@dataclass(frozen=True)
class Question:
    """A call that waits for its answer, for so many periods already."""

    answer: Future
    periods: int = 0


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
        self._questions: dict[str, Question] = {}
        self._states: dict[str, str] = dict.fromkeys(self._clients, "not there")
        self._timer = node.create_timer(ASK_PERIOD_S, self._ask)

    @property
    def waiting_for(self) -> dict[str, str]:
        """The nodes that are not active yet, and how they are."""
        return {name: state for name, state in self._states.items() if state != "active"}

    def close(self) -> None:
        """Ceases to ask."""
        self._node.destroy_timer(self._timer)
        for client in self._clients.values():
            self._node.destroy_client(client)

    def _ask(self) -> None:
        for name in self.waiting_for:
            question = self._questions.pop(name, None)
            if question is not None and question.answer.done():
                self._states[name] = question.answer.result().current_state.label
            elif question is not None and question.periods < ASKS_PER_QUESTION:
                self._questions[name] = replace(question, periods=question.periods + 1)
            elif self._clients[name].service_is_ready():
                self._questions[name] = Question(self._clients[name].call_async(GetState.Request()))
