"""The arm's kinematics in numpy: against the DH table, finite differences, and themselves in batches."""

import numpy as np
import pytest

from glam_core.errors import SpecError
from glam_core.gen3 import HOME_RAD, LINKS, TOOL_OFFSET_M
from glam_core.kinematics import (
    FRAMES,
    GUARDED,
    Gen3Kinematics,
    forward,
    frame_index,
    jacobian,
    link_poses,
    point_jacobians,
)
from glam_core.pose import log_so3

# The same arm as a classic DH table, as in Kinova's user guide (with the URDF's digits): alpha, d, offset of theta.
DH_ROWS = (
    (np.pi / 2, -(0.15643 + 0.12838), 0.0),
    (np.pi / 2, -(0.005375 + 0.006375), np.pi),
    (np.pi / 2, -(0.21038 + 0.21038), np.pi),
    (np.pi / 2, -(0.006375 + 0.006375), np.pi),
    (np.pi / 2, -(0.20843 + 0.10593), np.pi),
    (np.pi / 2, -(0.00017505 + 0.00017505), np.pi),
    (np.pi, -(0.10593 + 0.061525), np.pi),
)
JOINTS = [np.zeros(7), HOME_RAD, *np.random.default_rng(3).uniform(-3.0, 3.0, size=(20, 7))]


def dh_flange(joints):
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    for (alpha, d, offset), joint in zip(DH_ROWS, joints, strict=True):
        ct, st, ca, sa = np.cos(joint + offset), np.sin(joint + offset), np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array([[ct, -ca * st, sa * st, 0], [st, ca * ct, -sa * ct, 0], [0, sa, ca, d], [0, 0, 0, 1]])
    return pose


@pytest.mark.parametrize("joints", JOINTS)
def test_the_flange_is_where_the_dh_table_has_it(joints):
    np.testing.assert_allclose(forward(joints).pose("end_effector_link"), dh_flange(joints), atol=1e-12)


@pytest.mark.parametrize("joints", JOINTS[:4])
def test_the_tool_stands_before_the_flange_and_its_x_is_the_flanges_y(joints):
    frames = forward(joints)
    flange, tool = frames.pose("end_effector_link"), frames.pose("tool")
    np.testing.assert_allclose(tool[:3, 3], flange[:3, 3] + TOOL_OFFSET_M * flange[:3, 2], atol=1e-12)
    np.testing.assert_allclose(tool[:3, 0], flange[:3, 1], atol=1e-12)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("joints", JOINTS[:5])
def test_the_jacobian_of_every_frame_is_the_derivative_of_its_pose(name, joints):
    step = 1e-6
    columns = []
    for joint in range(7):
        moved = np.stack([joints, joints])
        moved[:, joint] += [-step, step]
        before, after = forward(moved).pose(name)
        linear = (after[:3, 3] - before[:3, 3]) / (2 * step)
        columns.append([*linear, *(log_so3(after[:3, :3] @ before[:3, :3].T) / (2 * step))])
    np.testing.assert_allclose(jacobian(forward(joints), name), np.transpose(columns), atol=1e-8)


def test_jacobians_of_several_points_are_those_of_each():
    frames = forward(np.stack(JOINTS))
    together = point_jacobians(frames, list(GUARDED.values()))
    for point, index in enumerate(GUARDED.values()):
        np.testing.assert_allclose(together[:, point], jacobian(frames, FRAMES[index])[:, :3], atol=1e-14)


def test_a_batch_is_as_good_as_one_after_the_other():
    together = forward(np.stack(JOINTS))
    for index, joints in enumerate(JOINTS):
        alone = forward(joints)
        np.testing.assert_allclose(together.rotations[index], alone.rotations, atol=1e-14)
        np.testing.assert_allclose(together.origins[index], alone.origins, atol=1e-14)


def test_links_in_their_parents_chain_up_to_the_frames():
    joints, T = JOINTS[2], np.eye(4)
    frames, poses = forward(joints), link_poses(joints)
    assert [name for name, _ in poses] == [*(link.name for link in LINKS), "end_effector_link"]
    for name, T_parent_link in poses:
        T = T @ T_parent_link
        np.testing.assert_allclose(T, frames.pose(name), atol=1e-12)


def test_the_object_for_one_arm_says_the_same():
    kinematics = Gen3Kinematics()
    kinematics.update(JOINTS[3])
    np.testing.assert_array_equal(kinematics.tool_pose(), forward(JOINTS[3]).pose("tool"))
    np.testing.assert_array_equal(kinematics.jacobian(), jacobian(forward(JOINTS[3])))


def test_wrong_joints_and_frames_are_named():
    with pytest.raises(SpecError, match=r"7 joint positions .* not \(6,\)"):
        forward(np.zeros(6))
    with pytest.raises(SpecError, match="did you mean 'tool'"):
        frame_index("tol")
