"""One simulated arm, whole: the robot, what answers for it, its sockets, and its mischief."""

from __future__ import annotations

from dataclasses import dataclass

from glam_sim.control import ArmKinematics
from glam_sim.motion import JointDrive, JointState
from kinova_driver.simulator.chain import Chain
from kinova_driver.simulator.misbehaviour import Mischief, Network
from kinova_driver.simulator.robot import Measurement, Robot
from kinova_driver.simulator.router import Firmware, Router
from kinova_driver.simulator.server import Address, Server
from kinova_driver.simulator.sessions import Sessions


@dataclass(frozen=True)
class ArmOptions:
    """How an arm is served.

    Attributes:
        address: Where.
        user: Who may log in.
        password: With which password.
        firmware: What it knows.
    """

    address: Address = Address()
    user: str = "admin"
    password: str = "admin"
    firmware: Firmware = Firmware()


class SimulatedGen3:
    """An arm of a cell, behind the sockets of a real one. Whoever steps the cell steps it, too."""

    def __init__(self, start: JointState, options: ArmOptions) -> None:
        """Binds its ports; raises ConfigurationError where one is taken."""
        self.robot = Robot(Chain(ArmKinematics()), _measurement(start))
        sessions = Sessions(options.user, options.password)
        self.router = Router(self.robot, sessions, options.firmware)
        self.server = Server(self.router, options.address)
        self._mischief = Mischief(self.router, lambda: self.server.network, self._set_network)

    def start(self) -> None:
        """Begins to serve."""
        self.server.start()

    def close(self) -> None:
        """Ends; harmless when repeated."""
        self.server.close()

    def tell(self, text: str) -> str:
        """Makes it misbehave; see `misbehaviour`."""
        return self._mischief.tell(text)

    def step(self, state: JointState, now: float) -> JointDrive:
        """Takes a measurement; returns what the joints and fingers do until the next one."""
        with self.router.lock:
            drive = self.robot.step(_measurement(state), now)
        return JointDrive(drive.speeds, drive.torques, drive.gripper.position, drive.gripper.speed)

    def reseat(self, state: JointState) -> None:
        """The cell was reset: the arm is somewhere else, at rest."""
        with self.router.lock:
            self.robot.reseat(_measurement(state))

    def _set_network(self, network: Network) -> None:
        self.server.network = network


def _measurement(state: JointState) -> Measurement:
    return Measurement(*state)
