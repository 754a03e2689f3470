"""Normalisation: round trips, constant components, strict keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glam_core.errors import NormalizationError
from glam_core.normalize import Normalizer, Statistics


@given(arrays(np.float32, (6, 3), elements=st.floats(-100, 100, width=32)))
def test_round_trip(values):
    normalizer = Normalizer({"state": Statistics.of(values)})
    back = normalizer.denormalize("state", normalizer.normalize("state", values))
    np.testing.assert_allclose(back, values, atol=1e-3)
    assert back.dtype == np.float32


def test_normal_values_have_no_mean_and_unit_variance():
    values = np.random.default_rng(0).normal(3.0, 5.0, (1000, 2))
    normal = Normalizer({"state": Statistics.of(values)}).normalize("state", values)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=0), 1, atol=1e-5)


def test_a_constant_component_is_centred_and_not_scaled():
    normalizer = Normalizer({"gripper": ([0.5, 1.0], [0.0, 2.0])})
    np.testing.assert_allclose(normalizer.normalize("gripper", [0.6, 3.0]), [0.1, 1.0], atol=1e-6)
    np.testing.assert_allclose(normalizer.std("gripper"), [1.0, 2.0])
    np.testing.assert_allclose(normalizer.mean("gripper"), [0.5, 1.0])


def test_statistics_survive_json():
    statistics = Statistics.of(np.arange(12).reshape(2, 2, 3))
    assert Statistics.model_validate_json(statistics.model_dump_json()) == statistics


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (([0.0], [np.nan]), "std"),
        (([np.inf], [1.0]), "mean"),
        (([0.0, 0.0], [1.0]), "mean has 2 components and std has 1"),
        (([], []), "at least one"),
        (([0.0], [-1.0]), "negative"),
        ("nonsense", "unusable"),
        ((["a"], ["b"]), "unusable"),
    ],
)
def test_bad_statistics_name_their_key(statistics, message):
    with pytest.raises(NormalizationError, match=f"statistics of 'state' are unusable.*{message}|{message}"):
        Normalizer({"state": statistics})


def test_bad_use_is_an_error():
    normalizer = Normalizer({"state": ([0.0, 0.0], [1.0, 1.0])})
    with pytest.raises(NormalizationError, match="unknown statistics key 'stat'; legal: state; did you mean 'state'"):
        normalizer.normalize("stat", [0.0, 0.0])
    with pytest.raises(NormalizationError, match=r"'state' has 2 components, not shape \(3,\)"):
        normalizer.denormalize("state", np.zeros(3))
    with pytest.raises(NormalizationError, match="finite"):
        Statistics.of([[np.nan, 0.0]])
    with pytest.raises(NormalizationError, match="at least one row"):
        Statistics.of(np.zeros((0, 3)))
