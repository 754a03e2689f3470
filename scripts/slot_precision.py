"""How exactly slots tell where things are: `python scripts/slot_precision.py --run RUN --store TARGET_STORE`.

Fits positions of objects to quadratic terms of their own slots in all cameras, by least squares, and says how far off
that is on other demonstrations; none of them taught the run. Beside the slots of the run's segmenters stand those of
the true masks: what a better segmenter could gain.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from glam_core.errors import DataError, GlamError
from glam_sim.tasks import TASKS
from glam_training import methods
from glam_training.data.store import Store
from glam_training.encoders import Frames, perceive_frames, read_frames
from glam_training.models.perception import MOMENTS_PER_SLOT, ImagePerception, mask_moments
from glam_training.perceive import choose_episodes
from glam_training.segmenter import class_maps

SECOND_ORDER = 6
"""The first moments of a slot: centre, mass, second order."""
RIDGE = 1e-2
BATCH = 256
LEAST_EPISODES = 8


@dataclass(frozen=True)
class Config:
    """What is looked at."""

    run: Path
    """Finished run of `glam bench matrix` from images, on slots."""
    store: Path
    """Its target demonstrations, with masks and scenes."""
    episodes: int = 60
    """Demonstrations that the run has not seen: three quarters to fit, the others to measure."""
    near_m: float = 0.07
    """An object that is held within this distance of another one in the plane is being placed on it."""
    lifted_m: float = 0.04
    """Height of the middle from which on an object is lifted."""
    closed: float = 0.2
    """Gripper position (0 open, 1 closed) from which on something may be held."""


def main(config: Config) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    trained, store = methods.load(config.run), Store.open(config.store)
    perception, e = trained.policy.perception, trained.experiment
    if not isinstance(perception, ImagePerception):
        raise DataError(f"{config.run} has no slots; give a run of GLAM-O, or of a rival with the encoder slots")
    if store.info.scene_spec is None:
        raise DataError(f"{config.store} has no scenes to compare with; record it from the simulated cell")
    if store.fingerprint != trained.record["fingerprints"]["target"]:
        raise DataError(f"{config.run} learnt from other demonstrations than {config.store}; give its target store")
    seen = choose_episodes(store.num_episodes, e.target_episodes, e.seed, str(store.path))
    unseen = np.setdiff1d(np.arange(store.num_episodes), seen)[: config.episodes]
    if len(unseen) < LEAST_EPISODES:
        raise DataError(
            f"{config.store}: the run has not seen {len(unseen)} episodes of it, {LEAST_EPISODES} are needed"
        )
    frames = read_frames(store, unseen, trained.contract.cameras, masks=True)
    scene = torch.from_numpy(store.load_episodes(["scene"], unseen.tolist())["scene"])
    names = store.info.scene_spec.components
    # Classes of masks are in the order of the task; things that stand fast have no height.
    objects = [item.name for item in TASKS[e.task].objects]
    columns = {name: [names.index(f"{name}.{axis}") for axis in "xyz" if f"{name}.{axis}" in names] for name in objects}
    grippers = scene[:, [i for i, name in enumerate(names) if name.endswith(".gripper")]]
    holds = (grippers > config.closed).any(1)
    first = int(frames.episode_ends[3 * len(unseen) // 4 - 1])

    print("| slots of | what | frames | x, y off by, mm (median) | nine of ten within, mm |")
    print("|---|---|---|---|---|")
    for title, moments in (
        ("the segmenters", perceive_frames(perception, frames, torch.device("cpu"))[0]),
        ("the true masks", true_moments(frames, 1 + perception.slots)),
    ):
        slots = moments.unflatten(1, (-1, perception.slots, MOMENTS_PER_SLOT))[..., :SECOND_ORDER]
        terms = {name: quadratic(slots[:, :, i].flatten(1)) for i, name in enumerate(objects)}
        for name, x in terms.items():
            report(title, name, x, scene[:, columns[name][:2]], torch.ones(len(scene), dtype=torch.bool), first)
        for a, b in itertools.combinations(objects, 2):
            if len(columns[a]) < 3 or len(columns[b]) < 3:
                continue
            way = scene[:, columns[a]] - scene[:, columns[b]]
            highest = torch.maximum(scene[:, columns[a][2]], scene[:, columns[b][2]])
            placing = holds & (way[:, :2].norm(dim=1) < config.near_m) & (highest > config.lifted_m)
            both = torch.cat([terms[a], terms[b]], 1)
            report(title, f"{a} from {b}, held near it", both, way[:, :2], placing, first)


def true_moments(frames: Frames, classes: int) -> Tensor:
    """Moments (N, cameras * slots * 8) of the masks themselves."""
    cameras = []
    for masks in frames.masks:
        parts = torch.from_numpy(masks).split(BATCH)
        moments = [mask_moments(class_maps(mask, classes).clamp_min(1e-6).log()) for mask in parts]
        cameras.append(torch.cat(moments).flatten(1))
    return torch.cat(cameras, 1)


def quadratic(x: Tensor) -> Tensor:
    """1, x_i and x_i x_j of (N, D), float64: single precision is too coarse for the least squares."""
    x = x.double()
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    return torch.cat([x.new_ones(len(x), 1), x, x[:, i] * x[:, j]], 1)


def report(title: str, what: str, terms: Tensor, wanted: Tensor, shown: Tensor, first: int) -> None:
    """Fit on all frames before `first`, measure on those of the others that are `shown`: a row of the table."""
    scale = terms[:first].std(0)
    scale[scale == 0.0] = 1.0
    x = terms / scale
    wanted = wanted.double()
    gram = x[:first].T @ x[:first] + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    off = (x @ torch.linalg.solve(gram, x[:first].T @ wanted[:first]) - wanted).abs()[first:][shown[first:]]
    if not len(off):
        return
    median, most = (", ".join(f"{1e3 * v:.1f}" for v in off.quantile(q, dim=0)) for q in (0.5, 0.9))
    print(f"| {title} | {what} | {len(off)} | {median} | {most} |")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except GlamError as error:
        raise SystemExit(str(error)) from error
