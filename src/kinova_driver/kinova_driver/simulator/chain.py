"""The arm's own kinematics: from joints to the tool that it is configured for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import GlamError
from glam_core.gen3 import HOME_RAD, TOOL_OFFSET_M
from glam_core.ik import DifferentialIK
from glam_core.kinematics import Kinematics
from glam_core.pose import inverse
from kinova_driver.simulator.limits import SPEED_RAD_S

Array = NDArray[np.float64]

_DAMPING = 0.02


def parallel_gripper() -> Array:
    """`T_flange_tool` of the gripper that the arm leaves the workshop with."""
    return np.array([[0.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, TOOL_OFFSET_M], [0.0, 0.0, 0.0, 1.0]])


class Chain:
    """Poses and speeds of the configured tool in the base frame, at the joint positions of the last `update`."""

    def __init__(self, kinematics: Kinematics) -> None:
        self._kinematics = kinematics
        self._ik = DifferentialIK(kinematics)
        self._T_gripper_tool = np.eye(4)
        self.T_flange_tool = parallel_gripper()

    def configure_tool(self, T_flange_tool: Array) -> None:
        """Takes another tool, `(4, 4)` in the flange's frame."""
        self.T_flange_tool = np.array(T_flange_tool)
        self._T_gripper_tool = inverse(parallel_gripper()) @ self.T_flange_tool

    def update(self, positions: Array) -> None:
        """Moves the chain to `(7,)` rad."""
        self._kinematics.update(positions)

    def pose(self) -> Array:
        """`T_base_tool` (4, 4)."""
        return self._kinematics.tool_pose() @ self._T_gripper_tool

    def jacobian(self) -> Array:
        """`(6, 7)`: linear over angular speed of the tool, base frame."""
        J = self._kinematics.jacobian().copy()
        offset = self._kinematics.tool_pose()[:3, :3] @ self._T_gripper_tool[:3, 3]
        if offset.any():
            J[:3] += np.cross(J[3:].T, offset).T
        return J

    def joint_speeds(self, twist: Array) -> Array:
        """Joint speeds `(7,)` rad/s for a twist `(6,)` in the base frame, slowed down as a whole to what joints can."""
        J = self.jacobian()
        speeds = J.T @ np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(6), twist)
        return speeds / max(1.0, float(np.max(np.abs(speeds) / SPEED_RAD_S)))

    def solve(self, T_base_tool: Array, guess: Array | None = None) -> Array:
        """Joint positions `(7,)` rad for a pose; raises GlamError where none are found."""
        T_base_gripper = T_base_tool @ inverse(self._T_gripper_tool)
        if not np.isfinite(T_base_gripper).all():
            raise GlamError("the pose is not finite")
        return self._ik.solve(T_base_gripper, HOME_RAD if guess is None else guess)
