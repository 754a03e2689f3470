"""Who wants to be told what: subscriptions, and the messages that events of the arm become."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kinova_driver.kortex.definitions import Base, Common, SubErrorCodes
from kinova_driver.kortex.services import Method
from kinova_driver.simulator.actions import PERMISSION
from kinova_driver.simulator.devices import DEVICES
from kinova_driver.simulator.robot import Event, Refusal

HOLD_BACK_S = 0.05
"""A client can take a notification only once it has worked off the answer to its subscription."""
_LAST_IDENTIFIER = 0xFFFF
_MOST_SUBSCRIPTIONS = 256
_TOPIC_OF = {
    "ACTION_START": "OnNotificationActionTopic",
    "ACTION_PAUSE": "OnNotificationActionTopic",
    "ACTION_END": "OnNotificationActionTopic",
    "ACTION_ABORT": "OnNotificationActionTopic",
    "SERVOING_MODE": "OnNotificationServoingModeTopic",
    "ARM_STATE": "OnNotificationArmStateTopic",
    "FAULT": "OnNotificationSafetyTopic",
}


@dataclass
class Subscription:
    """One client that wants to be told about one topic.

    Attributes:
        identifier: Unique among all topics.
        method: The call that subscribed.
        connection: Where to.
        session: Whose.
        device: The device that was asked; the base stands for all.
        not_before: Monotonic time, s, of the first push.
        waiting: Messages that are held back until then.
    """

    identifier: int
    method: Method
    connection: Hashable
    session: int
    device: int
    not_before: float
    waiting: deque[bytes] = field(default_factory=deque)


@dataclass(frozen=True)
class Push:
    """A message that goes out now."""

    subscription: Subscription
    payload: bytes


class Notifications:
    """The subscriptions of one arm."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, Subscription] = {}
        self._last = 0

    def subscribe(self, method: Method, connection: Hashable, session: int, device: int, now: float) -> int:
        """Takes a subscription; returns its identifier."""
        if len(self._subscriptions) >= _MOST_SUBSCRIPTIONS:
            raise Refusal("METHOD_FAILED", "there are too many subscriptions")
        while True:
            self._last = self._last % _LAST_IDENTIFIER + 1
            if self._last not in self._subscriptions:
                break
        self._subscriptions[self._last] = Subscription(
            self._last, method, connection, session, device, now + HOLD_BACK_S
        )
        return self._last

    def unsubscribe(self, identifier: int) -> None:
        """Ends a subscription; raises Refusal where there is none."""
        if self._subscriptions.pop(identifier, None) is None:
            raise Refusal("ENTITY_NOT_FOUND", f"there is no subscription {identifier}")

    def forget(self, connection: Hashable = None, session: int = 0) -> None:
        """Ends every subscription of a connection that is gone, or of a session that is over."""
        for subscription in tuple(self._subscriptions.values()):
            if subscription.connection == connection or (session and subscription.session == session):
                del self._subscriptions[subscription.identifier]

    def publish(self, events: Iterable[Event], now: float) -> list[Push]:
        """Turns events into messages; returns those that go out now, older ones first."""
        for event in events:
            name = _TOPIC_OF[event.what]
            for subscription in self._subscriptions.values():
                if subscription.method.name == name and _concerns(subscription, event):
                    subscription.waiting.append(_message(event).SerializeToString())
        pushes = []
        for subscription in self._subscriptions.values():
            while subscription.waiting and now >= subscription.not_before:
                pushes.append(Push(subscription, subscription.waiting.popleft()))
        return pushes


def _concerns(subscription: Subscription, event: Event) -> bool:
    return event.what != "FAULT" or subscription.device in (0, event.value)


def _message(event: Event) -> Any:
    """The notification of an event."""
    seconds = time.time()
    stamp = Common.Timestamp(sec=int(seconds), usec=int(seconds % 1.0 * 1e6))
    connection = Common.Connection(connection_identifier=event.session)
    if event.what == "ARM_STATE":
        return Base.ArmStateNotification(active_state=event.value, timestamp=stamp, connection=connection)
    if event.what == "SERVOING_MODE":
        return Base.ServoingModeNotification(servoing_mode=event.value, timestamp=stamp, connection=connection)
    if event.what == "FAULT":
        return Common.SafetyNotification(
            safety_handle=Common.SafetyHandle(identifier=DEVICES[event.value].bank.Value(event.fault)),  # type: ignore[attr-defined]
            value=Common.SAFETY_STATUS_ERROR if event.active else Common.SAFETY_STATUS_NORMAL,
            timestamp=stamp,
            connection=connection,
        )
    assert event.action is not None
    return Base.ActionNotification(
        action_event=Base.ActionEvent.Value(event.what),
        handle=Base.ActionHandle(
            identifier=event.action.identifier, action_type=event.action.kind, permission=PERMISSION
        ),
        timestamp=stamp,
        abort_details=SubErrorCodes.Value(event.abort) if event.abort else 0,
        connection=connection,
    )
