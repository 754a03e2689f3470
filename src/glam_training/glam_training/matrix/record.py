"""What is kept of a cell: one JSON file, written at once when the cell is measured and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from glam_core.errors import ConfigurationError, DataError
from glam_core.stats import wilson_interval
from glam_training.config import differences, plain
from glam_training.experiment import Experiment, Switches, read_budget, read_switches

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Starts:
    """Which episodes a cell is measured on.

    Seeds from 10000 on are for the tables, those from 30000 on for tuning; neither ever stands in for the other.
    """

    kind: str
    first_seed: int
    rollouts: int

    @property
    def seeds(self) -> range:
        """Seeds of the episodes."""
        return range(self.first_seed, self.first_seed + self.rollouts)


FIRST_SEED = {"evaluation": 10000, "tuning": 30000}


def starts(kind: str, rollouts: int) -> Starts:
    """The starts of a kind, "evaluation" or "tuning"."""
    return Starts(kind, FIRST_SEED[kind], rollouts)


@dataclass(frozen=True)
class Episodes:
    """Outcomes, one entry per episode, in the order of the seeds."""

    seed: tuple[int, ...]
    success: tuple[int, ...]
    """1 or 0."""
    steps: tuple[int, ...]
    """Of 0.1 s."""
    clamped: tuple[int, ...]
    """Steps in which the safety filter changed the command."""
    held: tuple[int, ...]
    """Steps without a latent that was due."""


@dataclass(frozen=True)
class CellRecord:
    """A measured cell."""

    experiment: Experiment
    starts: Starts
    episodes: Episodes
    conditions: dict[str, Any]
    """Latency of the rollouts, and the station whose safety limits applied."""
    budget: dict[str, Any]
    """The budget, spelled out."""
    fingerprints: dict[str, str]
    """Store to fingerprint."""
    cost: dict[str, float]
    """Seconds, megabytes, samples per second; see `glam_training.matrix.work`."""
    stages: dict[str, dict[str, Any]]
    """Steps, seconds and memory of each stage of training; the seconds are shared by the runs trained together."""
    hardware: dict[str, Any]
    versions: dict[str, str]
    commit: str
    command: str
    schema_version: int = field(default=SCHEMA_VERSION, kw_only=True)

    @property
    def n(self) -> int:
        """Episodes."""
        return len(self.episodes.success)

    @property
    def successes(self) -> int:
        """Successful ones."""
        return sum(self.episodes.success)

    @property
    def budget_changes(self) -> list[str]:
        """What its budget would be today, where that is something else, such as "steps was 10, is 20"."""
        return differences(read_budget(self.budget, self.experiment), plain(self.experiment.sizes))


def cell_path(folder: Path, cell: Experiment) -> Path:
    """Where a cell's record stands in `folder`, for instance
    `small/state/stack_two/glam-target20-aux400-seed0.json`."""
    return folder / cell.budget / cell.suite / cell.task / f"{cell_name(cell)}.json"


def cell_name(cell: Experiment) -> str:
    """A name that is unique among the cells of one budget, suite and task."""
    parts = [cell.method]
    if cell.action_space != "tool":
        parts.append(cell.action_space)
    if cell.encoder is not None:
        parts.append(cell.encoder)
    default = Switches()
    for switch in fields(Switches):
        value = getattr(cell.switches, switch.name)
        if value != getattr(default, switch.name):
            parts.append(f"{switch.name}={value}")
    parts.append(f"target{cell.target_episodes}")
    if cell.auxiliary_episodes:
        parts.append(f"aux{cell.auxiliary_episodes}")
    return "-".join([*parts, f"seed{cell.seed}"])


def write_record(path: Path, record: CellRecord) -> None:
    """Write the record; a process that is killed leaves the whole of it or nothing."""
    values = plain(record)
    low, high = wilson_interval(record.successes, record.n)
    summary = {"n": record.n, "successes": record.successes, "interval": [round(low, 4), round(high, 4)]}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in {**summary, **values}.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    os.replace(partial, path)


def read_record(path: Path) -> CellRecord:
    """Read a record.

    Raises:
        DataError: the file is damaged, or of another schema; says what to delete.
    """
    try:
        values = json.loads(path.read_text())
        if values["schema_version"] != SCHEMA_VERSION:
            raise DataError(f"{path} has schema version {values['schema_version']}, this code reads {SCHEMA_VERSION}")
        experiment = values["experiment"]
        episodes = Episodes(**{name: tuple(column) for name, column in values["episodes"].items()})
        record = CellRecord(
            experiment=Experiment(**{**experiment, "switches": read_switches(experiment["switches"])}),
            starts=Starts(**values["starts"]),
            episodes=episodes,
            **{
                f.name: values[f.name] for f in fields(CellRecord) if f.name not in ("experiment", "starts", "episodes")
            },
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no complete record of a cell ({error!r}); delete it to measure it again") from None
    if record.episodes.seed != tuple(record.starts.seeds) or len(record.episodes.success) != record.starts.rollouts:
        raise DataError(f"{path} does not hold the episodes that it says it holds; delete it to measure it again")
    return record


def read_records(folder: Path) -> list[CellRecord]:
    """All records below a folder, in the order of their paths."""
    return [read_record(path) for path in sorted(folder.rglob("*.json"))]


def is_done(path: Path, cell: Experiment, wanted: Starts, budget: Mapping[str, Any]) -> bool:
    """Whether the cell has been measured already.

    Raises:
        ConfigurationError: the file holds another measurement; lists the differences.
        DataError: the file is damaged.
    """
    if not path.exists():
        return False
    record = read_record(path)
    before = {
        "experiment": plain(record.experiment),
        "starts": plain(record.starts),
        "budget": read_budget(record.budget, record.experiment),
    }
    now = {"experiment": plain(cell), "starts": plain(wanted), "budget": dict(budget)}
    differing = differences(before, now)
    if differing:
        raise ConfigurationError(
            f"{path} was measured differently: {'; '.join(differing)}; delete it or choose another folder for results"
        )
    return True


def collect_episodes(outcomes: Iterable[Any]) -> Episodes:
    """Columns of the outcomes of `glam_training.evaluate`, in the order of their seeds."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.seed)
    return Episodes(
        seed=tuple(o.seed for o in ordered),
        success=tuple(int(o.success) for o in ordered),
        steps=tuple(o.steps for o in ordered),
        clamped=tuple(o.clamps for o in ordered),
        held=tuple(o.held for o in ordered),
    )
