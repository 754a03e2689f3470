"""The differential IK's promises, on the kinematics of the real arm."""

import numpy as np
import pytest

from glam_core.errors import GlamError
from glam_core.gen3 import COMMAND_STEP_S, CONTROL_STEP_S, HOME_RAD, JOINT_LIMITS_RAD, JOINT_SPEED_LIMITS_RAD_S
from glam_core.ik import DifferentialIK, share_left
from glam_core.kinematics import Gen3Kinematics
from glam_core.pose import tool_down


def test_joint_speeds_respect_the_limits_whatever_is_asked():
    ik = DifferentialIK(Gen3Kinematics())
    rng = np.random.default_rng(0)
    for _ in range(300):
        joints = rng.uniform(-3.0, 3.0, size=7)
        goal = tool_down(rng.uniform(-2.0, 2.0, size=3), rng.uniform(-np.pi, np.pi))
        speeds = ik.joint_speeds(joints, goal, rng.uniform(0.0, 0.2))
        assert np.all(np.abs(speeds) <= np.array(JOINT_SPEED_LIMITS_RAD_S) + 1e-12)


def test_joints_stay_inside_their_limits_when_the_goal_pulls_them_out():
    ik = DifferentialIK(Gen3Kinematics())
    joints = HOME_RAD.copy()
    for step in range(400):
        goal = tool_down([0.05 if step < 200 else 1.5, 0.0, 0.1], 0.0)
        joints = joints + CONTROL_STEP_S * ik.joint_speeds(joints, goal, 0.0)
        for joint, limit in zip(joints, JOINT_LIMITS_RAD, strict=True):
            assert limit is None or abs(joint) <= limit


def test_what_is_left_of_a_way_is_foreseen():
    """`share_left` says where a tool is that is brought to a goal tick by tick."""
    ik, joints = DifferentialIK(Gen3Kinematics()), HOME_RAD.copy()
    start = ik.tool_pose(joints)
    goal = start.copy()
    goal[0, 3] += 0.02
    for tick in range(6):
        time_left = COMMAND_STEP_S - tick * CONTROL_STEP_S
        left = (goal[0, 3] - ik.tool_pose(joints)[0, 3]) / 0.02
        assert left == pytest.approx(share_left(time_left), abs=0.02)
        joints = joints + CONTROL_STEP_S * ik.joint_speeds(joints, goal, time_left)
    assert share_left(1.0) == 1.0


def test_turns_of_continuous_joints_do_not_matter():
    ik = DifferentialIK(Gen3Kinematics())
    goal = tool_down([0.5, 0.1, 0.15], 0.3)
    turned = HOME_RAD + 2 * np.pi * np.array([1, 0, -1, 0, 2, 0, -3])
    np.testing.assert_allclose(ik.joint_speeds(HOME_RAD, goal, 0.1), ik.joint_speeds(turned, goal, 0.1), atol=1e-9)


@pytest.mark.parametrize("x", [0.33, 0.57])
@pytest.mark.parametrize("y", [-0.2, 0.2])
@pytest.mark.parametrize(("z", "yaw"), [(0.01, 0.0), (0.25, 1.5), (0.1, -1.5)])
def test_the_whole_work_area_is_within_reach(x: float, y: float, z: float, yaw: float):
    ik = DifferentialIK(Gen3Kinematics())
    goal = tool_down([x, y, z], yaw)
    np.testing.assert_allclose(ik.tool_pose(ik.solve(goal)), goal, atol=4e-4)


def test_a_goal_out_of_reach_is_an_error_that_says_so():
    with pytest.raises(GlamError, match="workspace"):
        DifferentialIK(Gen3Kinematics()).solve(tool_down([1.5, 0.0, 0.1], 0.0))
