"""What an arm is to the driver. Real and simulated backends stand behind the same protocol.

Everything is in SI units and radians, poses are `T_base_tool` in the arm's base frame, and every stamp is a reading of
the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import GlamError
from glam_core.tool import ToolState


class ArmError(GlamError):
    """The arm, or the connection to it, does not do what was asked."""


@dataclass(frozen=True, eq=False)
class ArmState:
    """One measurement of an arm.

    Attributes:
        joint_names: `(J,)` names; empty for an embodiment without joints, such as a free-floating gripper.
        positions: `(J,)` float64, rad.
        velocities: `(J,)` float64, rad/s.
        efforts: `(J,)` float64, N m.
        tool: The measured pose of the tool and the gripper, 0 (open) to 1 (closed).
        stamp: When it was measured: seconds of the monotonic clock.
        homing: The arm is on its own way home, and follows no commands.
        faults: Names of the faults that the arm, or the connection to it, reports; empty when it is well.
        wrench: `(6,)` force (N) and torque (N m) on the tool in the base frame; zeros where it is not measured.
        arm_state: Name of the state that the arm says it is in, such as `SERVOING_READY`; empty where it has none.
    """

    joint_names: tuple[str, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    efforts: NDArray[np.float64]
    tool: ToolState
    stamp: float
    homing: bool = False
    faults: tuple[str, ...] = ()
    wrench: NDArray[np.float64] = field(default_factory=lambda: np.zeros(6))
    arm_state: str = ""

    def is_finite(self) -> bool:
        """Whether every number of the measurement is finite."""
        values = (self.positions, self.velocities, self.tool.T_base_tool, self.tool.gripper, self.wrench)
        return all(bool(np.isfinite(value).all()) for value in values)


class Arm(Protocol):
    """A robot arm with a gripper.

    Speeds and twists never expire: the arm keeps them until it is told otherwise, so whoever commands one also watches
    over it. A backend that can not do what a method asks says so with `ArmError`.

    `hold`, `stop` and `emergency_stop` may be called from any thread at any time, also while another call is under way,
    and are harmless when repeated. A call that fails raises `ArmError`.
    """

    def connect(self) -> None:
        """Opens the connection; nothing moves."""
        ...

    def disconnect(self) -> None:
        """Stops the arm and closes the connection; harmless when there is none."""
        ...

    def read(self) -> ArmState:
        """The newest measurement; never waits for the next one."""
        ...

    def command_joint_speeds(self, speeds: NDArray[np.float64]) -> None:
        """Turns the joints at `speeds`, `(J,)` rad/s in the order of `ArmState.joint_names`."""
        ...

    def command_twist(self, twist: NDArray[np.float64]) -> None:
        """Moves the tool at `twist`, `(6,)`: linear m/s, then angular rad/s, both along the axes of the base frame."""
        ...

    def command_pose(self, T_base_tool: NDArray[np.float64]) -> None:
        """Starts the arm's own motion of the tool to a pose `(4, 4)` and returns."""
        ...

    def command_gripper(self, position: float) -> None:
        """Moves the gripper to `position`, 0 (open) to 1 (closed); may be called at control rate."""
        ...

    def hold(self) -> None:
        """Zero speed: the arm stays where it is and the gripper keeps its grip; the next command moves it again."""
        ...

    def stop(self) -> None:
        """Ends every motion, also one of the arm's own."""
        ...

    def emergency_stop(self) -> None:
        """Ends every motion and leaves the arm in a fault until `clear_faults`."""
        ...

    def clear_faults(self) -> None:
        """Acknowledges every fault whose cause is gone."""
        ...

    def home(self) -> None:
        """Starts the arm's own motion to its home pose and returns; `ArmState.homing` tells when it is over."""
        ...
