"""Cells that differ in the training seed alone, pooled: the numbers of the tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from glam_core.stats import wilson_interval
from glam_training.experiment import Experiment
from glam_training.matrix.presets import normalised
from glam_training.matrix.record import CellRecord


@dataclass(frozen=True)
class Pooled:
    """One entry of a table: all seeds of one experiment.

    Attributes:
        experiment: with seed 0.
        records: one per seed, in their order.
    """

    experiment: Experiment
    records: tuple[CellRecord, ...]

    @property
    def n(self) -> int:
        """Episodes of all seeds."""
        return sum(record.n for record in self.records)

    @property
    def successes(self) -> int:
        """Successful ones."""
        return sum(record.successes for record in self.records)

    @property
    def is_of_today(self) -> bool:
        """Whether all of it was measured with the budget that the experiment has today."""
        return not any(record.budget_changes for record in self.records)

    @property
    def rate(self) -> float:
        """Success rate over all episodes."""
        return self.successes / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the rate; it covers the starts, not the spread between seeds of training."""
        return wilson_interval(self.successes, self.n)

    @property
    def rates(self) -> tuple[float, ...]:
        """Success rate of each seed."""
        return tuple(record.successes / record.n for record in self.records)

    def __str__(self) -> str:
        low, high = self.interval
        seeds = " ".join(f"{rate:.2f}" for rate in self.rates)
        mark = "" if self.is_of_today else " †"
        return f"{self.rate:.2f} [{low:.2f}, {high:.2f}], n {self.n} ({seeds}){mark}"


class Table:
    """All pooled cells of one suite and budget."""

    def __init__(self, records: Iterable[CellRecord]) -> None:
        groups: dict[Experiment, list[CellRecord]] = {}
        for record in sorted(records, key=lambda record: record.experiment.seed):
            groups.setdefault(replace(normalised(record.experiment), seed=0), []).append(record)
        self.entries = {key: Pooled(key, tuple(group)) for key, group in groups.items()}

    def __bool__(self) -> bool:
        return bool(self.entries)

    def get(self, cell: Experiment) -> Pooled | None:
        """The entry of a cell, whatever its seed; None when no seed of it has been measured."""
        return self.entries.get(replace(normalised(cell), seed=0))

    def best(self, cells: Iterable[Experiment]) -> Pooled | None:
        """The entry with the highest rate among those of `cells` that have been measured."""
        found = [entry for cell in cells if (entry := self.get(cell)) is not None]
        return max(found, key=lambda entry: entry.rate, default=None)
