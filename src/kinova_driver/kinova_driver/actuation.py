"""How a filtered command gets into an arm: as joint speeds or a twist of a Gen3, or as poses that a hand follows."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ConfigurationError, SafetyError
from glam_core.gen3 import JOINTS
from glam_core.joint_safety import JointFilter, in_order
from glam_core.kinematics import forward, jacobian
from glam_core.limits import SafetyLimits
from glam_core.safety import Clamp
from glam_core.tool import ToolCommand
from kinova_driver.arm import Arm, ArmState
from kinova_driver.motion import ToolMotion

Stream = Literal["joint_speeds", "twist"]


class Actuation(Protocol):
    """Sends filtered commands to one arm."""

    def check(self, state: ArmState) -> None:
        """Raises ConfigurationError where the arm is another one than this drives."""
        ...

    def reset(self) -> None:
        """The arm has been brought to rest."""
        ...

    def send(self, command: ToolCommand, due: float, state: ArmState, now: float) -> tuple[Clamp, ...]:
        """Moves the tool on its way to a filtered command; returns what was clamped on top of the filter.

        Args:
            command: Where the tool shall be.
            due: When it shall be there: monotonic clock, s.
            state: The measurement.
            now: Monotonic clock, s.
        """
        ...

    def send_joint_speeds(self, speeds: NDArray[np.float64], state: ArmState, now: float) -> tuple[Clamp, ...]:
        """Turns the joints at `speeds`, `(7,)` rad/s, within the limits; returns what was clamped."""
        ...


class PoseActuation:
    """For an arm that follows poses by itself: the hand-held gripper of the simulation."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    def check(self, state: ArmState) -> None:
        """Any arm will do."""

    def reset(self) -> None:
        """There is nothing to forget."""

    def send(self, command: ToolCommand, due: float, state: ArmState, now: float) -> tuple[Clamp, ...]:
        """Passes the command on."""
        self._arm.command_gripper(command.gripper)
        self._arm.command_pose(command.T_base_tool)
        return ()

    def send_joint_speeds(self, speeds: NDArray[np.float64], state: ArmState, now: float) -> tuple[Clamp, ...]:
        """Refused: there are no joints."""
        raise SafetyError("command rejected: this arm has no joints to command")


class JointActuation:
    """For a Gen3: the tool's motion as joint speeds, limited, at the control rate and for every new goal at once.

    Args:
        arm: The arm.
        limits: Its limits.
        name: The name that clamps are reported under.
        stream: What the arm is sent: the joint speeds, or the twist that they amount to.
        lead_s: Measured time from a command to the motion of the arm.
    """

    def __init__(
        self, arm: Arm, limits: SafetyLimits, name: str, stream: Stream = "joint_speeds", lead_s: float = 0.0
    ) -> None:
        self._arm, self._stream = arm, stream
        self._motion = ToolMotion(lead_s)
        self._filter = JointFilter(limits, name)

    def check(self, state: ArmState) -> None:
        """Raises ConfigurationError unless the arm has the seven joints of a Gen3, by name."""
        if sorted(state.joint_names) != sorted(JOINTS):
            raise ConfigurationError(
                f"the arm has {len(state.joint_names)} joints ({', '.join(state.joint_names) or 'none'}); this driver "
                f"is for a Gen3 with the {len(JOINTS)} joints {', '.join(JOINTS)}"
            )

    def reset(self) -> None:
        """The next command is approached from rest, from where the tool is."""
        self._motion.reset()
        self._filter.reset()

    def send(self, command: ToolCommand, due: float, state: ArmState, now: float) -> tuple[Clamp, ...]:
        """Moves the tool on its way to a filtered command."""
        positions = in_order(state.joint_names, state.positions, "measurement")
        self._motion.aim(command.T_base_tool, due)
        speeds = self._motion.joint_speeds(positions, state.stamp, now)
        clamps = self._send(speeds, positions, now)
        self._arm.command_gripper(command.gripper)
        return clamps

    def send_joint_speeds(self, speeds: NDArray[np.float64], state: ArmState, now: float) -> tuple[Clamp, ...]:
        """Turns the joints; the tool's way starts anew after it."""
        self._motion.reset()
        return self._send(speeds, in_order(state.joint_names, state.positions, "measurement"), now)

    def _send(self, speeds: NDArray[np.float64], positions: NDArray[np.float64], now: float) -> tuple[Clamp, ...]:
        limited = self._filter.limit(speeds, positions, now)
        if self._stream == "twist":
            self._arm.command_twist(jacobian(forward(positions)) @ limited.speeds)
        else:
            self._arm.command_joint_speeds(limited.speeds)
        return limited.clamps
