"""Units: every conversion there and back, every wrap, and nothing that is not finite."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glam_core.errors import SpecError
from glam_core.pose import exp_so3, transform
from kinova_driver import units

TURN = 2.0 * math.pi
LIMITED = [1, 3, 5]

angles = arrays(np.float64, 7, elements=st.floats(-20.0, 20.0))
inside_stops = arrays(np.float64, 7, elements=st.floats(-math.pi + 1e-6, math.pi - 1e-6))
steps = arrays(np.float64, 7, elements=st.floats(-3.0, 3.0))
vectors = arrays(np.float64, 6, elements=st.floats(-100.0, 100.0))


@given(angles)
def test_degrees_and_back(positions):
    np.testing.assert_allclose(units.radians(units.degrees(positions)), positions, atol=1e-12)


@given(angles)
def test_kortex_angles_are_within_one_turn_and_point_the_same_way(positions):
    kortex = units.kortex_joint_angles(positions)
    assert (kortex >= 0.0).all() and (kortex < 360.0).all()
    back = units.joint_positions(kortex)
    np.testing.assert_allclose(np.exp(1j * back), np.exp(1j * positions), atol=1e-9)
    assert (np.abs(back) <= math.pi + 1e-9).all()


def test_a_tiny_negative_angle_does_not_become_a_full_turn():
    assert units.kortex_joint_angles(np.array([-1e-18, 0.0, TURN])).max() < 360.0


@given(inside_stops)
def test_joints_with_stops_are_measured_as_they_are(positions):
    previous = positions + TURN  # even if someone was mistaken by a turn
    measured = units.joint_positions(units.kortex_joint_angles(positions), previous)
    np.testing.assert_allclose(measured[LIMITED], positions[LIMITED], atol=1e-9)


@given(inside_stops, st.lists(steps, min_size=1, max_size=40))
def test_continuous_joints_are_followed_however_often_they_turn(start, moves):
    truth = start.copy()
    measured = units.joint_positions(units.kortex_joint_angles(truth))
    for move in moves:
        move[LIMITED] = 0.0
        truth = truth + move
        measured = units.joint_positions(units.kortex_joint_angles(truth), measured)
        np.testing.assert_allclose(measured, truth, atol=1e-6)


@pytest.mark.parametrize(("before", "after", "moved"), [(359.0, 1.0, 2.0), (1.0, 359.0, -2.0), (180.0, 181.0, 1.0)])
def test_a_wrap_is_no_jump(before, after, moved):
    first = units.joint_positions(np.full(7, before))
    second = units.joint_positions(np.full(7, after), first)
    np.testing.assert_allclose(np.rad2deg(second - first)[list(units.CONTINUOUS_JOINTS)], moved, atol=1e-9)


@given(angles, angles)
def test_the_shortest_arc_leads_to_the_goal(start, goal):
    move = units.shortest_arc(start, goal)
    np.testing.assert_allclose(np.exp(1j * (start + move)), np.exp(1j * goal), atol=1e-9)
    assert (np.abs(move[list(units.CONTINUOUS_JOINTS)]) <= math.pi + 1e-9).all()
    np.testing.assert_allclose(move[LIMITED], (goal - start)[LIMITED], atol=1e-12)


def test_a_joint_with_stops_never_goes_through_them():
    start, goal = np.full(7, 2.0), np.full(7, -2.0)
    move = units.shortest_arc(start, goal)
    np.testing.assert_allclose(move[LIMITED], -4.0)
    np.testing.assert_allclose(move[list(units.CONTINUOUS_JOINTS)], TURN - 4.0)


@given(vectors)
def test_twists_and_back(twist):
    kortex = units.kortex_twist(twist)
    np.testing.assert_array_equal(kortex[:3], twist[:3])
    np.testing.assert_allclose(kortex[3:], twist[3:] * 180.0 / math.pi)
    np.testing.assert_allclose(units.twist(kortex), twist, atol=1e-12)


@given(
    arrays(np.float64, 3, elements=st.floats(-1.0, 1.0)),
    arrays(np.float64, 3, elements=st.floats(-3.0, 3.0)),
)
def test_poses_and_back(position, rotation_vector):
    T = transform(exp_so3(rotation_vector), position)
    np.testing.assert_allclose(units.pose(units.kortex_pose(T)), T, atol=1e-7)


@pytest.mark.parametrize("theta_y", [90.0, -90.0])
@pytest.mark.parametrize("theta_x", [0.0, 30.0, -170.0])
def test_poses_along_the_vertical_and_back(theta_x, theta_y):
    T = units.pose([0.1, 0.2, 0.3, theta_x, theta_y, 40.0])
    np.testing.assert_allclose(units.pose(units.kortex_pose(T)), T, atol=1e-7)


def test_the_angles_of_a_pose_turn_about_the_axes_of_the_base():
    turn_x, turn_z = exp_so3([math.radians(20.0), 0, 0]), exp_so3([0, 0, math.radians(50.0)])
    np.testing.assert_allclose(units.pose([0, 0, 0, 20.0, 0.0, 50.0])[:3, :3], turn_z @ turn_x, atol=1e-12)


@given(arrays(np.float64, 7, elements=st.floats(-39.0, 39.0)))
def test_torques_change_their_sign(torques):
    np.testing.assert_array_equal(units.torques(torques), -torques)
    np.testing.assert_array_equal(units.torques(units.torques(torques)), torques)


@given(st.floats(0.0, 1.0))
def test_the_gripper_and_back(position):
    assert units.fraction(units.percent(position)) == pytest.approx(position)
    assert 0.0 <= units.percent(position) <= 100.0


def test_the_gripper_of_a_measured_range():
    assert units.fraction(2.0, open_at=0.02, closed_at=0.98) == 0.0
    assert units.fraction(98.0, open_at=0.02, closed_at=0.98) == 1.0
    assert units.fraction(50.0, open_at=0.02, closed_at=0.98) == pytest.approx(0.5)
    assert units.fraction(0.0, open_at=0.02, closed_at=0.98) == 0.0  # measured a little beyond
    with pytest.raises(SpecError, match="not 1.2"):
        units.kortex_finger(1.2)


def test_times_are_at_least_a_millisecond():
    assert [units.milliseconds(value) for value in (0.0001, 0.0034, 2.0)] == [1, 3, 2000]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("convert", "size"),
    [
        (units.radians, 7),
        (units.degrees, 7),
        (units.kortex_joint_angles, 7),
        (units.joint_positions, 7),
        (lambda values: units.joint_positions(np.zeros(7), values), 7),
        (lambda values: units.shortest_arc(np.zeros(7), values), 7),
        (units.kortex_twist, 6),
        (units.twist, 6),
        (units.pose, 6),
        (lambda values: units.kortex_pose(np.full((4, 4), values[0])), 6),
        (units.torques, 7),
        (lambda values: units.fraction(values[0]), 1),
        (lambda values: units.percent(values[0]), 1),
        (lambda values: units.milliseconds(values[0]), 1),
    ],
)
def test_numbers_that_are_not_finite_are_refused(convert, size, bad):
    values = np.zeros(size)
    values[0] = bad
    with pytest.raises(SpecError, match="is not finite"):
        convert(values)


def test_a_changed_number_of_joints_is_refused():
    with pytest.raises(SpecError, match="7 joints were measured, and 6 before"):
        units.joint_positions(np.zeros(7), np.zeros(6))
