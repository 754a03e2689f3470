"""What the runs of the bench see of their stores, checked and in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from glam_core.errors import ConfigurationError, DataError
from glam_training.contract import Contract, make_contract
from glam_training.data.store import Store
from glam_training.encoders import (
    Frames,
    encoder_folder,
    perceive_frames,
    read_frames,
    require_folder,
    train_encoder,
)
from glam_training.experiment import Experiment, Stores
from glam_training.models.keypoints import KeypointPerception
from glam_training.models.perception import ImagePerception, PerceptionConfig, ScenePerception
from glam_training.models.rivals.pose_cotraining import poses_as_actions
from glam_training.pool import choose_episodes
from glam_training.run import read_tensors
from glam_training.slots import Slots, check_masks, observation_keys

SAMPLES_FILE = "samples.npz"
SAMPLES = 4


@dataclass(frozen=True)
class Perceived:
    """One run's demonstrations.

    Attributes:
        contract: what a policy trained on them expects and produces.
        perception: frozen, on the CPU.
        sources: target first; only the run's own episodes.
        fingerprints: of the stores, by role.
        samples: a few raw observations, states, and the ranges of state and action, for export.
    """

    contract: Contract
    perception: ImagePerception | KeypointPerception | ScenePerception
    sources: list[Slots]
    fingerprints: dict[str, str]
    samples: dict[str, np.ndarray]

    def write_samples(self, folder: Path) -> None:
        """Write what export needs of the data."""
        np.savez(folder / SAMPLES_FILE, allow_pickle=False, **self.samples)


def perceive(experiment: Experiment, stores: Stores, device: torch.device) -> Perceived:
    """Read the run's demonstrations; from images, train or load their encoder and look at every frame.

    Raises:
        ConfigurationError: stores that do not fit the experiment or each other.
        DataError: too few demonstrations, or values that are not finite.
    """
    target = Store.open(stores.target)
    from_images = experiment.suite == "images"
    # The encoder learns from all sources, for methods that learn from the target alone as well.
    everyone = from_images and experiment.auxiliary_episodes > 0
    others = [Store.open(path) for path in stores.auxiliary] if everyone or experiment.auxiliary_demonstrations else []
    check_stores(experiment, target, others)
    fingerprints = {"target": target.fingerprint}
    fingerprints |= {f"auxiliary/{store.path.name}": store.fingerprint for store in others}
    wanted = [(target, experiment.target_demonstrations)]
    wanted += [(store, experiment.auxiliary_demonstrations) for store in others if experiment.auxiliary_demonstrations]
    chosen = [choose_episodes(store.num_episodes, n, experiment.seed, str(store.path)) for store, n in wanted]
    if from_images:
        contract = make_contract(target, "images", ())
        contract = replace(contract, slots=contract.slots if experiment.encoder_kind == "slots" else 0)
        eyes = _Eyes(experiment, stores, contract, [target, *others], fingerprints, device)
        perception, look = eyes.perception, eyes.look
    else:
        contract = make_contract(target, "scene", ())
        perception, look = contract.make_perception(PerceptionConfig()), _look_at_scene
    sources = []
    for i, ((store, _), episodes) in enumerate(zip(wanted, chosen, strict=True)):
        sources.append(_read(store, episodes, look, experiment, labelled=i == 0))
    samples = _samples(target, contract, sources[0], chosen[0])
    return Perceived(contract, perception, sources, fingerprints, samples)


def check_stores(experiment: Experiment, target: Store, auxiliary: list[Store]) -> None:
    """Refuse stores from which the experiment cannot be run."""
    if not target.info.has_actions:
        raise ConfigurationError(f"{target.path} is an auxiliary source without actions; the target store needs them")
    if experiment.auxiliary_demonstrations and not auxiliary:
        raise ConfigurationError(f"{experiment.method} learns from auxiliary demonstrations; name their stores")
    keys = observation_keys(target, "scene" if experiment.suite == "state" else "images", ())
    for store in [target, *auxiliary]:
        if store.info.task != experiment.task:
            raise ConfigurationError(f"{store.path} holds task '{store.info.task}', not '{experiment.task}'")
        if experiment.suite == "images" and experiment.encoder_kind == "slots":
            check_masks(store, target)
        for key in keys:
            wanted, found = target.info.columns()[key], store.info.columns().get(key, "missing")
            if found != wanted:
                raise ConfigurationError(
                    f"{store.path}: {key} is {found}, the target store has {wanted}; all sources need the same"
                )
    for store in auxiliary:
        if store.info.has_actions:
            raise ConfigurationError(
                f"{store.path} offers actions as an auxiliary source; auxiliary stores hide theirs (has_actions is "
                "false), or the comparison with methods without labels would mean nothing"
            )
    components = target.info.action_spec.components
    space = "tool" if "yaw" in components else "joint"
    if space != experiment.action_space:
        raise ConfigurationError(
            f"{target.path} holds {space} actions ({', '.join(components)}), the experiment is in "
            f"{experiment.action_space} space; record demonstrations with such actions"
        )


Look = Callable[[Store, np.ndarray], tuple[Tensor, Tensor]]
"""A store and episodes to moments (N, M) and glimpses (N, G, 3, P, P)."""


def _look_at_scene(store: Store, episodes: np.ndarray) -> tuple[Tensor, Tensor]:
    moments = _vectors(store, episodes, ("scene",), False)["scene"]
    return moments, torch.zeros(len(moments), 0, 3, 1, 1, dtype=torch.uint8)


class _Eyes:
    """The encoder of an experiment, and what it sees, kept beside it for the runs that follow."""

    def __init__(
        self,
        experiment: Experiment,
        stores: Stores,
        contract: Contract,
        sources: list[Store],
        fingerprints: dict[str, str],
        device: torch.device,
    ) -> None:
        self._folder = encoder_folder(experiment, require_folder(stores.encoders))
        self._cameras, self._device = contract.cameras, device
        counts = [experiment.target_episodes, *[experiment.auxiliary_episodes] * (len(sources) - 1)]
        masks = experiment.encoder_kind == "slots"

        def read(scratch: Path | None) -> list[Frames]:
            chosen = [
                choose_episodes(s.num_episodes, n, experiment.seed, str(s.path))
                for s, n in zip(sources, counts, strict=True)
            ]
            return [read_frames(s, e, contract.cameras, masks, scratch) for s, e in zip(sources, chosen, strict=True)]

        self.perception = train_encoder(experiment, contract, self._folder, fingerprints, read, device)

    def look(self, store: Store, episodes: np.ndarray) -> tuple[Tensor, Tensor]:
        """Moments and glimpses of some episodes."""
        # Slots once had glimpses: a name of their own for what has none.
        kind = "" if self.perception.glimpse_count else "-moments"
        path = self._folder / f"{store.fingerprint[:16]}-{len(episodes)}{kind}.pt"
        if not path.exists():
            frames = read_frames(store, episodes, self._cameras, masks=False, scratch=self._folder)
            seen = perceive_frames(self.perception, frames, self._device)
            partial = path.with_suffix(".partial")
            torch.save(seen, partial)
            partial.replace(path)
        moments, glimpses = read_tensors(path)
        return moments, glimpses


def _read(store: Store, episodes: np.ndarray, look: Look, experiment: Experiment, labelled: bool) -> Slots:
    moments, glimpses = look(store, episodes)
    ends = np.cumsum([s.stop - s.start for s in (store.episode_slices()[i] for i in episodes)])
    state = action = None
    if labelled:
        arrays = _vectors(store, episodes, ("state", "action"), False)
        state, action = arrays["state"], arrays["action"]
    elif experiment.method == "pose_cotraining":
        state = _vectors(store, episodes, ("state",), True)["state"]
        last = torch.from_numpy(np.repeat(ends, np.diff(ends, prepend=0))) - 1
        action = poses_as_actions(state, torch.minimum(torch.arange(len(last)) + 1, last), store.info.action_spec)
    for name, values in (("the observation", moments), ("state", state), ("action", action)):
        if values is not None and not torch.isfinite(values).all():
            row = int(torch.nonzero(~torch.isfinite(values).all(1))[0])
            episode = int(episodes[np.searchsorted(ends, row, side="right")])
            raise DataError(
                f"{store.path}: {name} is not finite in episode {episode} (seed {store.seeds[episode]}); "
                "record the store again without it"
            )
    return Slots(moments, glimpses, ends, state, action)


def _vectors(store: Store, episodes: np.ndarray, keys: tuple[str, ...], hidden: bool) -> dict[str, Tensor]:
    """Vectors of some episodes, (N, D) each."""
    rows = np.concatenate([np.arange(s.start, s.stop) for s in (store.episode_slices()[i] for i in episodes)])
    arrays = _load(store.path, store.fingerprint, keys, hidden)
    return {key: torch.from_numpy(arrays[key][rows]) for key in keys}


@lru_cache(maxsize=16)
def _load(path: Path, fingerprint: str, keys: tuple[str, ...], hidden: bool) -> dict[str, np.ndarray]:
    """Whole arrays of a store, kept in memory for the runs that follow."""
    store = Store.open(path)
    return store.load_hidden(keys) if hidden else store.load(keys)


def _samples(store: Store, contract: Contract, target: Slots, episodes: np.ndarray) -> dict[str, np.ndarray]:
    """Golden observations and states of the first episode, and the ranges of all states and actions."""
    assert target.state is not None and target.action is not None
    rows = np.linspace(0, int(target.episode_ends[0]) - 1, SAMPLES).astype(int)
    samples = {"state": target.state[rows].numpy()}
    if contract.cameras:
        frames = read_frames(store, episodes[:1], contract.cameras, masks=False)
        for camera, images in zip(contract.cameras, frames.images, strict=True):
            samples[f"image.{camera}"] = images[rows][:, None]
    else:
        samples["vector.scene"] = target.moments[rows][:, None].numpy()
    for name, values in (("state", target.state), ("action", target.action)):
        samples[f"{name}_low"], samples[f"{name}_high"] = values.amin(0).numpy(), values.amax(0).numpy()
    return samples
