"""When to plan, and on which observation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from glam_core.buffer import ObservationBuffer
from glam_core.errors import ConfigurationError, ObservationError, closest
from glam_core.observation import Observation
from glam_core.spec import ObsSpec

EARLY_STEPS = 0.2
"""How much earlier than its period an observation may come and still be planned on: stamps jitter."""


class Planner:
    """Gathers the streams of a model and says, once per replan period, that the newest aligned observation is due."""

    def __init__(self, spec: ObsSpec, replan_period_s: float, max_age_s: float, max_skew_s: float) -> None:
        """Prepares the planner.

        Args:
            spec: The streams that the model needs.
            replan_period_s: Time between the observations of two plans, s.
            max_age_s: An observation with an older stream is not planned on, s.
            max_skew_s: Streams of one observation are at most this far apart, s.
        """
        self._spec, self._replan_period_s = spec, replan_period_s
        self._max_age_s, self._max_skew_s = max_age_s, max_skew_s
        self._tolerance_s = EARLY_STEPS / spec.rate_hz
        self.forgotten_before = -math.inf
        self._restart()

    def add_image(self, name: str, image: NDArray[np.uint8], stamp: float) -> None:
        """Takes in an image `(h, w, 3) uint8 RGB`; one from before a reset is ignored."""
        if stamp >= self.forgotten_before:
            self._buffer.add_image(name, image, stamp)

    def add_vector(self, name: str, value: NDArray[np.float32], stamp: float) -> None:
        """Takes in a vector `(D,)`; one from before a reset is ignored."""
        if stamp >= self.forgotten_before:
            self._buffer.add_vector(name, value, stamp)

    def forget(self, before: float) -> None:
        """Drops all that was observed and ignores what was observed before `before` (s): a new episode began."""
        self.forgotten_before = before
        self._restart()

    def due(self, now: float) -> Observation | None:
        """The observation to plan on, or None: too early, or a stream is missing, stale or not aligned yet."""
        try:
            observation = self._buffer.observe(now)
        except ObservationError:
            return None
        self._aligned_at = now
        if observation.stamp < self._planned_at + self._replan_period_s - self._tolerance_s:
            return None
        return observation

    def fault(self, now: float) -> str:
        """Which stream is missing or stale, and how old it is; empty while the streams keep coming in."""
        if now - self._aligned_at <= self._max_age_s:
            return ""
        try:
            self._buffer.observe(now)
        except ObservationError as error:
            return str(error)
        return ""

    def planned(self, observation: Observation) -> None:
        """The observation is being planned on; the next one is due a replan period later."""
        self._planned_at = observation.stamp

    def _restart(self) -> None:
        self._buffer = ObservationBuffer(self._spec, self._max_age_s, self._max_skew_s)
        self._planned_at = self._aligned_at = -math.inf


def require_streams(spec: ObsSpec, cameras: Sequence[str], vectors: Iterable[str]) -> None:
    """Raises ConfigurationError unless the station has every camera and vector that the model needs."""
    for image in spec.images:
        if image.name not in cameras:
            raise ConfigurationError(
                f"the model needs the camera '{image.name}': " + closest(image.name, cameras, "camera")
            )
    known = tuple(vectors)
    for vector in spec.vectors:
        if vector.name not in known:
            raise ConfigurationError(
                f"the model needs the vector '{vector.name}': " + closest(vector.name, known, "vector")
            )
