"""Image encoders of the bench: trained once on all images of all sources, then frozen and shared by every method.

Slots (GLAM-O) learn from object masks, keypoints (plain GLAM) from images alone. An encoder belongs to one set of
demonstrations; the runs of all methods that learn from those demonstrations read it from one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glam_core.errors import ConfigurationError
from glam_training.config import plain
from glam_training.contract import Contract
from glam_training.data.store import Store
from glam_training.experiment import Experiment
from glam_training.fit import OptimConfig
from glam_training.group_fit import fit_group
from glam_training.group_training import Group
from glam_training.locks import alone_in
from glam_training.models.keypoints import AGREEMENT_WEIGHT, KeypointObjective, KeypointPerception
from glam_training.models.perception import ImagePerception, PerceptionConfig, to_network_range
from glam_training.run import Run, read_tensors
from glam_training.segmenter import SegmenterObjective, photometric
from glam_training.slots import check_mask_values

ENCODER_FILE = "perception.pt"
"""Not the name of the phase that trains it, whose checkpoint stands beside it."""
PAIR_STEPS = 3
"""Steps between the two images of a pair from which keypoints learn."""
_BATCH = 64
"""Images of a camera in one step."""
_PERCEIVE_BATCH = 32  # larger batches fall out of the CPU's caches


@dataclass(frozen=True)
class Frames:
    """Images of some episodes of one source.

    Attributes:
        images: per camera (N, H, W, 3) uint8.
        masks: per camera (N, H, W) uint8; none where they are not needed.
        episode_ends: (E,) int64, exclusive.
    """

    images: list[np.ndarray]
    masks: list[np.ndarray]
    episode_ends: np.ndarray


def read_frames(
    store: Store, episodes: np.ndarray, cameras: Sequence[str], masks: bool, scratch: Path | None = None
) -> Frames:
    """Read the images, and the masks if asked for, of some episodes; memory-mapped in `scratch`, if given."""
    keys = [f"images/{camera}" for camera in cameras] + [f"masks/{camera}" for camera in cameras if masks]
    arrays = list(store.load_episodes(keys, episodes.tolist(), scratch).values())
    for camera, values in zip(cameras, arrays[len(cameras) :], strict=False):  # none without masks
        check_mask_values(store, camera, values)
    slices = store.episode_slices()
    ends = np.cumsum([slices[i].stop - slices[i].start for i in episodes])
    return Frames(arrays[: len(cameras)], arrays[len(cameras) :], ends)


def encoder_folder(experiment: Experiment, encoders: Path) -> Path:
    """Where the encoder of an experiment stands: equal for all methods on the same demonstrations."""
    e = experiment
    return encoders / f"{e.task}-{e.encoder_kind}-{e.target_episodes}-{e.auxiliary_episodes}-{e.budget}-{e.seed}"


def train_encoder(
    experiment: Experiment,
    contract: Contract,
    folder: Path,
    fingerprints: dict[str, str],
    read: Callable[[Path | None], list[Frames]],
    device: torch.device,
) -> ImagePerception | KeypointPerception:
    """Train the encoder of an experiment, or load the one that stands in `folder`.

    Args:
        experiment: whose demonstrations, budget and seed decide.
        contract: cameras and slots.
        folder: of the encoder; an unfinished one is resumed.
        fingerprints: of the stores.
        read: reads the frames of all sources; memory-mapped on the disk of a folder, if it is given one.
        device: where to train.

    Returns:
        The encoder, on the CPU, in evaluation mode.
    """
    config = {"encoder": experiment.encoder_kind, "steps": experiment.sizes.encoder_steps, "seed": experiment.seed}
    config |= {
        "perception": plain(PerceptionConfig()),
        "episodes": [experiment.target_episodes, experiment.auxiliary_episodes],
    }
    if experiment.on_keypoints:
        config["agreement"] = AGREEMENT_WEIGHT  # those from before there was one are other encoders
    else:
        config["fine_masks"] = True  # those from before decision 18 are other encoders
    # The lock stands beside the folder, which belongs to the run. Runs that need one encoder at a time wait for it.
    with alone_in(folder.with_name(f"{folder.name}.turn")), Run.create_or_open(folder, config, fingerprints) as run:
        torch.manual_seed(experiment.seed)
        perception = contract.make_perception(PerceptionConfig())
        path = folder / ENCODER_FILE
        if not path.exists():
            scratch = folder if device.type == "cpu" else None  # a GPU holds them all itself
            _fit(perception, read(scratch), experiment, Group([run], [experiment.seed], device))
            partial = path.with_suffix(".partial")
            torch.save(perception.cpu().state_dict(), partial)
            partial.replace(path)
        perception.load_state_dict(read_tensors(path))
    return perception.eval()


@torch.inference_mode()
def perceive_frames(
    perception: ImagePerception | KeypointPerception, frames: Frames, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Moments (N, M) float32 and glimpses (N, G, 3, P, P) uint8 of every frame, on the CPU."""
    perception = perception.to(device)
    size = _PERCEIVE_BATCH if device.type == "cpu" else 512
    moments, patches = [], []
    for first in tqdm(range(0, len(frames.images[0]), size), desc="perceive", mininterval=5.0):
        batch = [torch.from_numpy(images[first : first + size]).to(device) for images in frames.images]
        m, g = perception(*batch)
        moments.append(m.float().cpu())
        patches.append(((g + 0.5) * 255.0).round().clamp(0, 255).byte().cpu())
    perception.cpu()
    return torch.cat(moments), torch.cat(patches)


def _fit(
    perception: ImagePerception | KeypointPerception, frames: list[Frames], experiment: Experiment, group: Group
) -> None:
    optim = OptimConfig(steps=experiment.sizes.encoder_steps, learning_rate=2e-3, ema_decay=0.99)
    batches = EncoderBatches(frames, group.device)
    if isinstance(perception, ImagePerception):
        objective, draw = SegmenterObjective(perception), batches.masked
    else:
        objective, draw = KeypointObjective(perception, len(frames)), batches.pairs
        optim = replace(optim, learning_rate=1e-3)
    fit_group([objective.to(group.device)], draw, optim, group, "encoder", bfloat16=True)


class EncoderBatches:
    """Batches from all sources in equal parts, one source after the other, with colours and brightness changed.

    Args:
        frames: of every source; they stay uint8, and on a CPU where they lie.
        device: where batches are made.
    """

    def __init__(self, frames: list[Frames], device: torch.device) -> None:
        cameras = range(len(frames[0].images))
        self._images = [[torch.from_numpy(f.images[c]).to(device) for c in cameras] for f in frames]
        self._masks = [[torch.from_numpy(m).to(device) for m in f.masks] for f in frames]
        ends = [torch.from_numpy(np.repeat(f.episode_ends, np.diff(f.episode_ends, prepend=0))) for f in frames]
        self._last = [e.to(device) - 1 for e in ends]
        self._device = device

    def masked(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Per camera images (1, B, 3, H, W) and masks (1, B, H, W)."""
        rows = self._rows(_BATCH)
        batch = []
        for camera in range(len(self._images[0])):
            images = torch.cat([x[camera][r] for x, r in zip(self._images, rows, strict=True)])
            masks = torch.cat([x[camera][r] for x, r in zip(self._masks, rows, strict=True)])
            batch.append((photometric(to_network_range(images))[None], masks[None]))
        return tuple(batch)

    def pairs(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Per camera images (1, B, 3, H, W) now and some steps later, both changed in the same way."""
        rows = self._rows(_BATCH // 2)
        later = [torch.minimum(r + PAIR_STEPS, last[r]) for r, last in zip(rows, self._last, strict=True)]
        batch = []
        for camera in range(len(self._images[0])):
            now = torch.cat([x[camera][r] for x, r in zip(self._images, rows, strict=True)])
            then = torch.cat([x[camera][r] for x, r in zip(self._images, later, strict=True)])
            both = photometric(to_network_range(torch.stack([now, then], 1)))
            batch.append((both[None, :, 0], both[None, :, 1]))
        return tuple(batch)

    def _rows(self, count: int) -> list[Tensor]:
        """About `count` rows, as many of each source."""
        share = max(1, count // len(self._last))
        return [torch.randint(len(last), (share,), device=self._device) for last in self._last]


def require_folder(encoders: Path | None) -> Path:
    """The folder in which runs share encoders.

    Raises:
        ConfigurationError: there is none.
    """
    if encoders is None:
        raise ConfigurationError("the image suite shares encoders between runs; give Stores a folder `encoders`")
    return encoders
