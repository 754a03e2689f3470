"""When the policy plans, on what, and what is said when it can not."""

from __future__ import annotations

import numpy as np
import pytest

from glam_core.errors import ConfigurationError, ObservationError
from glam_core.spec import ImageSpec, ObsSpec, VectorSpec
from glam_ros.planning import Planner, require_streams

SPEC = ObsSpec(
    images=(ImageSpec(name="front", height=8, width=8), ImageSpec(name="side", height=8, width=8)),
    vectors=(VectorSpec(name="state", components=("x",), units=("m",)),),
)
IMAGE = np.zeros((8, 8, 3), np.uint8)


def make() -> Planner:
    return Planner(SPEC, replan_period_s=0.4, max_age_s=0.3, max_skew_s=0.06)


def feed(planner: Planner, stamp: float) -> None:
    planner.add_image("front", IMAGE, stamp)
    planner.add_image("side", IMAGE, stamp)
    planner.add_vector("state", np.zeros(1), stamp)


def test_the_first_complete_observation_is_due_at_once() -> None:
    planner = make()
    planner.add_image("front", IMAGE, 0.0)
    assert planner.due(0.01) is None
    feed(planner, 0.1)
    assert planner.due(0.11).stamp == pytest.approx(0.1)


def test_one_plan_per_replan_period() -> None:
    planner = make()
    planned = []
    for step in range(20):
        feed(planner, 0.1 * step)
        observation = planner.due(0.1 * step + 0.01)
        if observation is not None:
            planner.planned(observation)
            planned.append(step)
    assert planned == [0, 4, 8, 12, 16]


def test_jitter_of_the_stamps_costs_no_step() -> None:
    planner = make()
    jitter = np.random.default_rng(0).uniform(-0.01, 0.01, 20)
    planned = []
    for step in range(20):
        feed(planner, 0.1 * step + jitter[step])
        observation = planner.due(0.1 * step + 0.02)
        if observation is not None:
            planner.planned(observation)
            planned.append(step)
    assert planned == [0, 4, 8, 12, 16]


def test_after_a_reset_nothing_from_before_is_planned_on() -> None:
    planner = make()
    feed(planner, 1.0)
    planner.planned(planner.due(1.01))
    planner.forget(before=1.05)
    feed(planner, 1.04)
    assert planner.due(1.06) is None
    feed(planner, 1.1)
    assert planner.due(1.11).stamp == pytest.approx(1.1)


def test_a_stale_stream_is_named_with_its_age() -> None:
    planner = make()
    feed(planner, 0.0)
    planner.due(0.0)
    planner.add_image("front", IMAGE, 0.6)
    planner.add_vector("state", np.zeros(1), 0.6)
    assert planner.due(0.65) is None
    assert "camera 'side' is 0.650 s old" in planner.fault(0.65)


def test_there_is_no_fault_while_streams_keep_coming() -> None:
    planner = make()
    feed(planner, 0.0)
    planner.due(0.0)
    planner.add_image("front", IMAGE, 0.1)
    assert planner.fault(0.1) == "", "between two images of one capture the streams are apart for a moment"


def test_nan_is_refused_with_its_component() -> None:
    with pytest.raises(ObservationError, match="vector 'state' is not finite in x"):
        make().add_vector("state", np.array([np.nan]), 0.0)


def test_a_misspelt_camera_lists_those_of_the_station() -> None:
    with pytest.raises(ConfigurationError, match=r"needs the camera 'front'.*legal: frnt, side; did you mean 'frnt'"):
        require_streams(SPEC, ("frnt", "side"), ("state",))


def test_an_unknown_vector_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="needs the vector 'state'.*legal: scene"):
        require_streams(SPEC, ("front", "side"), ("scene",))
