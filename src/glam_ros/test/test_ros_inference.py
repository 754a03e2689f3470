"""The worker thread: one prediction at a time, errors handed back, no thread left."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from glam_core.errors import ObservationError
from glam_core.observation import Observation
from glam_ros.inference import InferenceWorker

PATIENCE_S = 10.0


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


def test_a_prediction_comes_back_with_its_observation_and_time(woken: threading.Event) -> None:
    worker = InferenceWorker(lambda observation: np.full((2, 3), observation.stamp, np.float32), woken.set)
    assert worker.submit(Observation(4.0), 4.01)
    assert woken.wait(PATIENCE_S)
    (prediction,) = worker.results()
    assert (prediction.observation.stamp, prediction.received_at) == (4.0, 4.01)
    np.testing.assert_array_equal(prediction.chunk, np.full((2, 3), 4.0))
    assert prediction.inference_s > 0.0
    assert worker.results() == []
    worker.close()


def test_a_second_observation_waits_for_nobody(woken: threading.Event) -> None:
    gate = threading.Event()

    def predict(_observation: Observation) -> np.ndarray:
        gate.wait(PATIENCE_S)
        return np.zeros((1, 1), np.float32)

    worker = InferenceWorker(predict, woken.set)
    assert worker.submit(Observation(0.0), 0.0)
    assert worker.busy
    assert not worker.submit(Observation(1.0), 1.0)
    gate.set()
    assert woken.wait(PATIENCE_S)
    assert not worker.busy
    assert [prediction.observation.stamp for prediction in worker.results()] == [0.0]
    worker.close()


@pytest.mark.parametrize("problem", [ObservationError("camera 'front' is dark"), RuntimeError("out of memory")])
def test_an_error_ends_no_thread(problem: Exception, woken: threading.Event) -> None:
    def predict(observation: Observation) -> np.ndarray:
        if observation.stamp == 0.0:
            raise problem
        return np.zeros((1, 1), np.float32)

    worker = InferenceWorker(predict, woken.set)
    for stamp in (0.0, 1.0):
        woken.clear()
        assert worker.submit(Observation(stamp), stamp)
        assert woken.wait(PATIENCE_S)
    failed, fine = worker.results()
    assert failed.chunk is None
    assert str(problem) in failed.error
    assert fine.chunk is not None
    worker.close()
