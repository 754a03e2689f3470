"""What the runs of the bench see of their stores, checked and in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from glam_core.errors import ConfigurationError, DataError
from glam_training.contract import Contract, make_contract
from glam_training.data.store import Store
from glam_training.experiment import Experiment, Stores
from glam_training.models.perception import ImagePerception, PerceptionConfig, ScenePerception
from glam_training.models.rivals.pose_cotraining import poses_as_actions
from glam_training.pool import choose_episodes
from glam_training.slots import Slots, observation_keys

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
    perception: ImagePerception | ScenePerception
    sources: list[Slots]
    fingerprints: dict[str, str]
    samples: dict[str, np.ndarray]

    def write_samples(self, folder: Path) -> None:
        """Write what export needs of the data."""
        np.savez(folder / SAMPLES_FILE, allow_pickle=False, **self.samples)


def perceive(experiment: Experiment, stores: Stores, device: torch.device) -> Perceived:
    """Read the run's demonstrations.

    Raises:
        ConfigurationError: stores that do not fit the experiment or each other.
        DataError: too few demonstrations, or values that are not finite.
    """
    target = Store.open(stores.target)
    others = [Store.open(path) for path in stores.auxiliary] if experiment.auxiliary_demonstrations else []
    check_stores(experiment, target, others)
    contract = make_contract(target, "scene", ())
    perception = contract.make_perception(PerceptionConfig())
    sources = [_read(target, experiment, experiment.target_demonstrations, labelled=True)]
    for store in others:
        sources.append(_read(store, experiment, experiment.auxiliary_demonstrations, labelled=False))
    fingerprints = {"target": target.fingerprint}
    fingerprints |= {f"auxiliary/{store.path.name}": store.fingerprint for store in others}
    return Perceived(contract, perception, sources, fingerprints, _samples(sources[0]))


def check_stores(experiment: Experiment, target: Store, auxiliary: list[Store]) -> None:
    """Refuse stores from which the experiment cannot be run."""
    if experiment.suite == "images":
        raise ConfigurationError("these methods learn from the scene vector; from images, use `glam train`")
    if not target.info.has_actions:
        raise ConfigurationError(f"{target.path} is an auxiliary source without actions; the target store needs them")
    if experiment.auxiliary_demonstrations and not auxiliary:
        raise ConfigurationError(f"{experiment.method} learns from auxiliary demonstrations; name their stores")
    keys = observation_keys(target, "scene" if experiment.suite == "state" else "images", ())
    for store in [target, *auxiliary]:
        if store.info.task != experiment.task:
            raise ConfigurationError(f"{store.path} holds task '{store.info.task}', not '{experiment.task}'")
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


def _read(store: Store, experiment: Experiment, episodes: int, labelled: bool) -> Slots:
    chosen = choose_episodes(store.num_episodes, episodes, experiment.seed, str(store.path))
    slices = [store.episode_slices()[i] for i in chosen]
    rows = np.concatenate([np.arange(s.start, s.stop) for s in slices])
    ends = np.cumsum([s.stop - s.start for s in slices])
    keys = ["scene"]
    state = action = None
    if labelled:
        arrays = _load(store, (*keys, "state", "action"), False)
        state, action = (torch.from_numpy(arrays[key][rows]) for key in ("state", "action"))
    elif experiment.method == "pose_cotraining":
        arrays = _load(store, (*keys, "state"), True)
        state = torch.from_numpy(arrays["state"][rows])
        last = torch.from_numpy(np.repeat(ends, np.diff(ends, prepend=0))) - 1
        following = torch.minimum(torch.arange(len(rows)) + 1, last)
        action = poses_as_actions(state, following, store.info.action_spec)
    else:
        arrays = _load(store, tuple(keys), False)
    moments = torch.from_numpy(arrays["scene"][rows])
    for name, values in (("scene", moments), ("state", state), ("action", action)):
        if values is not None and not torch.isfinite(values).all():
            row = int(torch.nonzero(~torch.isfinite(values).all(1))[0])
            episode = int(chosen[np.searchsorted(ends, row, side="right")])
            raise DataError(
                f"{store.path}: {name} is not finite in episode {episode} (seed {store.seeds[episode]}); "
                "record the store again without it"
            )
    glimpses = torch.zeros(len(rows), 0, 3, 16, 16, dtype=torch.uint8)
    return Slots(moments, glimpses, ends, state, action)


def _load(store: Store, keys: tuple[str, ...], hidden: bool) -> dict[str, np.ndarray]:
    """Whole arrays of a store, kept in memory for the runs that follow."""
    return _load_again(store.path, store.fingerprint, keys, hidden)


@lru_cache(maxsize=8)
def _load_again(path: Path, fingerprint: str, keys: tuple[str, ...], hidden: bool) -> dict[str, np.ndarray]:
    store = Store.open(path)
    return store.load_hidden(keys) if hidden else store.load(keys)


def _samples(target: Slots) -> dict[str, np.ndarray]:
    assert target.state is not None and target.action is not None
    rows = np.linspace(0, len(target.moments) - 1, SAMPLES).astype(int)
    samples = {"vector.scene": target.moments[rows][:, None].numpy(), "state": target.state[rows].numpy()}
    for name, values in (("state", target.state), ("action", target.action)):
        samples[f"{name}_low"], samples[f"{name}_high"] = values.amin(0).numpy(), values.amax(0).numpy()
    return samples
