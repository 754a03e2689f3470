"""The kinematics of the Gen3 by MuJoCo, and the differential inverse kinematics that stands on them."""

from __future__ import annotations

import mujoco
import numpy as np

from glam_core.gen3 import JOINTS
from glam_core.ik import DifferentialIK
from glam_sim.model import arm_model


class ArmKinematics:
    """`glam_core.kinematics.Kinematics` of the Gen3 with its gripper."""

    def __init__(self) -> None:
        self._model = arm_model()
        self._data = mujoco.MjData(self._model)
        self._tool = self._model.site("tool").id
        self._flange = self._model.site("flange").id
        self._jacobian = np.zeros((6, self._model.nv))

    def update(self, joint_positions: np.ndarray) -> None:
        """Moves the chain to `joint_positions`, (7,) rad."""
        self._data.qpos[: len(JOINTS)] = joint_positions
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)

    def tool_pose(self) -> np.ndarray:
        """Returns `T_base_tool` (4, 4) of the last update."""
        return self._site_pose(self._tool)

    def flange_pose(self) -> np.ndarray:
        """Returns `T_base_flange` (4, 4) of the last update; the flange is the arm's end effector frame."""
        return self._site_pose(self._flange)

    def link_pose(self, name: str) -> np.ndarray:
        """Returns `T_base_link` (4, 4) of a link, by its name in `glam_core.gen3.LINKS`."""
        body = self._data.body(name)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = body.xmat.reshape(3, 3), body.xpos
        return pose

    def jacobian(self) -> np.ndarray:
        """Returns the tool's Jacobian (6, 7) of the last update: linear (m/s) over angular (rad/s), base frame."""
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._tool)
        return self._jacobian[:, : len(JOINTS)]

    def _site_pose(self, site: int) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3] = self._data.site_xmat[site].reshape(3, 3)
        pose[:3, 3] = self._data.site_xpos[site]
        return pose


def differential_ik() -> DifferentialIK:
    """The differential IK on MuJoCo's kinematics."""
    return DifferentialIK(ArmKinematics())
