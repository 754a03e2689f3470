"""Collects images and vectors as they arrive, and hands out aligned observations."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import ConfigurationError, ObservationError, StaleObservationError, closest
from glam_core.image import prepare_image
from glam_core.observation import Observation
from glam_core.spec import ObsSpec

_TOLERANCE_S = 1e-6


class ObservationBuffer:
    """The newest samples of every stream of an observation spec.

    Samples are aligned to the newest moment that every stream has reached: of each stream the nearest sample is taken,
    and for history the samples nearest to one, two, ... periods before. Before the first sample, the first one is
    repeated, as in the training data. Not thread-safe.

    Args:
        spec: The streams, their sizes, rate and history.
        max_age_s: The oldest that any stream's newest sample may be.
        max_skew_s: The farthest that the samples of one observation may lie apart.
    """

    def __init__(self, spec: ObsSpec, max_age_s: float, max_skew_s: float) -> None:
        if not max_age_s > 0 or not max_skew_s >= 0:
            raise ConfigurationError(f"max_age_s must be > 0 and max_skew_s >= 0, not {max_age_s} and {max_skew_s}")
        self.spec = spec
        self.max_age_s = max_age_s
        self.max_skew_s = max_skew_s
        self._period_s = 1.0 / spec.rate_hz
        self._keep_s = spec.history * self._period_s + max_age_s + max_skew_s
        self.reset()

    def reset(self) -> None:
        """Forgets every sample, as at the start of an episode."""
        self._images: dict[str, deque[tuple[float, NDArray]]] = {image.name: deque() for image in self.spec.images}
        self._vectors: dict[str, deque[tuple[float, NDArray]]] = {vector.name: deque() for vector in self.spec.vectors}

    def add_image(self, name: str, image: NDArray[np.uint8], stamp: float) -> None:
        """Adds a camera image `(h, w, 3) uint8 RGB` of any size, captured at `stamp` (s).

        Raises:
            ObservationError: The camera is unknown, the image malformed, or the stamp older than the last one.
        """
        if name not in self._images:
            raise ObservationError(closest(name, self._images, "camera"))
        self._add(self._images[name], prepare_image(image, self.spec.image(name)), stamp, f"camera '{name}'")

    def add_vector(self, name: str, value: ArrayLike, stamp: float) -> None:
        """Adds a vector `(D,)`, measured at `stamp` (s).

        Raises:
            ObservationError: The vector is unknown, of another size or not finite, or older than the last one.
        """
        if name not in self._vectors:
            raise ObservationError(closest(name, self._vectors, "vector"))
        spec = self.spec.vector(name)
        array = np.array(value, dtype=np.float32)
        if array.shape != (spec.size,):
            raise ObservationError(f"vector '{name}' has shape ({spec.size},), not {array.shape}")
        if not np.all(np.isfinite(array)):
            bad = [component for component, v in zip(spec.components, array, strict=True) if not math.isfinite(v)]
            raise ObservationError(f"vector '{name}' is not finite in {', '.join(bad)}; check its source")
        self._add(self._vectors[name], array, stamp, f"vector '{name}'")

    def ages(self, now: float) -> dict[str, float | None]:
        """Age (s) of every stream's newest sample at `now`, None where there is none: for diagnostics."""
        return {what: now - samples[-1][0] if samples else None for what, samples in self._streams()}

    def observe(self, now: float) -> Observation:
        """The newest aligned observation at `now` (s).

        Raises:
            ObservationError: Streams are missing, lie in the future, too far apart, or have gaps; all are named.
            StaleObservationError: Streams are too old; all are named with their ages.
        """
        streams = self._streams()
        missing = [what for what, samples in streams if not samples]
        if missing:
            raise ObservationError(
                f"nothing has arrived yet from {', '.join(missing)}; are its source and topic right?"
            )
        ages = {what: now - samples[-1][0] for what, samples in streams}
        stale = [f"{what} is {age:.3f} s old" for what, age in ages.items() if not age <= self.max_age_s + _TOLERANCE_S]
        if stale:
            raise StaleObservationError(f"{'; '.join(stale)}; the most allowed is {self.max_age_s:.3f} s")
        ahead = [what for what, age in ages.items() if age < -self.max_age_s]
        if ahead:
            raise ObservationError(f"{', '.join(ahead)} is stamped in the future; do all machines keep the same time?")
        stamp = min((samples[-1][0] for _, samples in streams), default=now)
        return Observation(
            stamp=stamp,
            images={name: self._aligned(samples, stamp, f"camera '{name}'") for name, samples in self._images.items()},
            vectors={
                name: self._aligned(samples, stamp, f"vector '{name}'") for name, samples in self._vectors.items()
            },
        )

    def _streams(self) -> list[tuple[str, deque[tuple[float, NDArray]]]]:
        images = [(f"camera '{name}'", samples) for name, samples in self._images.items()]
        return images + [(f"vector '{name}'", samples) for name, samples in self._vectors.items()]

    def _add(self, samples: deque[tuple[float, NDArray]], value: NDArray, stamp: float, what: str) -> None:
        if not math.isfinite(stamp):
            raise ObservationError(f"{what} has a stamp that is not finite: {stamp}")
        if samples and stamp < samples[-1][0]:
            raise ObservationError(
                f"{what} went back in time, from {samples[-1][0]:.3f} to {stamp:.3f} s; "
                "reset the buffer when a clock starts again"
            )
        if samples and stamp == samples[-1][0]:
            samples.pop()
        samples.append((stamp, value))
        while stamp - samples[0][0] > self._keep_s and len(samples) > 1:
            samples.popleft()

    def _aligned(self, samples: deque[tuple[float, NDArray]], stamp: float, what: str) -> NDArray:
        """The `(T, ...)` samples nearest to `stamp` and to the periods before it, oldest first."""
        rows = []
        for steps_back in range(self.spec.history - 1, -1, -1):
            wanted = stamp - steps_back * self._period_s
            found, value = min(samples, key=lambda sample: abs(sample[0] - wanted))
            allowed = max(self.max_skew_s, self._period_s / 2) if steps_back else self.max_skew_s
            before_first = steps_back > 0 and wanted < samples[0][0]
            if abs(found - wanted) > allowed + _TOLERANCE_S and not before_first:
                raise ObservationError(
                    f"{what} has no sample near {wanted:.3f} s; the nearest is {abs(found - wanted):.3f} s away, "
                    f"the most allowed is {allowed:.3f} s"
                )
            rows.append(value)
        return np.stack(rows)
