"""Image preprocessing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glam_core.errors import ObservationError
from glam_core.image import prepare_image
from glam_core.spec import ImageSpec

sides = st.integers(1, 70)


@given(sides, sides, sides, sides)
def test_every_size_becomes_the_wanted_one(height, width, wanted_height, wanted_width):
    spec = ImageSpec(name="front", height=wanted_height, width=wanted_width)
    image = prepare_image(np.full((height, width, 3), 77, np.uint8), spec)
    assert image.shape == (wanted_height, wanted_width, 3)
    assert image.dtype == np.uint8
    assert np.all(image == 77)


def test_the_right_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    np.testing.assert_array_equal(prepare_image(image, ImageSpec(name="front", height=96, width=96)), image)


def test_the_centre_is_kept():
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 8:56] = 255  # the square in the middle
    assert np.all(prepare_image(image, ImageSpec(name="front", height=24, width=24)) == 255)


def test_resizing_averages_areas():
    image = np.zeros((4, 4, 3), np.uint8)
    image[::2, ::2] = 200  # a quarter of every 2 x 2 block
    assert np.all(prepare_image(image, ImageSpec(name="front", height=2, width=2)) == 50)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4, 3), np.nan),
    ],
)
def test_bad_images_name_the_camera(image):
    with pytest.raises(ObservationError, match=r"camera 'wrist' gave .*; expected uint8 \(height, width, 3\) RGB"):
        prepare_image(image, ImageSpec(name="wrist", height=2, width=2))
