"""One observation, as a policy sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ObservationError, closest
from glam_core.spec import ObsSpec


@dataclass(frozen=True, eq=False)
class Observation:
    """Aligned inputs of one moment, with `T` steps of history, oldest first.

    Attributes:
        stamp: When it was captured, s: the time of the oldest of the newest frames.
        images: Camera name to `(T, H, W, 3) uint8 RGB`.
        vectors: Vector name to `(T, D) float32`.
    """

    stamp: float
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def check_observation(observation: Observation, spec: ObsSpec) -> None:
    """Raises ObservationError unless every stream of the spec is there, with its shape and type, and finite."""
    for image in spec.images:
        array = _stream(observation.images, image.name, "camera")
        _require(array, (spec.history, image.height, image.width, 3), np.uint8, f"camera '{image.name}'")
    for vector in spec.vectors:
        array = _stream(observation.vectors, vector.name, "vector")
        _require(array, (spec.history, vector.size), np.float32, f"vector '{vector.name}'")
        if not np.all(np.isfinite(array)):
            bad = [
                name for name, column in zip(vector.components, array.T, strict=True) if not np.isfinite(column).all()
            ]
            raise ObservationError(f"vector '{vector.name}' is not finite in {', '.join(bad)}; check its source")


def _stream(streams: Mapping[str, NDArray], name: str, kind: str) -> NDArray:
    if name not in streams:
        raise ObservationError(f"the model needs the {kind} '{name}'; " + closest(name, streams, kind))
    return streams[name]


def _require(array: NDArray, shape: tuple[int, ...], dtype: type, what: str) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ObservationError(f"{what} is {array.dtype} {array.shape}; expected {np.dtype(dtype)} {shape}")
