"""Normalisation, once and strict: an unknown key is an error, a constant component is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from glam_core.errors import GlamError, NormalizationError, closest
from glam_core.schema import Schema

MIN_STD = 1e-6
"""A component with a smaller standard deviation is constant: it is centred and not scaled."""


class Statistics(Schema):
    """Mean and standard deviation of each component, in the unit of the data. A pair `(mean, std)` is accepted too."""

    error_type: ClassVar[type[GlamError]] = NormalizationError

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, data: Any) -> Any:
        if isinstance(data, tuple | list) and len(data) == 2:
            mean, std = (np.asarray(part, dtype=np.float64) for part in data)
            return {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} components and std has {len(self.std)}; give one each, at least one"
            )
        if min(self.std) < 0:
            raise ValueError(f"a standard deviation is negative: {min(self.std)}")
        return self

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """The statistics of `(..., D)` values over all leading dimensions."""
        array = np.asarray(values, dtype=np.float64)
        if array.ndim < 2 or 0 in array.shape or not np.all(np.isfinite(array)):
            raise NormalizationError(
                f"statistics need finite values of shape (..., D) and at least one row, not {array.shape}"
            )
        flat = array.reshape(-1, array.shape[-1])
        return cls(mean=tuple(flat.mean(axis=0).tolist()), std=tuple(flat.std(axis=0).tolist()))


class Normalizer:
    """Maps values to zero mean and unit variance and back, key by key.

    Args:
        statistics: Key to `Statistics` or to a pair `(mean, std)` of `(D,)` each.
    """

    def __init__(self, statistics: Mapping[str, Statistics | tuple[ArrayLike, ArrayLike]]) -> None:
        self.statistics: dict[str, Statistics] = {}
        for key, value in statistics.items():
            try:
                self.statistics[key] = Statistics.model_validate(value)
            except (NormalizationError, TypeError, ValueError) as error:
                raise NormalizationError(f"statistics of '{key}' are unusable: {error}") from error

    def mean(self, key: str) -> NDArray[np.float32]:
        """`(D,) float32`, in the unit of the data."""
        return np.asarray(self._of(key).mean, dtype=np.float32)

    def std(self, key: str) -> NDArray[np.float32]:
        """`(D,) float32`, in the unit of the data; 1 where the data is constant."""
        std = np.asarray(self._of(key).std, dtype=np.float32)
        return np.where(std < MIN_STD, np.float32(1.0), std)

    def normalize(self, key: str, values: ArrayLike) -> NDArray[np.float32]:
        """`(..., D)` in the unit of the data to standard values, float32."""
        return (self._values(key, values) - self.mean(key)) / self.std(key)

    def denormalize(self, key: str, values: ArrayLike) -> NDArray[np.float32]:
        """`(..., D)` standard values to the unit of the data, float32."""
        return self._values(key, values) * self.std(key) + self.mean(key)

    def _of(self, key: str) -> Statistics:
        if key not in self.statistics:
            raise NormalizationError(closest(key, self.statistics, "statistics key"))
        return self.statistics[key]

    def _values(self, key: str, values: ArrayLike) -> NDArray[np.float32]:
        array = np.asarray(values, dtype=np.float32)
        size = len(self._of(key).mean)
        if array.ndim == 0 or array.shape[-1] != size:
            raise NormalizationError(f"'{key}' has {size} components, not shape {array.shape}")
        return array
