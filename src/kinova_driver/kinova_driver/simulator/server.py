"""The sockets of a simulated arm: TCP and UDP on one thread, and all that can go wrong between two sockets."""

from __future__ import annotations

import heapq
import logging
import random
import selectors
import socket
import threading
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from glam_core.errors import ConfigurationError
from kinova_driver.kortex import frame
from kinova_driver.kortex.frame import FrameReader
from kinova_driver.simulator.misbehaviour import Network
from kinova_driver.simulator.router import Outgoing, Router

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_POLL_S = 0.01
_READ_BYTES = 65536
_MOST_UNSENT_BYTES = 1 << 20
_DATAGRAMS_AT_ONCE = 64


@dataclass(eq=False)
class _Peer:
    """One client on TCP."""

    socket: socket.socket
    address: tuple[str, int]
    reader: FrameReader = field(default_factory=FrameReader)

    def __str__(self) -> str:
        return f"tcp {self.address[0]}:{self.address[1]}"


@dataclass(frozen=True)
class _Source:
    """One client on UDP: where its datagrams come from."""

    address: tuple[str, int]

    def __str__(self) -> str:
        return f"udp {self.address[0]}:{self.address[1]}"


@dataclass(frozen=True)
class Address:
    """Where an arm is served; a port of 0 is any that is free."""

    host: str = LOOPBACK
    tcp_port: int = 10000
    udp_port: int = 10001


class Server:
    """Serves one arm at one address."""

    def __init__(self, router: Router, address: Address, network: Network | None = None) -> None:
        """Binds both ports; raises ConfigurationError where one is taken.

        Args:
            router: What answers.
            address: Where; the ports that were really taken stand in `address` afterwards.
            network: How the network misbehaves.
        """
        self.network = network or Network()
        self._router = router
        self._selector = selectors.DefaultSelector()
        self._random = random.Random(0)
        self._delayed: list[tuple[float, int, Outgoing]] = []
        self._delays = 0
        self._over = threading.Event()
        self._udp = _bound(socket.SOCK_DGRAM, address.host, address.udp_port)
        try:
            self._tcp = _bound(socket.SOCK_STREAM, address.host, address.tcp_port)
            if not address.tcp_port and self._tcp.getsockname() == self._udp.getsockname():
                same = self._tcp  # any free port may be the one of the other kind, and a station file wants two
                self._tcp = _bound(socket.SOCK_STREAM, address.host, 0)
                same.close()
        except ConfigurationError:
            self._udp.close()
            raise
        self._tcp.listen()
        self.address = Address(address.host, self._tcp.getsockname()[1], self._udp.getsockname()[1])
        self._selector.register(self._udp, selectors.EVENT_READ)
        self._selector.register(self._tcp, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"kortex {self.address.tcp_port}", daemon=True)

    def start(self) -> None:
        """Starts to serve."""
        self._thread.start()

    def close(self) -> None:
        """Ends, and closes every socket; harmless when repeated."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        for key in tuple(self._selector.get_map().values()) if self._selector.get_map() else ():
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._udp.close()
        self._tcp.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._serve()
            except Exception:
                logger.exception("the simulated arm on port %d failed to serve; it goes on", self.address.tcp_port)

    def _serve(self) -> None:
        wait = _POLL_S
        if self._delayed:
            wait = min(wait, max(0.0, self._delayed[0][0] - time.monotonic()))
        if self.network.frozen:
            self._over.wait(_POLL_S)
            return
        if self.network.cable_cut:
            self._over.wait(_POLL_S)
            self._drain_datagrams()
            self._keep(self._router.tick(time.monotonic()))
            return
        ready = self._selector.select(wait)
        if self.network.frozen or self.network.cable_cut:  # since it began to wait
            return
        for key, _ in ready:
            if key.fileobj is self._udp:
                self._read_datagrams()
            elif key.fileobj is self._tcp:
                self._accept()
            else:
                self._read_stream(key.data)
        now = time.monotonic()
        self._send(self._router.tick(now), now)
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._transmit(heapq.heappop(self._delayed)[2])

    def _accept(self) -> None:
        try:
            accepted, address = self._tcp.accept()
        except OSError:  # the client is gone again
            return
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.settimeout(1.0)
        peer = _Peer(accepted, address[:2])
        self._selector.register(accepted, selectors.EVENT_READ, peer)

    def _read_stream(self, peer: _Peer) -> None:
        try:
            data = peer.socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._hang_up(peer)
            return
        for request in peer.reader.feed(data):
            self._take(peer, request)

    def _read_datagrams(self) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data, address = self._udp.recvfrom(_READ_BYTES)
            except OSError:  # none is left, or a client that has gone refused an answer
                return
            self._take(_Source(address[:2]), data)

    def _drain_datagrams(self) -> None:
        """What is sent into a cut cable is lost; on TCP it is sent again later."""
        while True:
            try:
                self._udp.recvfrom(_READ_BYTES)
            except OSError:
                return

    def _take(self, connection: Hashable, request: bytes) -> None:
        if self._lost():
            return
        now = time.monotonic()
        self._send(self._router.handle(connection, request, now), now)

    def _send(self, frames: Iterable[Outgoing], now: float) -> None:
        for outgoing in frames:
            if self._lost():
                continue
            delay_s = self.network.delay_s + self.network.jitter_s * self._random.random()
            if delay_s > 0.0:
                self._delays += 1
                heapq.heappush(self._delayed, (now + delay_s, self._delays, outgoing))
            else:
                self._transmit(outgoing)

    def _keep(self, frames: Iterable[Outgoing]) -> None:
        """For when the cable is back: TCP sends again."""
        for outgoing in frames:
            self._delays += 1
            heapq.heappush(self._delayed, (0.0, self._delays, outgoing))

    def _transmit(self, outgoing: Outgoing) -> None:
        connection = outgoing.connection
        try:
            if isinstance(connection, _Source):
                self._udp.sendto(outgoing.data, connection.address)
            elif isinstance(connection, _Peer) and connection.socket.fileno() >= 0:
                # In one piece: clients take the prefix in one read or not at all.
                connection.socket.sendall(frame.with_prefix(outgoing.data))
        except OSError:
            if isinstance(connection, _Peer):
                self._hang_up(connection)

    def _hang_up(self, peer: _Peer) -> None:
        if peer.socket.fileno() >= 0:
            self._selector.unregister(peer.socket)
            peer.socket.close()
        self._router.forget(peer)

    def _lost(self) -> bool:
        return self.network.drop > 0.0 and self._random.random() < self.network.drop


def _bound(kind: int, host: str, port: int) -> socket.socket:
    endpoint = socket.socket(socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        endpoint.bind((host, port))
    except OSError as error:
        endpoint.close()
        name = "TCP" if kind == socket.SOCK_STREAM else "UDP"
        raise ConfigurationError(
            f"the simulated arm can not listen at {host}:{port} ({name}): {error.strerror}; "
            "choose another port, or end what uses it"
        ) from error
    endpoint.setblocking(False)
    return endpoint
