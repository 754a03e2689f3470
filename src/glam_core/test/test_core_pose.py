"""Rigid-body maths: round trips, group axioms, behaviour at 0 and at pi."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glam_core import pose
from glam_core.errors import SpecError

numbers = st.floats(-10, 10, allow_nan=False)
vectors = arrays(np.float64, 3, elements=numbers)
angles = st.floats(0, np.pi)


@st.composite
def rotations(draw):
    """Rotations over all angles, the ends 0 and pi and their neighbourhood included."""
    axis = draw(arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda a: np.linalg.norm(a) > 1e-3))
    angle = draw(angles | st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, np.pi - 1e-7, np.pi - 1e-3, np.pi]))
    return pose.exp_so3(axis / np.linalg.norm(axis) * angle)


@st.composite
def transforms(draw):
    return pose.transform(draw(rotations()), draw(vectors))


def assert_close(a, b, tolerance=1e-8):
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)


@given(vectors)
def test_exp_gives_rotations(vector):
    rotation = pose.exp_so3(vector)
    assert_close(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@given(rotations())
def test_exp_inverts_log(rotation):
    vector = pose.log_so3(rotation)
    assert np.linalg.norm(vector) <= np.pi + 1e-9
    assert_close(pose.exp_so3(vector), rotation, 1e-7)


@given(vectors.filter(lambda v: np.linalg.norm(v) < np.pi - 1e-6))
def test_log_inverts_exp(vector):
    assert_close(pose.log_so3(pose.exp_so3(vector)), vector, 1e-7)


@given(st.floats(0, 1e-5))
def test_small_rotations_keep_their_size(angle):
    assert np.linalg.norm(pose.log_so3(pose.exp_so3([angle, 0, 0]))) == pytest.approx(angle, abs=1e-15, rel=1e-9)


@given(rotations())
def test_rotation_6d_round_trip(rotation):
    rotation_6d = pose.rotation_6d_from_matrix(rotation)
    np.testing.assert_array_equal(rotation_6d, np.concatenate([rotation[:, 0], rotation[:, 1]]))
    assert_close(pose.matrix_from_rotation_6d(rotation_6d), rotation)


@given(rotations(), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(-5, 5))
def test_rotation_6d_needs_no_orthonormal_columns(rotation, first, second, mixed):
    values = np.concatenate([first * rotation[:, 0], second * rotation[:, 1] + mixed * rotation[:, 0]])
    assert_close(pose.matrix_from_rotation_6d(values), rotation, 1e-6)


@given(rotations())
def test_quaternion_round_trip(rotation):
    quaternion = pose.quaternion_xyzw_from_matrix(rotation)
    assert np.linalg.norm(quaternion) == pytest.approx(1.0)
    assert quaternion[3] >= 0
    assert_close(pose.matrix_from_quaternion_xyzw(quaternion), rotation)
    assert_close(pose.matrix_from_quaternion_xyzw(-3.0 * quaternion), rotation)


@given(rotations())
def test_one_matrix_and_a_batch_of_it_have_the_same_quaternion(rotation):
    one, batch = pose.quaternion_xyzw_from_matrix(rotation), pose.quaternion_xyzw_from_matrix(rotation[None])[0]
    assert_close(one if one @ batch > 0.0 else -one, batch)  # of a half turn, either sign will do


def test_quaternion_order_is_xyzw():
    assert_close(pose.quaternion_xyzw_from_matrix(pose.exp_so3([0, 0, np.pi / 2])), [0, 0, 0.5**0.5, 0.5**0.5])


@given(transforms(), transforms(), transforms())
def test_group_axioms(a, b, c):
    assert_close(a @ pose.inverse(a), np.eye(4), 1e-7)
    assert_close(pose.inverse(pose.inverse(a)), a, 1e-7)
    assert_close(pose.inverse(a @ b), pose.inverse(b) @ pose.inverse(a), 1e-6)
    assert_close((a @ b) @ c, a @ (b @ c), 1e-6)


@given(transforms(), transforms())
def test_interpolation_ends_where_it_should(a, b):
    assert_close(pose.interpolate(a, b, 0.0), a, 1e-7)
    assert_close(pose.interpolate(a, b, 1.0), b, 1e-6)


@given(transforms(), transforms(), st.floats(0, 1))
def test_interpolation_turns_in_proportion(a, b, fraction):
    whole = np.linalg.norm(pose.log_so3(a[:3, :3].T @ b[:3, :3]))
    part = np.linalg.norm(pose.log_so3(a[:3, :3].T @ pose.interpolate(a, b, fraction)[:3, :3]))
    assert part == pytest.approx(fraction * whole, abs=1e-6)


@given(vectors, st.floats(-20, 20))
def test_tool_down_points_down_and_keeps_its_yaw(position, yaw):
    T_base_tool = pose.tool_down(position, yaw)
    assert_close(T_base_tool[:3, 2], [0, 0, -1])
    assert_close(T_base_tool[:3, 3], position)
    assert_close(T_base_tool[:3, :3], pose.exp_so3([0, 0, yaw]) @ np.diag([1.0, -1.0, -1.0]))
    assert_close(pose.wrap_angle(pose.yaw_of(T_base_tool) - yaw), 0)


@given(st.floats(-1e3, 1e3))
def test_wrapped_angles_are_the_same_angles(angle):
    wrapped = pose.wrap_angle(angle)
    assert -np.pi <= wrapped <= np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-9)


def test_leading_dimensions_are_batches():
    values = np.random.default_rng(0).normal(size=(4, 5, 3))
    rotation = pose.exp_so3(values)
    assert rotation.shape == (4, 5, 3, 3)
    assert_close(rotation[2, 3], pose.exp_so3(values[2, 3]))
    assert_close(pose.log_so3(rotation)[2, 3], pose.log_so3(rotation[2, 3]))
    assert pose.matrix_from_rotation_6d(pose.rotation_6d_from_matrix(rotation)).shape == rotation.shape
    assert pose.matrix_from_quaternion_xyzw(pose.quaternion_xyzw_from_matrix(rotation)).shape == rotation.shape
    assert pose.inverse(pose.transform(rotation, values)).shape == (4, 5, 4, 4)


@pytest.mark.parametrize("values", [np.zeros(6), [1, 0, 0, 2, 0, 0], [np.nan, 0, 0, 0, 1, 0]])
def test_degenerate_rotation_6d_is_an_error(values):
    with pytest.raises(SpecError, match="degenerate"):
        pose.matrix_from_rotation_6d(values)


def test_wrong_shapes_are_errors():
    with pytest.raises(SpecError, match=r"quaternion has shape \(\.\.\., 4\), not \(3,\)"):
        pose.matrix_from_quaternion_xyzw([0, 0, 1])
    with pytest.raises(SpecError, match="degenerate"):
        pose.matrix_from_quaternion_xyzw([0, 0, 0, 0])
    with pytest.raises(SpecError, match="position"):
        pose.transform(np.eye(3), [1, 2])
