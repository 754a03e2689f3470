"""The observation buffer: alignment, history, ages, and streams that misbehave."""

import numpy as np
import pytest

from glam_core.buffer import ObservationBuffer
from glam_core.errors import ConfigurationError, ObservationError, StaleObservationError
from glam_core.observation import Observation, check_observation
from glam_core.spec import ImageSpec, ObsSpec, VectorSpec

STATE = VectorSpec(name="state", components=("x", "y"), units=("m", "m"))
CAMERAS = (ImageSpec(name="front", height=8, width=8), ImageSpec(name="side", height=8, width=8))


def image(value, size=8):
    return np.full((size, size, 3), value, np.uint8)


def make(history=1, cameras=CAMERAS, max_age_s=0.2, max_skew_s=0.03):
    spec = ObsSpec(images=cameras, vectors=(STATE,), history=history)
    return ObservationBuffer(spec, max_age_s=max_age_s, max_skew_s=max_skew_s)


def fill(buffer, stamps, skew=0.0):
    for index, stamp in enumerate(stamps):
        buffer.add_image("front", image(index), stamp)
        buffer.add_image("side", image(100 + index), stamp + skew)
        buffer.add_vector("state", [index, -index], stamp)


def test_streams_are_aligned_to_the_newest_moment_that_all_have_reached():
    buffer = make()
    fill(buffer, [1.0, 1.1])
    buffer.add_image("front", image(2), 1.2)
    buffer.add_vector("state", [2, -2], 1.11)
    observation = buffer.observe(1.22)
    assert observation.stamp == 1.1
    assert observation.images["front"].shape == (1, 8, 8, 3)
    assert observation.images["front"][0, 0, 0, 0] == 1  # not the newer one
    assert observation.images["side"][0, 0, 0, 0] == 101
    np.testing.assert_array_equal(observation.vectors["state"], [[1, -1]])
    check_observation(observation, buffer.spec)


def test_images_are_prepared_as_in_training():
    buffer = make()
    fill(buffer, [1.0])
    buffer.add_image("front", image(9, size=64), 1.1)
    fill(buffer, [1.1])
    assert buffer.observe(1.1).images["front"].shape == (1, 8, 8, 3)


def test_history_is_oldest_first_and_starts_with_the_first_sample_repeated():
    buffer = make(history=3)
    fill(buffer, [1.0])
    np.testing.assert_array_equal(buffer.observe(1.0).vectors["state"][:, 0], [0, 0, 0])
    fill(buffer, [1.1])
    assert buffer.observe(1.1).images["front"][:, 0, 0, 0].tolist() == [0, 0, 0]  # restarted counting at 0
    buffer.reset()
    fill(buffer, [2.0, 2.1, 2.2, 2.3])
    observation = buffer.observe(2.35)
    np.testing.assert_array_equal(observation.vectors["state"][:, 0], [1, 2, 3])
    assert observation.images["side"][:, 0, 0, 0].tolist() == [101, 102, 103]
    check_observation(observation, buffer.spec)


def test_history_bridges_a_long_run():
    buffer = make(history=2)
    fill(buffer, [index * 0.1 for index in range(150)])
    observation = buffer.observe(14.9)
    np.testing.assert_array_equal(observation.vectors["state"][:, 0], [148, 149])


def test_a_gap_in_the_history_is_an_error():
    buffer = make(history=3, max_age_s=1.0)
    fill(buffer, [1.0, 1.1])
    fill(buffer, [1.5])
    with pytest.raises(ObservationError, match=r"camera 'front' has no sample near 1\.[34]00 s"):
        buffer.observe(1.5)


def test_missing_streams_are_all_named():
    buffer = make()
    buffer.add_image("front", image(0), 0.0)
    with pytest.raises(ObservationError, match="nothing has arrived yet from camera 'side', vector 'state'"):
        buffer.observe(0.0)
    assert buffer.ages(0.5) == {"camera 'front'": 0.5, "camera 'side'": None, "vector 'state'": None}


def test_stale_streams_are_named_with_their_age():
    buffer = make()
    fill(buffer, [1.0])
    buffer.add_image("front", image(1), 1.3)
    with pytest.raises(StaleObservationError, match=r"camera 'side' is 0.300 s old; vector 'state' is 0.300 s old"):
        buffer.observe(1.3)


def test_streams_that_lie_apart_are_an_error():
    buffer = make()
    fill(buffer, [1.0], skew=0.05)
    with pytest.raises(
        ObservationError, match=r"camera .side. has no sample near 1\.000 s; the nearest is 0\.050 s away"
    ):
        buffer.observe(1.05)


def test_streams_from_the_future_are_an_error():
    buffer = make()
    fill(buffer, [9.0])
    with pytest.raises(ObservationError, match="future"):
        buffer.observe(1.0)


def test_reset_forgets():
    buffer = make()
    fill(buffer, [5.0])
    buffer.reset()
    with pytest.raises(ObservationError, match="nothing has arrived"):
        buffer.observe(5.0)
    fill(buffer, [1.0])
    assert buffer.observe(1.0).stamp == 1.0


def test_bad_samples_are_refused_when_they_come():
    buffer = make()
    with pytest.raises(ObservationError, match=r"unknown camera 'frnt'; legal: front, side; did you mean 'front'\?"):
        buffer.add_image("frnt", image(0), 0.0)
    with pytest.raises(ObservationError, match="unknown vector 'scene'; legal: state"):
        buffer.add_vector("scene", [0.0], 0.0)
    with pytest.raises(ObservationError, match="camera 'front' gave float64"):
        buffer.add_image("front", np.full((8, 8, 3), np.nan), 0.0)
    with pytest.raises(ObservationError, match=r"vector 'state' has shape \(2,\), not \(3,\)"):
        buffer.add_vector("state", [0.0, 1.0, 2.0], 0.0)
    with pytest.raises(ObservationError, match="vector 'state' is not finite in y"):
        buffer.add_vector("state", [0.0, np.nan], 0.0)
    with pytest.raises(ObservationError, match="stamp that is not finite"):
        buffer.add_vector("state", [0.0, 0.0], np.nan)
    buffer.add_vector("state", [0.0, 0.0], 1.0)
    with pytest.raises(ObservationError, match="vector 'state' went back in time"):
        buffer.add_vector("state", [0.0, 0.0], 0.5)


def test_a_value_with_the_same_stamp_replaces_the_old_one():
    buffer = make()
    fill(buffer, [1.0])
    buffer.add_vector("state", [7.0, 7.0], 1.0)
    np.testing.assert_array_equal(buffer.observe(1.0).vectors["state"], [[7, 7]])


@pytest.mark.parametrize(("age", "skew"), [(0.0, 0.1), (np.nan, 0.1), (0.1, -1.0), (0.1, np.nan)])
def test_bad_settings_are_refused(age, skew):
    with pytest.raises(ConfigurationError, match="max_age_s"):
        ObservationBuffer(ObsSpec(), max_age_s=age, max_skew_s=skew)


@pytest.mark.parametrize(
    ("images", "vectors", "message"),
    [
        ({}, {"state": np.zeros((1, 2), np.float32)}, "the model needs the camera 'front'"),
        ({"front": np.zeros((1, 8, 9, 3), np.uint8)}, {}, r"camera 'front' is uint8 \(1, 8, 9, 3\); expected"),
        ({"front": np.zeros((1, 8, 8, 3))}, {}, "camera 'front' is float64"),
        ({"front": np.zeros((1, 8, 8, 3), np.uint8)}, {}, "the model needs the vector 'state'"),
        (
            {"front": np.zeros((1, 8, 8, 3), np.uint8)},
            {"state": np.full((1, 2), np.nan, np.float32)},
            "not finite in x",
        ),
    ],
)
def test_observations_are_checked_against_their_spec(images, vectors, message):
    spec = ObsSpec(images=CAMERAS[:1], vectors=(STATE,))
    with pytest.raises(ObservationError, match=message):
        check_observation(Observation(0.0, images, vectors), spec)
