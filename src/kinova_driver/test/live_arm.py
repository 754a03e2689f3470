"""The simulated arm on its sockets, with joints that do exactly what they are told, in real time."""

from __future__ import annotations

import threading
import time

import numpy as np
from ideal_arm import STEP_S, IdealArm

from glam_core.gen3 import HOME_RAD
from glam_core.station import ArmConfig
from kinova_driver.simulator.misbehaviour import Mischief
from kinova_driver.simulator.router import Firmware, Router
from kinova_driver.simulator.server import Address, Server
from kinova_driver.simulator.sessions import Sessions

PATIENT = {
    "command_s": 1.0,
    "feedback_s": 0.1,
    "request_s": 10.0,
    "silence_s": 10.0,
    "session_s": 10.0,
    "connection_s": 10.0,
}
"""Time-outs for tests that are not about time, on a computer that has much else to do."""
_MOST_BEHIND_S = 0.05
"""On a computer that is too busy for real time, the arm is slow instead of deaf."""


class LiveArm:
    """From being made to `close`, one simulated arm on two free ports of loopback."""

    def __init__(self, start: np.ndarray = HOME_RAD) -> None:
        self.joints = IdealArm(start)
        self.robot = self.joints.robot
        self.router = Router(self.robot, Sessions(), Firmware())
        self.server = Server(self.router, Address(tcp_port=0, udp_port=0))
        self.mischief = Mischief(self.router, lambda: self.server.network, self._set_network)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.server.start()
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.server.close()

    def tell(self, words: str) -> str:
        """Makes it misbehave."""
        return self.mischief.tell(words)

    def config(self, **changes) -> ArmConfig:
        """The arm in a station file."""
        address = {"address": "127.0.0.1", "tcp_port": self.server.address.tcp_port}
        address["udp_port"] = self.server.address.udp_port
        return ArmConfig(**({"name": "arm", "backend": "kortex"} | address | changes))

    @property
    def speeds(self) -> np.ndarray:
        """The speeds of the joints, (7,) rad/s."""
        return self.joints.measured.speeds

    @property
    def moving(self) -> bool:
        """Whether any joint turns."""
        return bool(np.abs(self.speeds).max() > 0.01)

    def _set_network(self, network) -> None:
        self.server.network = network

    def _run(self) -> None:
        self.joints.now = time.monotonic()
        while not self._over.wait(STEP_S):
            with self.router.lock:
                self.joints.now = max(self.joints.now, time.monotonic() - _MOST_BEHIND_S)
                while self.joints.now + STEP_S <= time.monotonic():
                    self.joints.run(STEP_S)
