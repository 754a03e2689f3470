"""A server that speaks the Kortex protocol without an arm: it answers what a test tells it to, well or badly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kinova_driver.kortex import services
from kinova_driver.kortex.definitions import Api
from kinova_driver.kortex.frame import (
    NOTIFICATION,
    REQUEST,
    RESPONSE,
    FrameReader,
    Header,
    decode,
    encode,
    parse,
    with_prefix,
)

Answer = Any
"""A message, bytes for a payload, an `Api.Error`, or None for silence."""


def _udp_but_not_at(taken: int) -> socket.socket:
    """A UDP socket at a free port of another number than the TCP port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        if udp.getsockname()[1] != taken:
            return udp
        udp.close()


class StubServer:
    """Serves TCP and UDP on loopback; every call is answered with an empty message unless a test says otherwise."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Any, Header], Answer]] = {}
        self.calls: list[tuple[str, Any, Header]] = []
        self.session_id = 7
        self.mangle: Callable[[bytes], list[bytes]] = lambda data: [data]
        """What becomes of the bytes of an answer on TCP; each piece is sent on its own."""
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = _udp_but_not_at(self._tcp.getsockname()[1])
        self.tcp_port, self.udp_port = self._tcp.getsockname()[1], self._udp.getsockname()[1]
        self.connections: list[socket.socket] = []
        self._over = False
        self._threads = [threading.Thread(target=self._accept), threading.Thread(target=self._serve_udp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._over = True
        with suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.udp_port))
        self.hang_up()
        for thread in self._threads:
            thread.join()
        self._tcp.close()
        self._udp.close()

    def hang_up(self) -> None:
        """Closes every TCP connection."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def push(self, service: str, topic: str, identifier: int, message: Any) -> None:
        """Sends a notification on the newest TCP connection."""
        method = services.method(service, topic)
        header = Header(
            NOTIFICATION, message_id=identifier, service_id=method.service_id, function_id=method.function_id
        )
        self.send(encode(header, message.SerializeToString()))

    def send(self, frame: bytes) -> None:
        """Sends a frame on the newest TCP connection."""
        for piece in self.mangle(with_prefix(frame)):
            self.connections[-1].sendall(piece)
            time.sleep(0.001)  # a segment of its own

    def names(self) -> list[str]:
        """What was called, without what only keeps the session alive."""
        return [name for name, _, _ in self.calls if name != "KeepAlive"]

    def _accept(self) -> None:
        while not self._over:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve_tcp, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve_tcp(self, connection: socket.socket) -> None:
        reader = FrameReader()
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    return
                for frame in reader.feed(data):
                    answer = self._answer(frame)
                    if answer is not None:
                        with suppress(OSError):
                            for piece in self.mangle(with_prefix(answer)):
                                connection.sendall(piece)

    def _serve_udp(self) -> None:
        while True:
            data, address = self._udp.recvfrom(65536)
            if self._over:
                return
            answer = self._answer(data)
            if answer is not None:
                self._udp.sendto(answer, address)

    def _answer(self, frame: bytes) -> bytes | None:
        header, payload = decode(frame)
        assert header.frame_type == REQUEST
        method = services.METHODS[header.service_id, header.function_id]
        request = parse(method.request, payload)
        self.calls.append((method.name, request, header))
        make = self.answers.get(method.name, lambda request, header: method.response())
        answer = make(request, header)
        if answer is None:
            return None
        error = answer if isinstance(answer, Api.Error) else Api.Error()
        session_id = self.session_id if method.name == "CreateSession" else header.session_id
        answered = Header(
            RESPONSE,
            header.device_id,
            error.error_code,
            error.error_sub_code,
            session_id,
            header.message_id,
            header.service_id,
            header.function_id,
        )
        return encode(answered, answer if isinstance(answer, bytes) else answer.SerializeToString())
