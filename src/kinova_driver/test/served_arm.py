"""An ideal arm behind real sockets, stepped in real time on a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ideal_arm import IdealArm

from kinova_driver.kortex import client
from kinova_driver.kortex.definitions import Session
from kinova_driver.simulator.misbehaviour import Mischief, Network
from kinova_driver.simulator.robot import Measurement
from kinova_driver.simulator.router import Firmware, Router
from kinova_driver.simulator.server import Address, Server
from kinova_driver.simulator.sessions import Sessions

AWAIT_S = 10.0
STEP_S = 0.005


def wait_for(condition: Callable[[], object]) -> None:
    """Waits until the condition holds; fails after `AWAIT_S`."""
    deadline = time.monotonic() + AWAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


class ServedArm:
    """The arm, its server, and what makes it misbehave."""

    def __init__(self, firmware: Firmware | None = None) -> None:
        self.arm = IdealArm()
        self.robot = self.arm.robot
        self.router = Router(self.robot, Sessions(), firmware or Firmware())
        self.server = Server(self.router, Address(tcp_port=0, udp_port=0))
        self.mischief = Mischief(self.router, lambda: self.server.network, self._set_network)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self.server.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.server.close()

    def tell(self, text: str) -> str:
        return self.mischief.tell(text)

    @property
    def measured(self) -> Measurement:
        return self.arm.measured

    @property
    def moving(self) -> bool:
        return bool(abs(self.arm.measured.speeds).max() > 1e-3)

    def _set_network(self, network: Network) -> None:
        self.server.network = network

    def _run(self) -> None:
        while not self._over.wait(STEP_S):
            with self.router.lock:
                self.arm.run(STEP_S)


class Client:
    """A client of our own, logged in; `base`, `cyclic` and so on are its services."""

    def __init__(self, served: ServedArm, udp: bool = False, timeouts_ms: tuple[int, int] = (60000, 2000)) -> None:
        where = served.server.address
        self.transport: Any = client.UDPTransport() if udp else client.TCPTransport()
        self.transport.connect(where.host, where.udp_port if udp else where.tcp_port)
        self.router = client.RouterClient(self.transport)
        self.session = client.SessionManager(self.router)
        self.timeouts_ms = timeouts_ms
        self.base: Any = client.BaseClient(self.router)
        self.cyclic: Any = client.BaseCyclicClient(self.router)
        self.actuators: Any = client.ActuatorConfigClient(self.router)
        self.devices: Any = client.DeviceManagerClient(self.router)
        self.device: Any = client.DeviceConfigClient(self.router)
        self.control: Any = client.ControlConfigClient(self.router)
        self.sessions: Any = client.SessionClient(self.router)

    def log_in(self, user: str = "admin", password: str = "admin") -> Self:
        session_ms, connection_ms = self.timeouts_ms
        info = Session.CreateSessionInfo(
            username=user,
            password=password,
            session_inactivity_timeout=session_ms,
            connection_inactivity_timeout=connection_ms,
        )
        self.session.CreateSession(info)
        return self

    def __enter__(self) -> Self:
        try:
            return self.log_in()
        except BaseException:
            self.hang_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.CloseSession()
        self.hang_up()

    def hang_up(self) -> None:
        """Ends without logging out, as a killed client does."""
        self.session._end_thread()
        self.router.close()
        self.transport.disconnect()
