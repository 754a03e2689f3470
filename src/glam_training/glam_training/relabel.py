"""`glam relabel`: the frozen IDM gives every transition of every source its latent action."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from glam_core.errors import DataError
from glam_training.data.sampler import transitions
from glam_training.data.store import Store
from glam_training.slots import Slots, Source, compute_slots
from glam_training.stage1 import TrainedGlam, infer_posterior, load_glam

LATENT_FILE = "latents.npz"


@dataclass(frozen=True)
class RelabelConfig:
    """Infer latent actions of all transitions that stage 1 was trained on."""

    run: Path
    """Run folder of a finished stage 1; the latents are written into it."""


@dataclass(frozen=True)
class Relabelled:
    """Sources with latents.

    Attributes:
        slots: What the policy observes, per source; the target comes first.
        latents: Per source (N, d) standardised latents by frame; the last k frames of an episode have none (zeros).
        mean: (d,) mean of the raw latents over all sources.
        std: (d,) their standard deviation.
    """

    slots: list[Slots]
    latents: list[Tensor]
    mean: Tensor
    std: Tensor


def relabel(run: Path) -> Relabelled:
    """Relabel every source of the stage 1 in `run`, or read the latents that are already there."""
    trained = load_glam(run)
    slots = load_slots(run, trained)
    k = trained.config.step
    path = run / LATENT_FILE
    if not path.exists():
        pairs = [torch.from_numpy(transitions(s.episode_ends, k)) for s in slots]
        seen = [s.steadied for s in slots] if trained.steady else slots
        raw = [infer_posterior(trained.glam, s, p)[0] for s, p in zip(seen, pairs, strict=True)]
        trained.glam.latent.fit(torch.cat(raw))
        arrays = {"mean": trained.glam.latent.mean.numpy(), "std": trained.glam.latent.std.numpy()}
        for i, (s, p, z) in enumerate(zip(slots, pairs, raw, strict=True)):
            full = torch.zeros(len(s.moments), z.shape[1])
            full[p[:, 0]] = trained.glam.latent(z)
            arrays[f"source_{i}"] = full.numpy()
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as content:
        latents = [torch.from_numpy(content[f"source_{i}"]) for i in range(len(slots))]
        return Relabelled(slots, latents, torch.from_numpy(content["mean"]), torch.from_numpy(content["std"]))


def load_slots(run: Path, trained: TrainedGlam) -> list[Slots]:
    """The slots of all sources of a finished stage 1, target first, as a policy sees them."""
    config = trained.record["config"]
    sources = [(config["target"], config["target_episodes"])]
    sources += [(path, config["auxiliary_episodes"]) for path in config["auxiliary"]]
    slots = []
    for i, (path, episodes) in enumerate(sources):
        source = Source(Store.open(path), episodes)
        expected = trained.record["fingerprints"].get(str(path))
        if expected != source.store.fingerprint:
            raise DataError(
                f"{path} is not the store that {run} was trained on; its content has changed since, train stage 1 again"
            )
        slots.append(compute_slots(source, trained.perception, trained.contract.keys, run / "slots", labelled=i == 0))
    return slots


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam relabel`."""
    config = tyro.cli(RelabelConfig, prog="glam relabel", args=sys.argv[1:] if arguments is None else arguments)
    result = relabel(config.run)
    frames = sum(len(z) for z in result.latents)
    used = int((result.std > 0.1 * result.std.max()).sum())
    print(
        f"{frames} frames relabelled in {config.run / LATENT_FILE}; "
        f"{used} of {len(result.std)} latent dimensions are in use"
    )
