"""`glam demos`: scripted demonstrations of one task and one embodiment into a store.

Seeds are tried in order from `seed` on; an episode in which the expert fails is left out and the next seed takes its
place. The store's content and order depend on the config alone, never on the number of workers or on interruptions.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro
from tqdm import tqdm

from glam_core.errors import ConfigurationError, DataError, closest
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, joint_action_spec, robot_state_spec
from glam_sim.cell import Cell
from glam_sim.model import EMBODIMENTS
from glam_sim.rollout import Episode, ExpertController, Recording, rollout
from glam_sim.sources import Source, find_source
from glam_sim.sources import plain as plain_source
from glam_sim.tasks import TASKS
from glam_training.config import differences, plain
from glam_training.data.store import INFO_FILE, EpisodeArrays, Provenance, Store, StoreInfo
from glam_training.parallel import ordered_map
from glam_training.provenance import command_line, git_commit, package_versions

MIN_SUCCESS = 0.2
"""When, of ten attempts or more, a smaller share than this succeeds, the expert is broken and recording stops."""

_MAY_DIFFER = ("out", "episodes", "workers")
"""Fields of the config that do not change what the n-th episode is."""
_ADDED_LATER = {"source": "", "action_space": "tool"}
"""What stores were recorded with before there was a choice."""


@dataclass(frozen=True)
class DemosConfig:
    """Record scripted demonstrations into a store; run it again with the same path to continue or to add episodes."""

    out: Path
    """Folder of the store."""
    task: str = "stack_two"
    """Task that is demonstrated."""
    embodiment: str = "gen3"
    """"gen3" (target, with action labels) or "umi" (auxiliary, its actions are hidden from training), in the plain
    cell; a source brings its own."""
    source: str = ""
    """Whose demonstrations, from whose cell: "gen3" (target), "umi" or "twin" (both auxiliary); empty, the plain
    cell."""
    action_space: Literal["tool", "joint"] = "tool"
    """What an action moves: the tool, or the joints of an arm (the robot state then holds the joints too)."""
    episodes: int = 100
    """Successful episodes that the store holds in the end."""
    cameras: tuple[str, ...] = ()
    """Cameras to record; none records the state alone."""
    image_size: int = 96
    """Height and width of the images in pixels."""
    masks: bool = False
    """Record object masks of each camera."""
    workers: int = 2
    """Processes that simulate."""
    seed: int = 0
    """First seed."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigurationError(closest(self.task, TASKS, "task"))
        if self.embodiment not in EMBODIMENTS:
            raise ConfigurationError(closest(self.embodiment, EMBODIMENTS, "embodiment"))
        embodiment = self.setting.embodiment  # raises now if the source is unknown
        if self.action_space == "joint" and embodiment != "gen3":
            raise ConfigurationError(f"{embodiment} has no joints; record it with --action-space tool")
        known = TASKS[self.task].layout.cameras
        for camera in self.cameras:
            if camera not in known:
                raise ConfigurationError(closest(camera, known, "camera"))
        if self.masks and not self.cameras:
            raise ConfigurationError("masks need cameras; add for instance --cameras front side")
        for name in ("episodes", "image_size", "workers"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def setting(self) -> Source:
        """Where the demonstrations come from."""
        return find_source(self.source) if self.source else plain_source(self.embodiment)


@dataclass(frozen=True)
class DemosResult:
    """What `record_demos` did: the store, and how many seeds failed on the way to its episodes."""

    store: Store
    failures: int


def record_demos(config: DemosConfig) -> DemosResult:
    """Record, or continue to record, the episodes that `config` asks for.

    Raises:
        ConfigurationError: the store at `config.out` was recorded with other settings.
        DataError: something else stands at `config.out`, or the expert hardly ever succeeds.
    """
    store = open_or_create(config)
    attempts = int(store.seeds[-1]) + 1 - config.seed if store.num_episodes else 0
    results = ordered_map(partial(_make_demonstrator, config), itertools.count(config.seed + attempts), config.workers)
    what = f"{config.task} {config.source or config.embodiment}"
    progress = tqdm(total=config.episodes, initial=store.num_episodes, desc=what)
    try:
        while store.num_episodes < config.episodes:
            episode = next(results)
            attempts += 1
            if episode.success:
                store.append(_as_arrays(episode, config))
                progress.update()
            progress.set_postfix(failed=attempts - store.num_episodes, refresh=False)
            if attempts >= 10 and store.num_episodes < MIN_SUCCESS * attempts:
                raise DataError(
                    f"the {config.task} expert succeeded in {store.num_episodes} of {attempts} episodes only; "
                    "the task or the expert is broken, see glam_sim"
                )
    finally:
        results.close()
        progress.close()
    return DemosResult(store, attempts - store.num_episodes)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam demos`."""
    config = tyro.cli(DemosConfig, prog="glam demos", args=sys.argv[1:] if arguments is None else arguments)
    result = record_demos(config)
    store = result.store
    print(
        f"{store.path}: {store.num_episodes} episodes, {store.num_frames} frames, {result.failures} failed attempts "
        f"left out, fingerprint {store.fingerprint[:12]}"
    )


def open_or_create(config: DemosConfig) -> Store:
    """The store that `config` asks for, to be appended to."""
    provenance = Provenance(
        command=command_line(),
        config=plain(config),
        commit=git_commit(),
        versions=package_versions("mujoco", "numpy"),
    )
    if not (config.out / INFO_FILE).exists():
        return Store.create(config.out, _make_info(config, provenance))
    store = Store.resume(config.out)
    before = store.info.provenance
    differing = differences(_content(before.config), _content(provenance.config))
    differing += differences({"mujoco": before.versions.get("mujoco")}, {"mujoco": provenance.versions["mujoco"]})
    if differing:
        raise ConfigurationError(
            f"{config.out} was recorded differently: {'; '.join(differing)}; "
            "continue it with the same settings or choose another path"
        )
    return store


def _content(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a plain config that decides what an episode is."""
    return {**_ADDED_LATER, **{name: value for name, value in config.items() if name not in _MAY_DIFFER}}


def _make_info(config: DemosConfig, provenance: Provenance) -> StoreInfo:
    with _make_cell(config) as cell:
        arms, scene_spec, mask_classes = cell.arms, cell.scene_spec(), cell.mask_classes
    size, setting = config.image_size, config.setting
    joint = config.action_space == "joint"
    return StoreInfo(
        task=config.task,
        embodiment=setting.embodiment,
        source=setting.name,
        obs_spec=ObsSpec(images=tuple(ImageSpec(name=name, height=size, width=size) for name in config.cameras)),
        action_spec=joint_action_spec(arms) if joint else ActionSpec(arms=arms),
        state_spec=robot_state_spec(arms, with_joints=joint),
        scene_spec=scene_spec,
        has_actions=setting.has_actions,
        mask_classes=mask_classes if config.masks else (),
        provenance=provenance,
    )


def _make_cell(config: DemosConfig) -> Cell:
    size, setting = (config.image_size, config.image_size), config.setting
    return Cell(config.task, setting.embodiment, size, setting)


def _make_demonstrator(config: DemosConfig) -> Callable[[int], Episode]:
    """A function from a seed to an episode, with a cell of its own."""
    cell = _make_cell(config)
    controller = ExpertController.of(config.task, config.setting)
    record = Recording(config.cameras, masks=config.cameras if config.masks else (), action_space=config.action_space)
    return lambda seed: rollout(cell, controller, seed, record=record)


def _as_arrays(episode: Episode, config: DemosConfig) -> EpisodeArrays:
    arrays = {f"images/{name}": frames for name, frames in episode.images.items()}
    arrays |= {f"masks/{name}": frames for name, frames in episode.masks.items()}
    arrays |= {"state": episode.state, "action": episode.action, "scene": episode.scene}
    return EpisodeArrays(arrays, episode.seed, episode.success, config.task, config.setting.embodiment)
