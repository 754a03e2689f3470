"""Paired renders: one motion, seen in the cells of several sources. For probes alone; no training ever sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glam_core.observation import Observation
from glam_core.spec import ObsSpec
from glam_core.tool import ToolCommand, ToolState, state_vector
from glam_sim.cell import Cell
from glam_sim.objects import ObjectState
from glam_sim.rollout import ExpertController, rollout
from glam_sim.scene import Hand
from glam_sim.sources import Source
from glam_training.data.store import INFO_FILE, EpisodeArrays, Store
from glam_training.demos import DemosConfig, open_or_create

Frame = tuple[dict[str, Hand], dict[str, ObjectState]]
"""Where tools and objects are at one step."""


def record_pairs(
    folder: Path,
    task: str,
    episodes: int,
    seed: int,
    cameras: tuple[str, ...],
    image_size: int,
    sources: Sequence[Source],
) -> tuple[Path, ...]:
    """Record the same motions as one store per source, row by row, or use those that stand there.

    Args:
        folder: of the stores.
        task: that is demonstrated.
        episodes: how many.
        seed: of the first motion.
        cameras: to render; none records the scene alone.
        image_size: height and width in pixels.
        sources: whose cells show the motions; the people of the first one make them. A run should be probed with those
            of its own demonstrations: another table or other fingers, never seen in training, tell nothing of it.

    Returns:
        One store per source.
    """
    paths = tuple(folder / (f"plain_{s.embodiment}" if s.is_plain else s.name) for s in sources)
    if all((path / INFO_FILE).exists() and Store.open(path).num_episodes >= episodes for path in paths):
        return paths
    motions = _motions(task, sources[0], episodes, seed)
    for path, source in zip(paths, sources, strict=True):
        config = DemosConfig(
            path,
            task,
            embodiment=source.embodiment,
            source="" if source.is_plain else source.name,
            episodes=episodes,
            cameras=cameras,
            image_size=image_size,
            seed=seed,
        )
        store = open_or_create(config)
        with Cell(task, source.embodiment, (image_size, image_size), source) as cell:
            for number, motion in list(motions.items())[store.num_episodes :]:
                cell.reset(number)
                arrays = _show(cell, motion, cameras, store.info.action_spec.size)
                store.append(EpisodeArrays(arrays, number, True, task, store.info.embodiment))
    return paths


class _Watcher:
    """An expert whose motion is kept."""

    obs_spec = ObsSpec()

    def __init__(self, task: str, source: Source) -> None:
        self._expert = ExpertController.of(task, source)

    def reset(self, cell: Cell, seed: int) -> None:
        """Begin an episode."""
        self._cell = cell
        self._expert.reset(cell, seed)
        self.frames: list[Frame] = []

    def act(self, observation: Observation, tools: Mapping[str, ToolState], now: float) -> dict[str, ToolCommand]:
        """Decide the next command."""
        self.frames.append((self._cell.hands, self._cell.objects))
        return self._expert.act(observation, tools, now)


def _motions(task: str, source: Source, episodes: int, seed: int) -> dict[int, list[Frame]]:
    """Frames of so many successful episodes, by seed."""
    watcher, motions = _Watcher(task, source), {}
    with Cell(task, source.embodiment, source=source) as cell:
        while len(motions) < episodes:
            if rollout(cell, watcher, seed).success:
                motions[seed] = watcher.frames
            seed += 1
    return motions


def _show(cell: Cell, motion: list[Frame], cameras: tuple[str, ...], action_size: int) -> dict[str, np.ndarray]:
    """What a source's cell would have recorded of a motion; nobody has acted, so actions are zero."""
    rows: dict[str, list[np.ndarray]] = {key: [] for key in ("scene", "state", *(f"images/{c}" for c in cameras))}
    for hands, objects in motion:
        cell.show(hands, objects)
        rows["scene"].append(cell.scene_vector())
        rows["state"].append(state_vector(cell.tools, cell.arms))
        for camera in cameras:
            rows[f"images/{camera}"].append(cell.render(camera))
    arrays = {key: np.stack(values) for key, values in rows.items()}
    return {**arrays, "action": np.zeros((len(motion), action_size), np.float32)}
