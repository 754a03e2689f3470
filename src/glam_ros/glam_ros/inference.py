"""One worker thread for the network, so that no callback of the executor ever waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import GlamError
from glam_core.observation import Observation


@dataclass(frozen=True, eq=False)
class Prediction:
    """What became of an observation that arrived at `received_at`: a chunk `(H, d) float32`, or the reason for none."""

    observation: Observation
    received_at: float
    chunk: NDArray[np.float32] | None
    inference_s: float
    error: str = ""


class InferenceWorker:
    """Runs `predict` on one observation at a time; finished predictions are collected with `results`."""

    def __init__(self, predict: Callable[[Observation], NDArray[np.float32]], wake: Callable[[], object]) -> None:
        """Starts the thread.

        Args:
            predict: Observation to chunk `(H, d) float32`; called in the worker thread only.
            wake: Called in the worker thread after each prediction, to bring the owner to `results`.
        """
        self._predict, self._wake = predict, wake
        self._inbox: queue.SimpleQueue[tuple[Observation, float] | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Prediction] = queue.SimpleQueue()
        self._busy = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """True from `submit` until the prediction can be collected."""
        return self._busy.is_set()

    def submit(self, observation: Observation, received_at: float) -> bool:
        """Hands over an observation; False, and nothing happens, while the last one is being worked on."""
        if self.busy:
            return False
        self._busy.set()
        self._inbox.put((observation, received_at))
        return True

    def results(self) -> list[Prediction]:
        """The predictions that were finished since the last call, oldest first."""
        finished = []
        while not self._outbox.empty():
            finished.append(self._outbox.get_nowait())
        return finished

    def close(self) -> None:
        """Ends the thread after the prediction that it is working on."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            self._outbox.put(self._one(*item))
            self._busy.clear()
            self._wake()

    def _one(self, observation: Observation, received_at: float) -> Prediction:
        start = time.perf_counter()
        try:
            chunk, error = self._predict(observation), ""
        except GlamError as problem:
            chunk, error = None, str(problem)
        except Exception as problem:  # the network's runtime has error types of its own; none may end the thread
            chunk, error = None, f"{type(problem).__name__}: {problem}"
        return Prediction(observation, received_at, chunk, time.perf_counter() - start, error)
