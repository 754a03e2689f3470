"""An arm of numbers and a clock that jumps: what a replay is rehearsed on. Its joints do exactly what they are told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glam_core.gen3 import HOME_RAD, JOINTS
from glam_core.ik import DifferentialIK
from glam_core.kinematics import Gen3Kinematics
from glam_core.tool import ToolState
from kinova_driver.arm import ArmState

Array = NDArray[np.float64]


class RehearsalArm:
    """Stands at a pose when it is made; time passes with `sleep_until`."""

    def __init__(self, T_base_tool: Array) -> None:
        """Takes the posture that is nearest to home; raises GlamError where there is none."""
        self._kinematics = Gen3Kinematics()
        self._positions = DifferentialIK(self._kinematics).solve(T_base_tool, HOME_RAD)
        self._speeds = np.zeros(len(JOINTS))
        self._gripper = 0.0
        self.now = 0.0

    def sleep_until(self, at: float) -> None:
        """Lets the joints turn until then."""
        self._positions = self._positions + self._speeds * max(at - self.now, 0.0)
        self.now = max(at, self.now)

    def connect(self) -> None:
        """Nothing to do."""

    def disconnect(self) -> None:
        """Nothing to do."""

    def read(self) -> ArmState:
        """The posture now."""
        self._kinematics.update(self._positions)
        return ArmState(
            joint_names=JOINTS,
            positions=self._positions,
            velocities=self._speeds,
            efforts=np.zeros(len(JOINTS)),
            tool=ToolState(self._kinematics.tool_pose(), self._gripper),
            stamp=self.now,
        )

    def command_joint_speeds(self, speeds: Array) -> None:
        """Turns the joints from now on."""
        self._speeds = np.array(speeds)

    def command_twist(self, twist: Array) -> None:
        """Moves the tool from now on."""
        self._kinematics.update(self._positions)
        self._speeds = np.linalg.pinv(self._kinematics.jacobian()) @ twist

    def command_pose(self, T_base_tool: Array) -> None:
        """Is there at once."""
        self._positions = DifferentialIK(self._kinematics).solve(T_base_tool, self._positions)

    def command_gripper(self, position: float) -> None:
        """Is there at once."""
        self._gripper = position

    def hold(self) -> None:
        """Zero speed."""
        self._speeds = np.zeros(len(JOINTS))

    def stop(self) -> None:
        """Zero speed."""
        self.hold()

    def emergency_stop(self) -> None:
        """Zero speed."""
        self.hold()

    def clear_faults(self) -> None:
        """There are none."""

    def home(self) -> None:
        """Is there at once."""
        self._positions = HOME_RAD.copy()
