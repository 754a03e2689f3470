"""Forward kinematics against the published numbers, and against the numpy kinematics that run beside the real arm."""

import numpy as np
import pytest

from glam_core.gen3 import HOME_RAD, TOOL_OFFSET_M
from glam_core.ik import DifferentialIK
from glam_core.kinematics import FRAMES, TOOL, Gen3Kinematics, forward
from glam_core.pose import log_so3, tool_down
from glam_sim.control import ArmKinematics, differential_ik

# Kinova's URDF of the 7-DoF Gen3: translation (m) and rotation about x (quarter turns) of each joint's origin.
URDF_ORIGINS = (
    ((0.0, 0.0, 0.15643), 2),
    ((0.0, 0.005375, -0.12838), 1),
    ((0.0, -0.21038, -0.006375), -1),
    ((0.0, 0.006375, -0.21038), 1),
    ((0.0, -0.20843, -0.006375), -1),
    ((0.0, 0.00017505, -0.10593), 1),
    ((0.0, -0.10593, -0.00017505), -1),
)
URDF_FLANGE = ((0.0, 0.0, -0.061525), 2)

# The same arm as a classic DH table, as in Kinova's user guide (with the URDF's digits): alpha, a, d, offset of theta.
DH_ROWS = (
    (np.pi / 2, 0.0, -(0.15643 + 0.12838), 0.0),
    (np.pi / 2, 0.0, -(0.005375 + 0.006375), np.pi),
    (np.pi / 2, 0.0, -(0.21038 + 0.21038), np.pi),
    (np.pi / 2, 0.0, -(0.006375 + 0.006375), np.pi),
    (np.pi / 2, 0.0, -(0.20843 + 0.10593), np.pi),
    (np.pi / 2, 0.0, -(0.00017505 + 0.00017505), np.pi),
    (np.pi, 0.0, -(0.10593 + 0.061525), np.pi),
)

RANDOM_JOINTS = np.random.default_rng(3).uniform(-2.0, 2.0, size=(25, 7))


def _urdf_step(translation: tuple[float, float, float], quarter_turns: int, joint: float) -> np.ndarray:
    angle = quarter_turns * np.pi / 2
    origin = np.eye(4)
    origin[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    origin[:3, 3] = translation
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(joint), -np.sin(joint)], [np.sin(joint), np.cos(joint)]]
    return origin @ turn


def _urdf_flange(joints: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    for (translation, turns), joint in zip(URDF_ORIGINS, joints, strict=True):
        pose = pose @ _urdf_step(translation, turns, joint)
    return pose @ _urdf_step(*URDF_FLANGE, 0.0)


def _dh_flange(joints: np.ndarray) -> np.ndarray:
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    for (alpha, a, d, offset), joint in zip(DH_ROWS, joints, strict=True):
        ct, st, ca, sa = np.cos(joint + offset), np.sin(joint + offset), np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array(
            [[ct, -ca * st, sa * st, a * ct], [st, ca * ct, -sa * ct, a * st], [0, sa, ca, d], [0, 0, 0, 1]]
        )
    return pose


@pytest.mark.parametrize("joints", [np.zeros(7), HOME_RAD, *RANDOM_JOINTS])
def test_forward_kinematics_agree_with_the_urdf(joints: np.ndarray):
    kinematics = ArmKinematics()
    kinematics.update(joints)
    np.testing.assert_allclose(kinematics.flange_pose(), _urdf_flange(joints), atol=1e-6)


@pytest.mark.parametrize("joints", [np.zeros(7), HOME_RAD, *RANDOM_JOINTS])
def test_forward_kinematics_agree_with_the_dh_table(joints: np.ndarray):
    kinematics = ArmKinematics()
    kinematics.update(joints)
    np.testing.assert_allclose(kinematics.flange_pose(), _dh_flange(joints), atol=1e-6)


def test_the_arm_stretched_upwards_is_as_high_as_published():
    kinematics = ArmKinematics()
    kinematics.update(np.zeros(7))
    assert kinematics.flange_pose()[2, 3] == pytest.approx(0.15643 + 0.12838 + 0.42076 + 0.31436 + 0.167455, abs=1e-6)


def test_the_tool_frame_stands_before_the_flange_and_y_closes():
    kinematics = ArmKinematics()
    kinematics.update(RANDOM_JOINTS[0])
    flange, tool = kinematics.flange_pose(), kinematics.tool_pose()
    np.testing.assert_allclose(tool[:3, 3], flange[:3, 3] + TOOL_OFFSET_M * flange[:3, 2], atol=1e-9)
    np.testing.assert_allclose(tool[:3, 0], flange[:3, 1], atol=1e-9)


def test_jacobian_is_the_derivative_of_the_tool_pose():
    kinematics = ArmKinematics()
    joints, step = RANDOM_JOINTS[1], 1e-6
    kinematics.update(joints)
    jacobian, pose = kinematics.jacobian().copy(), kinematics.tool_pose()
    for joint in range(7):
        moved = joints.copy()
        moved[joint] += step
        kinematics.update(moved)
        after = kinematics.tool_pose()
        linear = (after[:3, 3] - pose[:3, 3]) / step
        angular = log_so3(after[:3, :3] @ pose[:3, :3].T) / step
        np.testing.assert_allclose(jacobian[:, joint], [*linear, *angular], atol=1e-5)


@pytest.mark.parametrize("joints", [np.zeros(7), HOME_RAD, *RANDOM_JOINTS])
def test_numpy_has_every_link_where_mujoco_has_it(joints: np.ndarray):
    kinematics = ArmKinematics()
    kinematics.update(joints)
    frames = forward(joints)
    for name in FRAMES[:-2]:
        np.testing.assert_allclose(frames.pose(name), kinematics.link_pose(name), atol=1e-9)
    np.testing.assert_allclose(frames.pose("end_effector_link"), kinematics.flange_pose(), atol=1e-9)
    np.testing.assert_allclose(frames.pose(TOOL), kinematics.tool_pose(), atol=1e-9)


@pytest.mark.parametrize("joints", [np.zeros(7), HOME_RAD, *RANDOM_JOINTS])
def test_numpy_and_mujoco_agree_on_the_jacobian(joints: np.ndarray):
    ours, theirs = Gen3Kinematics(), ArmKinematics()
    for kinematics in (ours, theirs):
        kinematics.update(joints)
    np.testing.assert_allclose(ours.jacobian(), theirs.jacobian(), atol=1e-9)


def test_the_differential_ik_does_the_same_on_either():
    ours, theirs = DifferentialIK(Gen3Kinematics()), differential_ik()
    rng = np.random.default_rng(1)
    for _ in range(100):
        joints = rng.uniform(-2.0, 2.0, size=7)
        goal = tool_down(rng.uniform(-0.8, 0.8, size=3), rng.uniform(-np.pi, np.pi))
        np.testing.assert_allclose(
            ours.joint_speeds(joints, goal, 0.1), theirs.joint_speeds(joints, goal, 0.1), atol=1e-9
        )
