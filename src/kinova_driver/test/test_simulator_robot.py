"""The simulated arm without sockets and physics: what moves it, what stops it, what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ideal_arm import ME, IdealArm

from glam_core.gen3 import HOME_RAD
from kinova_driver.simulator import limits
from kinova_driver.simulator.motions import JointPath, PosePath
from kinova_driver.simulator.robot import (
    ActionName,
    ArmState,
    Axes,
    JointCommand,
    JointMode,
    Refusal,
    ServoingMode,
)

OTHER = 2
NAME = ActionName(2, 7)
SPEEDS = np.array([0.1, -0.1, 0.2, 0.1, -0.2, 0.1, 0.3])


@pytest.fixture
def arm() -> IdealArm:
    arm = IdealArm()
    arm.run(0.1)
    return arm


def reach(goal: np.ndarray, arm: IdealArm) -> list:
    return [lambda start: JointPath(start, goal, arm.robot.soft_limits)]


def test_a_joint_speed_command_never_expires_and_a_stop_ends_it(arm: IdealArm) -> None:
    arm.robot.send_joint_speeds(SPEEDS, ME)
    assert arm.robot.state is ArmState.SERVOING_MANUALLY_CONTROLLED
    arm.run(3.0)
    before = arm.measured.positions
    arm.run(1.0)
    np.testing.assert_allclose(arm.measured.positions - before, SPEEDS, atol=1e-3)
    arm.robot.stop()
    arm.run(0.5)
    np.testing.assert_allclose(arm.measured.speeds, 0.0, atol=1e-4)
    assert arm.robot.state is ArmState.SERVOING_READY


def test_silence_of_the_session_that_moves_the_arm_stops_it_and_that_of_another_does_not(arm: IdealArm) -> None:
    arm.robot.send_joint_speeds(SPEEDS, ME)
    arm.run(0.5)
    arm.robot.silence(OTHER)
    arm.run(0.1)
    assert np.abs(arm.measured.speeds).max() > 0.2
    arm.robot.silence(ME)
    arm.run(0.5)
    np.testing.assert_allclose(arm.measured.speeds, 0.0, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-20.0, 20.0), min_size=7, max_size=7))
def test_no_command_leaves_the_limits_of_the_joints(speeds: list[float]) -> None:
    arm = IdealArm()
    arm.robot.send_joint_speeds(np.array(speeds), ME)
    arm.run(3.0)
    assert (arm.peak <= limits.SPEED_RAD_S).all()
    assert (np.abs(arm.measured.positions) <= limits.POSITION_RAD + 1e-3).all()
    assert arm.robot.faults == ()


@pytest.mark.parametrize(
    ("axes", "twist", "moved", "turned"),
    [
        (Axes.BASE, [0.05, 0, 0, 0, 0, 0], [0.05, 0, 0], [0, 0, 0]),
        (Axes.TOOL, [0, 0, 0.05, 0, 0, 0], [0, 0, -0.05], [0, 0, 0]),
        (Axes.MIXED, [0, 0, 0.05, 0, 0, 0.2], [0, 0, 0.05], [0, 0, -0.2]),
        (Axes.BASE, [0, 0, 0, 0, 0, 0.2], [0, 0, 0], [0, 0, 0.2]),
    ],
)
def test_a_twist_moves_the_tool_along_its_axes(
    arm: IdealArm, axes: Axes, twist: list[float], moved: list[float], turned: list[float]
) -> None:
    arm.robot.send_twist(np.array(twist, float), axes, ME)
    arm.run(0.5)
    before = arm.pose()
    arm.run(0.5)
    after = arm.pose()
    np.testing.assert_allclose(after[:3, 3] - before[:3, 3], np.array(moved) / 2, atol=2e-3)
    turn = after[:3, :3] @ before[:3, :3].T
    np.testing.assert_allclose([turn[2, 1], turn[0, 2], turn[1, 0]], np.sin(np.array(turned) / 2), atol=5e-3)


def test_an_action_starts_pauses_resumes_and_ends(arm: IdealArm) -> None:
    goal = HOME_RAD + 0.3
    arm.told()
    arm.robot.run(NAME, reach(goal, arm), ME)
    arm.run(0.3)
    assert arm.robot.state is ArmState.SERVOING_PLAYING_SEQUENCE
    arm.robot.pause()
    arm.run(0.4)
    paused = arm.measured.positions
    arm.run(1.0)
    np.testing.assert_allclose(arm.measured.positions, paused, atol=1e-3)
    arm.robot.resume()
    arm.run(3.0)
    np.testing.assert_allclose(arm.measured.positions, goal, atol=6e-3)
    assert [name for name in arm.told() if name.startswith("ACTION")] == ["ACTION_START", "ACTION_PAUSE", "ACTION_END"]
    assert arm.robot.state is ArmState.SERVOING_READY


def test_an_action_ends_in_an_abort_when_it_is_stopped_or_something_fails(arm: IdealArm) -> None:
    for abort, why in (
        (arm.robot.stop, "CONTROL_MANUAL_STOP"),
        (arm.robot.stop_action, "CONTROL_MANUAL_STOP"),
        (lambda: arm.robot.emergency_stop(ME), "ROBOT_IN_FAULT"),
    ):
        arm.robot.clear_faults()
        arm.told()
        arm.robot.run(NAME, reach(HOME_RAD + 0.5, arm), ME)
        arm.run(0.2)
        abort()
        (event,) = [event for event in arm.robot.events if event.what == "ACTION_ABORT"]
        assert (event.action, event.abort) == (NAME, why)


def test_a_pose_out_of_reach_is_aborted(arm: IdealArm) -> None:
    far = arm.pose()
    far[:3, 3] = 2.0, 0.0, 0.5
    arm.robot.run(NAME, [lambda start: PosePath(arm.robot.chain, start, far, speed_m_s=1.0)], ME)
    arm.run(3.0)
    assert [e.abort for e in arm.robot.events if e.what == "ACTION_ABORT"] == ["CONTROL_OUTSIDE_WORKSPACE"]


def test_the_tool_reaches_a_pose_along_a_line(arm: IdealArm) -> None:
    start, goal = arm.pose(), arm.pose()
    goal[:3, 3] += 0.1, 0.1, -0.05
    arm.robot.run(NAME, [lambda q: PosePath(arm.robot.chain, q, goal)], ME)
    off = []
    for _ in range(30):
        arm.run(0.1)
        way = arm.pose()[:3, 3] - start[:3, 3]
        along = (goal - start)[:3, 3] / np.linalg.norm((goal - start)[:3, 3])
        off.append(np.linalg.norm(way - along * (way @ along)))
    np.testing.assert_allclose(arm.pose(), goal, atol=2e-3)
    assert max(off) < 5e-3


def test_a_fault_stops_the_arm_until_it_is_cleared_and_its_cause_is_gone(arm: IdealArm) -> None:
    arm.robot.send_joint_speeds(SPEEDS, ME)
    arm.run(0.5)
    arm.robot.add_fault(3, "MAXIMUM_TORQUE", lasting=True)
    rest = arm.measured.positions
    arm.run(1.0)
    np.testing.assert_allclose(arm.measured.positions, rest, atol=2e-3)
    assert arm.robot.state is ArmState.IN_FAULT
    with pytest.raises(Refusal, match="arm is in fault state"):
        arm.robot.send_joint_speeds(SPEEDS, ME)
    arm.robot.clear_faults()
    assert arm.robot.faults == ((3, "MAXIMUM_TORQUE"),)
    arm.robot.mend()
    arm.robot.clear_faults()
    arm.run(0.1)
    np.testing.assert_allclose(arm.measured.speeds, 0.0, atol=1e-6)  # what moved it before is forgotten
    arm.robot.send_joint_speeds(SPEEDS, ME)


def test_a_joint_that_does_not_follow_is_a_following_error(arm: IdealArm) -> None:
    arm.robot.lost_joints = frozenset({2})
    arm.robot.send_joint_speeds(SPEEDS, ME)
    arm.run(0.5)
    assert arm.robot.faults == ((3, "FOLLOWING_ERROR"),)


def test_one_session_is_in_control_and_everybody_may_stop(arm: IdealArm) -> None:
    arm.robot.send_joint_speeds(SPEEDS, ME)
    with pytest.raises(Refusal) as refusal:
        arm.robot.send_joint_speeds(SPEEDS, OTHER)
    assert refusal.value.sub_error == "SESSION_NOT_IN_CONTROL"
    arm.robot.stop()
    arm.robot.send_joint_speeds(SPEEDS, OTHER)
    arm.robot.steal(True)
    arm.run(0.5)
    np.testing.assert_allclose(arm.measured.speeds, 0.0, atol=1e-4)
    with pytest.raises(Refusal):
        arm.robot.send_joint_speeds(SPEEDS, OTHER)
    arm.robot.steal(False)
    arm.robot.send_joint_speeds(SPEEDS, OTHER)


def test_low_level_servoing_follows_positions_and_stays_when_they_cease(arm: IdealArm) -> None:
    commands = [JointCommand(q, 0.0, 0.0) for q in HOME_RAD]
    with pytest.raises(Refusal, match="must be low level servoing mode"):
        arm.robot.refresh(commands, ME, arm.now)
    arm.robot.set_servoing_mode(ServoingMode.LOW_LEVEL, ME)
    with pytest.raises(Refusal, match="must be single level servoing mode"):
        arm.robot.send_joint_speeds(SPEEDS, ME)
    goal = arm.measured.positions.copy()
    for _ in range(100):
        goal += 0.001
        wrapped = (goal % (2 * np.pi)).tolist()  # as the wire has them
        arm.robot.refresh([JointCommand(q, 0.0, 0.0) for q in wrapped], ME, arm.now)
        arm.run(0.005)
    arm.run(0.5)
    np.testing.assert_allclose(arm.measured.positions, goal, atol=2e-3)
    assert arm.robot.state is ArmState.SERVOING_LOW_LEVEL
    jump = [JointCommand(q + 0.5, 0.0, 0.0) for q in goal]
    arm.robot.refresh(jump, ME, arm.now)
    arm.run(0.01)
    assert (1, "FOLLOWING_ERROR") in arm.robot.faults
    assert arm.robot.mode is ServoingMode.SINGLE_LEVEL


def test_velocity_mode_of_an_actuator_follows_its_speed(arm: IdealArm) -> None:
    arm.robot.set_servoing_mode(ServoingMode.LOW_LEVEL, ME)
    arm.robot.set_joint_mode(7, JointMode.VELOCITY)
    start = arm.measured.positions[6]
    for _ in range(100):
        commands = [JointCommand(q, 0.2, 0.0) for q in HOME_RAD]
        arm.robot.refresh(commands, ME, arm.now)
        arm.run(0.01)
    assert arm.measured.positions[6] - start == pytest.approx(0.2, abs=0.01)


def test_the_gripper_goes_to_positions_and_moves_at_speeds_that_never_expire(arm: IdealArm) -> None:
    arm.robot.send_gripper(lambda gripper: gripper.go_to(0.6), ME)
    arm.run(2.0)
    assert arm.measured.gripper == pytest.approx(0.6)
    arm.robot.send_gripper(lambda gripper: gripper.move(-0.5), ME)
    arm.run(0.2)
    assert arm.measured.gripper == pytest.approx(0.7, abs=0.01)
    arm.robot.send_gripper(lambda gripper: gripper.move(0.5), ME)
    arm.run(3.0)
    assert arm.measured.gripper == pytest.approx(0.0)
    arm.robot.jammed = True
    arm.robot.send_gripper(lambda gripper: gripper.go_to(1.0), ME)
    arm.run(1.0)
    assert arm.measured.gripper == pytest.approx(0.0)


def test_numbers_that_are_not_finite_are_refused(arm: IdealArm) -> None:
    bad = SPEEDS.copy()
    bad[3] = np.nan
    for command in (
        lambda: arm.robot.send_joint_speeds(bad, ME),
        lambda: arm.robot.send_twist(np.full(6, np.inf), Axes.BASE, ME),
        lambda: arm.robot.send_gripper(lambda gripper: gripper.go_to(np.nan), ME),
    ):
        with pytest.raises(Refusal):
            command()
