"""An arm of a simulated cell, behind the interface of a real one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import closest
from glam_core.tool import ToolCommand
from kinova_driver.arm import ArmError, ArmState
from kinova_driver.cell_clock import CellClock
from kinova_driver.movers import Order

_EMERGENCY = "EMERGENCY_STOP"


class SimulatedArm:
    """One arm of a simulated cell, behind the interface of a real one."""

    def __init__(self, clock: CellClock, arm: str) -> None:
        self._clock, self._arm = clock, arm
        self._emergency = False
        self._gripper = 0.0

    def connect(self) -> None:
        """Checks that the cell has this arm."""
        if self._arm not in self._clock.arms:
            raise ArmError(closest(self._arm, self._clock.arms, "arm") + "; the simulated cell has no other")

    def disconnect(self) -> None:
        """Brings the arm to rest."""
        self._clock.goals.order(self._arm, Order.HOLD)

    def read(self) -> ArmState:
        """The measurement of the newest control tick."""
        snapshot = self._clock.snapshot()
        names, positions, velocities = snapshot.joints[self._arm]
        return ArmState(
            joint_names=names,
            positions=positions,
            velocities=velocities,
            efforts=np.empty(0),
            tool=snapshot.tools[self._arm],
            stamp=snapshot.stamp,
            homing=self._clock.goals.is_homing(self._arm),
            faults=(_EMERGENCY,) if self._emergency else (),
        )

    def command(self, command: ToolCommand) -> None:
        """Moves towards a pose; refused after an emergency stop."""
        self._require_well()
        self._clock.goals.order(self._arm, command)

    def command_joint_speeds(self, speeds: NDArray[np.float64]) -> None:
        """Refused: this arm follows poses."""
        raise ArmError(f"the arm '{self._arm}' follows poses alone; call command_pose")

    def command_twist(self, twist: NDArray[np.float64]) -> None:
        """Refused: this arm follows poses."""
        raise ArmError(f"the arm '{self._arm}' follows poses alone; call command_pose")

    def command_pose(self, T_base_tool: NDArray[np.float64]) -> None:
        """Moves towards a pose with the gripper as it is; refused after an emergency stop."""
        self.command(ToolCommand(T_base_tool, self._gripper))

    def command_gripper(self, position: float) -> None:
        """The position of the gripper that the next pose is commanded with."""
        self._gripper = position

    def hold(self) -> None:
        """Zero speed."""
        self._clock.goals.order(self._arm, Order.HOLD)

    def stop(self) -> None:
        """Ends every motion."""
        self._clock.goals.order(self._arm, Order.HOLD)

    def emergency_stop(self) -> None:
        """Ends every motion and stays in a fault until `clear_faults`."""
        self._emergency = True
        self._clock.goals.order(self._arm, Order.HOLD)

    def clear_faults(self) -> None:
        """Leaves the emergency stop."""
        self._emergency = False

    def home(self) -> None:
        """Starts the way to where the episode began."""
        self._require_well()
        self._clock.goals.order(self._arm, Order.HOME)

    def _require_well(self) -> None:
        if self._emergency:
            raise ArmError(f"the arm '{self._arm}' is in fault {_EMERGENCY}; call clear_faults first")
