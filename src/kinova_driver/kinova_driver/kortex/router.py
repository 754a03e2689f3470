"""Pairs answers with requests, and hands notifications to those who subscribed."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kinova_driver import faults
from kinova_driver.kortex import services
from kinova_driver.kortex.definitions import Api, ErrorCodes, SubErrorCodes
from kinova_driver.kortex.frame import NOTIFICATION, REQUEST, RESPONSE, Header, WireError, decode, encode, parse
from kinova_driver.kortex.transport import Transport

logger = logging.getLogger(__name__)

_EARLY = 32
"""How many notifications are kept for a subscription whose answer is still on its way."""
_BACKLOG = 1000
"""How many notifications may wait for slow callbacks; the oldest is given up then."""


class KException(Exception):
    """An error of the protocol, found on this side."""

    def __init__(self, error_code: int, error_sub_code: int, text: str) -> None:
        super().__init__(
            f"{faults.error_name(error_code, error_sub_code)}: {text}"
            if text
            else faults.error_name(error_code, error_sub_code)
        )
        self._codes = error_code, error_sub_code

    def get_error_code(self) -> int:
        """One of `ErrorCodes`."""
        return self._codes[0]

    def get_error_sub_code(self) -> int:
        """One of `SubErrorCodes`."""
        return self._codes[1]


class KServerException(KException):
    """An error that the arm answered with."""


@dataclass
class RouterClientSendOptions:
    """How a call is made.

    Attributes:
        andForget: Do not wait for the answer.
        delay_ms: There for programs that set it; calls are never delayed.
        timeout_ms: How long the answer is waited for.
    """

    andForget: bool = False  # noqa: N815
    delay_ms: int = 0
    timeout_ms: int = 10_000


class Call:
    """A request that was sent; with the two methods of a `Future` that a caller needs."""

    __slots__ = ("_answer", "_failure", "_method", "_open", "forget")

    def __init__(self, method: services.Method, forget: Callable[[], object]) -> None:
        self._method = method
        self.forget = forget
        """For whoever does not wait any more; of an answered call there is nothing left to forget."""
        self._open = threading.Lock()  # held until there is an answer: the cheapest thing that can be waited for
        self._open.acquire()
        self._answer: tuple[Header, bytes] | None = None
        self._failure = ""

    def done(self) -> bool:
        """Whether there is an answer, or will never be one."""
        return not self._open.locked()

    def result(self, timeout: float | None = None) -> tuple[Header, Any]:
        """The header and the message of the answer.

        Args:
            timeout: How long it is waited for, s; for ever when None. After that long the call is forgotten.

        Raises:
            KServerException: The arm answered with an error.
            TimeoutError: It did not answer in time.
            ConnectionError: The connection broke.
        """
        if not self._open.acquire(timeout=-1 if timeout is None else timeout):
            self.forget()
            raise TimeoutError(f"no answer to {self} within {1e3 * (timeout or 0.0):.0f} ms")
        self._open.release()
        if self._answer is None:
            raise ConnectionError(f"{self}: {self._failure}")
        header, payload = self._answer
        if header.error_code:
            raise _server_error(header, payload)
        return header, parse(self._method.response, payload)

    def answer(self, header: Header, payload: bytes) -> None:
        """The answer came in."""
        self._answer = header, payload
        self._open.release()

    def fail(self, reason: str) -> None:
        """There will be none."""
        self._failure = reason
        self._open.release()

    def __str__(self) -> str:
        return f"{self._method.service}.{self._method.name}"


class RouterClient:
    """Calls over one connection. Everything may be called from any thread, also from a notification's callback."""

    def __init__(self, transport: Transport, errorCallback: Callable[[KException], Any] | None = None) -> None:
        """Takes the connection over.

        Args:
            transport: The connection, open or to be opened.
            errorCallback: Told about frames that belong to nothing; the log by default.
        """
        self.transport = transport
        self.session_id = 0
        self.last_sent, self.last_received = 0.0, 0.0
        """Monotonic clock, s."""
        self.late = 0
        """Answers that came after their time-out, or that nobody asked for."""
        self._on_error = errorCallback or self.basicErrorCallback
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._message_id = 0
        self._callbacks: dict[tuple[int, int], Callable[[bytes], None]] = {}
        self._early: deque[tuple[tuple[int, int], bytes]] = deque(maxlen=_EARLY)
        self._notifications: queue.Queue[tuple[Callable[[bytes], None], bytes] | None] = queue.Queue(_BACKLOG)
        self._notifier: threading.Thread | None = None
        transport.attach(self)

    @staticmethod
    def basicErrorCallback(exception: KException) -> None:
        """Writes the error to the log."""
        logger.warning("%s", exception)

    @property
    def waiting(self) -> int:
        """How many calls wait for their answers."""
        return len(self._calls)

    def SetActivationStatus(self, status: bool) -> None:
        """What programs for the official client call with False at the end: `close`."""
        if not status:
            self.close()

    def close(self) -> None:
        """Fails the calls that wait and ends the callbacks' thread. The transport is left to its owner."""
        self.on_closed("the connection is closed on this side")
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            self._put(None)
            if notifier is not threading.current_thread():
                notifier.join()

    def call(
        self, method: services.Method, request: Any, device_id: int, options: RouterClientSendOptions
    ) -> tuple[Header, Any]:
        """Asks, and waits for the answer.

        Returns:
            The header and the message of the answer; of a call that is not waited for, empty ones.

        Raises:
            KServerException: The arm answered with an error.
            TimeoutError: It did not answer in time.
            ConnectionError: There is no connection, or it broke.
        """
        call = self.begin(method, request, device_id)
        if options.andForget:
            call.forget()
            return Header(REQUEST), method.response()
        return call.result(options.timeout_ms / 1000.0)

    def begin(self, method: services.Method, request: Any, device_id: int = 0) -> Call:
        """Asks, and does not wait for the answer.

        Raises:
            ConnectionError: There is no connection, or it broke.
        """
        message_id, call = self._register(method)
        header = Header(
            REQUEST,
            device_id=device_id,
            session_id=self.session_id,
            message_id=message_id,
            service_id=method.service_id,
            function_id=method.function_id,
        )
        try:
            self.last_sent = time.monotonic()
            self.transport.send(encode(header, request.SerializeToString()))
        except BaseException:
            call.forget()
            raise
        return call

    def subscribe(
        self,
        method: services.Method,
        callback: Callable[[Any], Any],
        request: Any,
        device_id: int,
        options: RouterClientSendOptions,
    ) -> Any:
        """Subscribes to a topic; `callback` gets its messages on a thread of their own.

        Returns:
            The handle to unsubscribe with.
        """
        kind = method.notification
        assert kind is not None
        _, handle = self.call(method, request, device_id, options)
        key = method.service_id, handle.identifier
        with self._lock:
            if self._notifier is None:
                self._notifier = threading.Thread(target=self._notify, name="kortex-notifications", daemon=True)
                self._notifier.start()
            self._callbacks[key] = lambda payload: callback(parse(kind, payload))
            early = [payload for owner, payload in self._early if owner == key]
            self._early = deque((entry for entry in self._early if entry[0] != key), _EARLY)
        for payload in early:
            self._queue(key, payload)
        return handle

    def unsubscribed(self, service_id: int, identifier: int) -> None:
        """Forgets a callback."""
        with self._lock:
            self._callbacks.pop((service_id, identifier), None)

    def on_frame(self, frame: bytes) -> None:
        """A frame came in; called by the transport."""
        self.last_received = time.monotonic()
        try:
            header, payload = decode(frame)
        except WireError as error:
            self._complain(SubErrorCodes.Value("FRAME_DECODING_ERR"), str(error))
            return
        if header.frame_type == RESPONSE:
            with self._lock:
                call = self._calls.pop(header.message_id, None)
            if call is None:
                self.late += 1
                return
            call.answer(header, payload)
        elif header.frame_type == NOTIFICATION:
            self._queue((header.service_id, header.message_id), payload)
        else:
            text = f"a frame of type {header.frame_type} came in"
            self._complain(SubErrorCodes.Value("UNSUPPORTED_FRAME_TYPE"), text)

    def on_closed(self, reason: str) -> None:
        """The connection is over; called by the transport."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
        for call in calls:
            call.fail(reason)

    def _register(self, method: services.Method) -> tuple[int, Call]:
        with self._lock:
            if len(self._calls) > 0xFFFF // 2:
                raise ConnectionError(f"{len(self._calls)} calls wait for answers; that is too many")
            while True:
                self._message_id = (self._message_id + 1) & 0xFFFF
                if self._message_id not in self._calls:
                    break
            message_id = self._message_id
            call = self._calls[message_id] = Call(method, lambda: self._forget(message_id))
            return message_id, call

    def _forget(self, message_id: int) -> None:
        with self._lock:
            self._calls.pop(message_id, None)

    def _queue(self, key: tuple[int, int], payload: bytes) -> None:
        with self._lock:
            callback = self._callbacks.get(key)
            if callback is None:
                self._early.append((key, payload))
        if callback is None:
            text = f"a notification {key[1]} of service {key[0]} came in that nobody subscribed to"
            self._complain(SubErrorCodes.Value("UNREGISTERED_NOTIFICATION_RECEIVED"), text)
            return
        self._put((callback, payload))

    def _put(self, item: tuple[Callable[[bytes], None], bytes] | None) -> None:
        while True:
            try:
                self._notifications.put_nowait(item)
                return
            except queue.Full:
                with suppress(queue.Empty):
                    self._notifications.get_nowait()

    def _notify(self) -> None:
        while (item := self._notifications.get()) is not None:
            callback, payload = item
            try:
                callback(payload)
            except Exception:  # the next notification must be delivered
                logger.exception("a callback of a notification failed")

    def _complain(self, sub_code: int, text: str) -> None:
        self._on_error(KException(ErrorCodes.Value("ERROR_PROTOCOL_CLIENT"), sub_code, text))


def _server_error(header: Header, payload: bytes) -> KServerException:
    """The error of an answer: the one in its payload, or the numbers of its header where there is none."""
    code, sub_code, text = header.error_code, header.error_sub_code, ""
    try:
        error = parse(Api.Error, payload)
    except WireError as problem:
        return KServerException(code, sub_code, f"its details could not be read: {problem}")
    if error.error_code:
        code, sub_code, text = error.error_code, error.error_sub_code, error.error_sub_string
    return KServerException(code, sub_code, text)
