"""Frames in, frames out: sessions, calls, errors and notifications of one arm. No sockets; time is an argument."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

from kinova_driver.kortex import frame
from kinova_driver.kortex.definitions import Api, Common, ErrorCodes, Session, SubErrorCodes
from kinova_driver.kortex.frame import Header, WireError
from kinova_driver.kortex.services import METHODS, Method
from kinova_driver.simulator.base_service import BaseService, Call, Handler
from kinova_driver.simulator.config_services import ConfigServices
from kinova_driver.simulator.cyclic_service import CyclicService
from kinova_driver.simulator.notifications import Notifications
from kinova_driver.simulator.robot import Refusal, Robot
from kinova_driver.simulator.sessions import Sessions

_DEVICE, _PROTOCOL = ErrorCodes.Value("ERROR_DEVICE"), ErrorCodes.Value("ERROR_PROTOCOL_SERVER")
_FOREIGN_SERVICES = {5, 11, 14, 15, 17}
"""Services that an arm has and this one has not: it knows none of their calls."""


@dataclass(frozen=True)
class Firmware:
    """Where firmware versions differ, or are not known to agree.

    Attributes:
        refresh_command: Knows BaseCyclic.RefreshCommand.
        answers_strangers: Answers requests without a session with an error, instead of not at all.
    """

    refresh_command: bool = False
    answers_strangers: bool = True


class Outgoing(NamedTuple):
    """A frame and the connection that it goes to."""

    connection: Hashable
    data: bytes


class Router:
    """What the robot does with frames. `lock` guards the robot, its sessions and this."""

    def __init__(self, robot: Robot, sessions: Sessions, firmware: Firmware) -> None:
        self.lock = threading.RLock()
        self.robot, self.sessions = robot, sessions
        self._firmware = firmware
        self._notifications = Notifications()
        config = ConfigServices(robot)
        self._handlers: dict[str, dict[str, Handler]] = {
            "Base": BaseService(robot).handlers,
            "BaseCyclic": CyclicService(robot, firmware.refresh_command).handlers,
            **config.handlers,
        }

    def handle(self, connection: Hashable, data: bytes, now: float) -> list[Outgoing]:
        """Answers a frame; what is no request is not answered."""
        try:
            header, payload = frame.decode(data)
        except WireError:
            return []
        if header.frame_type != frame.REQUEST:
            return []
        with self.lock:
            answer = self._answer(connection, header, payload, now)
            return ([Outgoing(connection, answer)] if answer else []) + self.tick(now)

    def tick(self, now: float) -> list[Outgoing]:
        """Judges the time-outs; returns the notifications that are due."""
        with self.lock:
            expired = self.sessions.expire(now)
            for session in expired.silent:
                self.robot.silence(session)
            for session in expired.ended:
                self._end(session)
            events = list(self.robot.events)
            self.robot.events.clear()
            return [
                Outgoing(push.subscription.connection, self._notification(push.subscription, push.payload))
                for push in self._notifications.publish(events, now)
            ]

    def forget(self, connection: Hashable) -> None:
        """A connection is gone. Its session stays until it times out, as in the arm."""
        with self.lock:
            self._notifications.forget(connection)

    def end_all_sessions(self) -> None:
        """Throws everybody out."""
        with self.lock:
            for session in self.sessions.all():
                self.sessions.close(session.identifier)
                self._end(session.identifier)

    def _answer(self, connection: Hashable, header: Header, payload: bytes, now: float) -> bytes | None:
        method = METHODS.get((header.service_id, header.function_id))
        if method is None:
            known = header.service_id in {service for service, _ in METHODS} | _FOREIGN_SERVICES
            return _error(header, _PROTOCOL, "UNSUPPORTED_METHOD" if known else "UNSUPPORTED_SERVICE")
        try:
            request = frame.parse(method.request, payload)
        except WireError:
            return _error(header, _PROTOCOL, "PAYLOAD_DECODING_ERR")
        try:
            if method.service == "Session":
                return self._session_call(method, request, connection, header, now)
            session = self.sessions.hear(connection, header.session_id, now).identifier
            response = self._call(method, request, connection, Call(session, header.device_id, now))
        except Refusal as refusal:
            if refusal.sub_error == "INVALID_USER_SESSION_ACCESS" and not self._firmware.answers_strangers:
                return None
            if refusal.sub_error == "UNSUPPORTED_METHOD":
                return _error(header, _PROTOCOL, refusal.sub_error)
            return _error(header, _DEVICE, refusal.sub_error, refusal.text)
        return _response(header, session, response)

    def _call(self, method: Method, request: Any, connection: Hashable, call: Call) -> Any:
        if method.notification is not None:
            identifier = self._notifications.subscribe(method, connection, call.session, call.device, call.now)
            return Common.NotificationHandle(identifier=identifier)
        if method.name == "Unsubscribe":
            return self._notifications.unsubscribe(request.identifier)
        handler = self._handlers.get(method.service, {}).get(method.name)
        if handler is None:
            raise Refusal("UNSUPPORTED_METHOD", "")
        return handler(request, call)

    def _session_call(
        self, method: Method, request: Any, connection: Hashable, header: Header, now: float
    ) -> bytes | None:
        if method.name == "CreateSession":
            timeouts_s = request.session_inactivity_timeout / 1e3, request.connection_inactivity_timeout / 1e3
            for previous in [s.identifier for s in self.sessions.all() if s.connection == connection]:
                self._end(previous)
            session = self.sessions.create(connection, request.username, request.password, timeouts_s, now)
            return _response(header, session.identifier, None)
        identifier = self.sessions.hear(connection, header.session_id, now).identifier
        if method.name == "CloseSession":
            self.sessions.close(identifier)
            self._end(identifier)
        elif method.name == "GetConnections":
            return _response(header, identifier, self._connections())
        return _response(header, identifier, None)

    def _connections(self) -> Any:
        connections = Session.ConnectionList()
        for session in self.sessions.all():
            connections.connection.add(
                connection_identifier=session.identifier,
                connection_information=str(session.connection),
                user_handle=Common.UserProfileHandle(identifier=1),
            )
        return connections

    def _end(self, session: int) -> None:
        self.robot.end_session(session)
        self._notifications.forget(session=session)

    def _notification(self, subscription: Any, payload: bytes) -> bytes:
        method = subscription.method
        header = Header(
            frame.NOTIFICATION,
            session_id=subscription.session,
            message_id=subscription.identifier,
            service_id=method.service_id,
            function_id=method.function_id,
        )
        return frame.encode(header, payload)


def _echo(header: Header, session: int, code: int = 0, sub_code: int = 0) -> Header:
    """The header of an answer: that of the request, as a response."""
    return Header(
        frame.RESPONSE,
        header.device_id,
        code,
        sub_code,
        session,
        header.message_id,
        header.service_id,
        header.function_id,
    )


def _response(header: Header, session: int, message: Any) -> bytes:
    return frame.encode(_echo(header, session), message.SerializeToString() if message is not None else b"")


def _error(header: Header, code: int, sub_error: str, text: str | None = None) -> bytes:
    """An error; protocol errors have no payload, as in the arm."""
    sub_code = SubErrorCodes.Value(sub_error)
    payload = b""
    if text is not None:
        error = Api.Error(error_code=code, error_sub_code=sub_code, error_sub_string=text)
        payload = error.SerializeToString()
    return frame.encode(_echo(header, header.session_id, code, sub_code), payload)
