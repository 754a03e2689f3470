"""Sockets that carry frames: TCP for commands, UDP for feedback. Each has one thread that receives.

This is the lower half of a client of our own, for simulated arms. It was never tried on a real one, and connects to
this computer alone unless it is told otherwise in so many words.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
import threading
import time
from typing import Protocol

from kinova_driver.kortex.frame import MAX_DATAGRAM_SIZE, FrameReader, WireError, with_prefix

logger = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 1.0
_RECEIVE_SIZE = 1 << 16
_PAUSE_S = 0.01


class Receiver(Protocol):
    """Who is told what comes in, on the thread that receives."""

    def on_frame(self, frame: bytes) -> None:
        """A frame came in."""
        ...

    def on_closed(self, reason: str) -> None:
        """The other side closed the connection, or it broke."""
        ...


class Transport:
    """A connection that sends and receives frames; the base of the two kinds."""

    kind: socket.SocketKind
    name: str

    def __init__(self, *, allow_an_arm_that_is_not_simulated: bool = False) -> None:
        """Prepares a connection; `connect` opens it.

        Args:
            allow_an_arm_that_is_not_simulated: Connect to other addresses than this computer's.
        """
        self._anywhere = allow_an_arm_that_is_not_simulated
        self._receiver: Receiver | None = None
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._sending = threading.Lock()
        self._closing = False
        self._broken = ""

    def attach(self, receiver: Receiver) -> None:
        """Names who is told what comes in; before `connect`, or nothing is missed between."""
        self._receiver = receiver

    @property
    def connected(self) -> bool:
        """Whether frames can be sent."""
        return self._socket is not None and not self._closing and not self._broken

    def connect(self, address: str, port: int, timeout_s: float = 2.0) -> None:
        """Opens the connection.

        Raises:
            ConnectionError: It is open already, the address is not this computer's, or nobody answers there.
        """
        if self._socket is not None:
            raise ConnectionError(f"this {self.name} connection is open; call disconnect first")
        target = _resolve(address, port, self.kind)
        if not self._anywhere and not ipaddress.ip_address(target[0]).is_loopback:
            raise ConnectionError(
                f"{address} is not this computer. This client is for simulated arms and was never tried on a real one: "
                "install Kinova's kortex_api for that, or allow_an_arm_that_is_not_simulated"
            )
        connection = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, self.kind)
        try:
            connection.settimeout(timeout_s)
            connection.connect(target)
            connection.settimeout(None)
            self._prepare(connection)
        except OSError as error:
            connection.close()
            raise ConnectionError(f"no {self.name} connection to {address}:{port}: {error}") from error
        self._closing, self._broken = False, ""
        self._socket = connection
        self._thread = threading.Thread(
            target=self._receive, args=(connection,), name=f"kortex-{self.name}", daemon=True
        )
        self._thread.start()

    def disconnect(self) -> None:
        """Closes the connection and ends its thread; harmless when there is none."""
        connection, thread = self._socket, self._thread
        self._closing = True
        self._socket = self._thread = None
        if connection is None:
            return
        try:
            connection.shutdown(socket.SHUT_RDWR)  # wakes the thread
        except OSError:
            logger.debug("%s: was closed from the other side", self.name)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        connection.close()

    def send(self, frame: bytes) -> None:
        """Sends a frame; may be called from any thread.

        Raises:
            ConnectionError: There is no connection, or it broke.
        """
        connection = self._socket
        if connection is None:
            raise ConnectionError(f"there is no {self.name} connection; call connect first")
        if self._broken:
            raise ConnectionError(self._broken)
        try:
            with self._sending:
                connection.sendall(self._wrap(frame))
        except OSError as error:
            raise ConnectionError(f"the {self.name} connection broke: {error}") from error

    def _prepare(self, connection: socket.socket) -> None:
        """Sets the socket's options."""

    def _wrap(self, frame: bytes) -> bytes:
        return frame

    def _receive(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def _deliver(self, frame: bytes) -> None:
        if self._receiver is None:
            return
        try:
            self._receiver.on_frame(frame)
        except Exception:  # whatever it was, the next frame must be received
            logger.exception("%s: could not handle a frame of %d bytes", self.name, len(frame))


class TCPTransport(Transport):
    """Frames on a TCP connection."""

    kind, name = socket.SOCK_STREAM, "TCP"

    def _prepare(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds = struct.pack("ll", int(_SEND_TIMEOUT_S), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)

    def _wrap(self, frame: bytes) -> bytes:
        return with_prefix(frame)

    def _receive(self, connection: socket.socket) -> None:
        reader, reason = FrameReader(), "the other side closed the connection"
        while True:
            try:
                data = connection.recv(_RECEIVE_SIZE)
            except OSError as error:
                data, reason = b"", f"the connection broke: {error}"
            if not data:
                break
            for frame in reader.feed(data):
                self._deliver(frame)
        if not self._closing:
            self._broken = reason
            if self._receiver is not None:
                self._receiver.on_closed(reason)


class UDPTransport(Transport):
    """Frames as datagrams. Nobody tells whether there is another side: only its answers do."""

    kind, name = socket.SOCK_DGRAM, "UDP"

    def _wrap(self, frame: bytes) -> bytes:
        if len(frame) > MAX_DATAGRAM_SIZE:
            raise WireError(
                f"a frame of {len(frame)} bytes is too large for a datagram; the limit is {MAX_DATAGRAM_SIZE}"
            )
        return frame

    def _receive(self, connection: socket.socket) -> None:
        while not self._closing:
            try:
                data = connection.recv(_RECEIVE_SIZE)
            except ConnectionRefusedError:  # nobody listens there now; somebody may, later
                continue
            except OSError as error:
                if not self._closing:
                    logger.warning("UDP: %s", error)
                    time.sleep(_PAUSE_S)
                continue
            if data:
                self._deliver(data)


def _resolve(address: str, port: int, kind: socket.SocketKind) -> tuple[str, int]:
    try:
        found = socket.getaddrinfo(address, port, type=kind)
    except (OSError, UnicodeError) as error:
        raise ConnectionError(f"there is no host '{address}': {error}") from error
    return str(found[0][4][0]), port
