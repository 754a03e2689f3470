"""Arms that are driven by their joints: what an arm's own controller sees and does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from glam_core.errors import ConfigurationError
from glam_sim.cell import Cell
from glam_sim.control import ArmKinematics
from glam_sim.model import PHYSICS_STEP_S
from glam_sim.motion import JointDrive

pytestmark = pytest.mark.sim
NO_TORQUES = np.full(7, np.nan)
REST = JointDrive(np.zeros(7), NO_TORQUES, 0.0, 1.0)


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    with Cell("lift", "gen3") as cell:
        yield cell


def drive(cell: Cell, drive: JointDrive, duration_s: float) -> None:
    for _ in range(round(duration_s / PHYSICS_STEP_S)):
        cell.drive({"arm": drive})


def test_joints_turn_at_their_speeds_and_time_passes(cell: Cell) -> None:
    cell.reset(1)
    before = cell.joint_state("arm").positions
    drive(cell, JointDrive(np.full(7, 0.2), NO_TORQUES, 1.0, 1.0), 0.5)
    state = cell.joint_state("arm")
    assert cell.time == pytest.approx(0.5)
    np.testing.assert_allclose(state.positions - before, 0.1, atol=5e-3)
    np.testing.assert_allclose(state.velocities, 0.2, atol=0.02)
    assert state.gripper > 0.5


def test_motors_hold_the_weight_of_the_arm_at_rest(cell: Cell) -> None:
    cell.reset(1)
    drive(cell, REST, 0.2)
    state = cell.joint_state("arm")
    np.testing.assert_allclose(state.torques, state.gravity, atol=0.05)
    assert np.abs(state.gravity[[1, 3]]).min() > 3.0  # shoulder and elbow carry it


def test_a_torque_beyond_the_weight_accelerates_the_joint(cell: Cell) -> None:
    cell.reset(1)
    torques = NO_TORQUES.copy()
    torques[6] = 0.2
    drive(cell, JointDrive(np.zeros(7), torques, 0.0, 1.0), 0.2)
    velocities = cell.joint_state("arm").velocities
    assert velocities[6] > 0.05
    np.testing.assert_allclose(velocities[:6], 0.0, atol=0.01)


def test_a_table_that_is_pushed_pushes_back(cell: Cell) -> None:
    cell.reset(1)
    np.testing.assert_array_equal(cell.joint_state("arm").wrench, 0.0)
    kinematics = ArmKinematics()
    for _ in range(600):
        kinematics.update(cell.joint_state("arm").positions)
        down = np.linalg.pinv(kinematics.jacobian()) @ [0.0, 0.0, -0.15, 0.0, 0.0, 0.0]
        cell.drive({"arm": JointDrive(down, NO_TORQUES, 1.0, 1.0)})
    assert cell.joint_state("arm").wrench[2] > 20.0


def test_success_is_judged_as_it_is_for_poses(cell: Cell) -> None:
    cell.reset(1)
    cube = cell.objects["red_cube"]
    pose = np.eye(4)
    pose[:3, 3] = cell.tools["arm"].T_base_tool[:3, 3]
    pose[:3, :3] = cell.tools["arm"].T_base_tool[:3, :3]
    cell.move_object("red_cube", pose)
    drive(cell, JointDrive(np.zeros(7), NO_TORQUES, 1.0, 1.0), 1.5)
    assert cell.success() == (cell.objects["red_cube"].position[2] > cube.position[2] + 0.05)


def test_arms_without_joints_and_strangers_are_refused(cell: Cell) -> None:
    with pytest.raises(ConfigurationError, match="a step drives the arms arm, not left"):
        cell.drive({"left": REST})
    with Cell("lift", "umi") as floating, pytest.raises(ConfigurationError, match="umi has no joints to drive"):
        floating.drive({"arm": REST})
