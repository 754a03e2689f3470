"""The demonstrations of the matrix: which stores a cell needs, and their recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glam_sim.tasks import TASKS
from glam_training.data.store import INFO_FILE, Store
from glam_training.demos import DemosConfig, record_demos
from glam_training.experiment import Experiment, Stores

FIRST_SEED = {"target": 0, "auxiliary": 5000}
"""First seed of each store: no auxiliary demonstration starts where a target one does."""
SOURCE = {"target": "gen3", "auxiliary": "umi"}
"""Whose demonstrations they are."""


@dataclass(frozen=True)
class StoreNeed:
    """A store that some cells learn from.

    Attributes:
        path: of the store.
        role: "target" or "auxiliary".
        episodes: that it holds in the end, whatever share of them a cell uses.
    """

    path: Path
    task: str
    role: str
    suite: str
    action_space: str
    episodes: int

    def config(self, workers: int) -> DemosConfig:
        """How it is recorded."""
        images = self.suite == "images"
        return DemosConfig(
            self.path,
            self.task,
            source=SOURCE[self.role],
            action_space=self.action_space,
            episodes=self.episodes,
            cameras=still_cameras(self.task) if images else (),
            masks=images,
            workers=workers,
            seed=FIRST_SEED[self.role],
        )

    def is_recorded(self) -> bool:
        """Whether the store is complete."""
        return (self.path / INFO_FILE).exists() and Store.open(self.path).num_episodes >= self.episodes

    def record(self, workers: int) -> None:
        """Record the store, or the rest of it; for a few episodes it is not worth starting processes."""
        record_demos(self.config(min(workers, -(-self.episodes // 10))))


def still_cameras(task: str) -> tuple[str, ...]:
    """The cameras that see the whole work area of a task."""
    return tuple(name for name in TASKS[task].layout.views if name != "overview")


def needs(cell: Experiment, data: Path, target_episodes: int, auxiliary_episodes: int) -> tuple[StoreNeed, StoreNeed]:
    """The target and the auxiliary store of a cell, in the folder `data`, with so many episodes."""
    folder = data / cell.suite / cell.task
    joint = "" if cell.action_space == "tool" else f"_{cell.action_space}"
    target = StoreNeed(folder / f"target{joint}", cell.task, "target", cell.suite, cell.action_space, target_episodes)
    auxiliary = StoreNeed(folder / "umi", cell.task, "auxiliary", cell.suite, "tool", auxiliary_episodes)
    return target, auxiliary


def stores(target: StoreNeed, auxiliary: StoreNeed, encoders: Path) -> Stores:
    """The same for training."""
    return Stores(target.path, (auxiliary.path,), encoders)
