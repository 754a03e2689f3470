"""Demonstrations as slots: what a frozen perception sees in every frame of a store, computed once and kept beside the
run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glam_core.errors import ConfigurationError, DataError
from glam_training.data.store import Store
from glam_training.models.perception import ImagePerception, ScenePerception

_NEIGHBOUR = 0.2
"""Weight of each of the frames before and after in a steadied one."""
_BATCH = 32  # larger batches fall out of the CPU's caches and run at a third of the speed


@dataclass(frozen=True)
class Source:
    """The first `episodes` episodes of a store; all of them when None."""

    store: Store
    episodes: int | None = None

    @property
    def episode_ends(self) -> np.ndarray:
        """(E,) int64, exclusive."""
        return self.store.episode_ends[: self.episodes]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.episode_ends[-1])


@dataclass(frozen=True)
class Slots:
    """A source as the model sees it, in memory.

    Attributes:
        moments: (N, M) float32.
        glimpses: (N, G, 3, P, P) uint8.
        episode_ends: (E,) int64, exclusive.
        state: (N, S) float32, or None for an auxiliary source.
        action: (N, A) float32, or None for an auxiliary source.
    """

    moments: Tensor
    glimpses: Tensor
    episode_ends: np.ndarray
    state: Tensor | None
    action: Tensor | None

    @property
    def steadied(self) -> Slots:
        """The same with steadied moments."""
        ends = torch.from_numpy(self.episode_ends)
        end = ends.repeat_interleave(ends.diff(prepend=ends.new_zeros(1)))
        return replace(self, moments=steady_moments(self.moments, end))

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Moments and glimpses, as they are kept, of the frames `index`, of any shape (...)."""
        flat = index.reshape(-1)
        moments, patches = self.moments.index_select(0, flat), self.glimpses.index_select(0, flat)
        return moments.unflatten(0, index.shape), patches.unflatten(0, index.shape)


def steady_moments(moments: Tensor, end: Tensor) -> Tensor:
    """Moments averaged with those of the frames before and after, by weights of 0.2, 0.6 and 0.2, for stage 1.

    A slot is off by a millimetre or two (`scripts/slot_precision.py`), and within 0.1 s a slow hand moves hardly
    farther: a model that tells motions from the difference of two frames takes small ones for noise, and says too
    little of them.
    Demonstrations are there as a whole, so their frames may see the next one; a policy's observations may not.

    Args:
        moments: (N, M) of consecutive frames.
        end: (N,) int64, exclusive end of each frame's episode; the first and the last frame of one stand for what is
            missing.

    Returns:
        (N, M).
    """
    rows = torch.arange(len(end), device=end.device)
    begins = torch.ones_like(end, dtype=torch.bool)
    begins[1:] = end[1:] != end[:-1]
    before, after = torch.where(begins, rows, rows - 1), torch.minimum(rows + 1, end - 1)
    return (1.0 - 2.0 * _NEIGHBOUR) * moments + _NEIGHBOUR * (moments[before] + moments[after])


def observation_keys(store: Store, observations: str, cameras: tuple[str, ...]) -> list[str]:
    """Keys of a store that a perception reads: the images of `cameras` (all when empty) or the scene vector."""
    if observations == "scene":
        if store.info.scene_spec is None:
            raise DataError(
                f"{store.path} has no scene vectors; train from images or record demonstrations with a scene"
            )
        return ["scene"]
    names = [image.name for image in store.info.obs_spec.images]
    if not names:
        raise DataError(
            f"{store.path} has no images; record demonstrations with --cameras or train with --observations scene"
        )
    return [f"images/{store.info.obs_spec.image(camera).name}" for camera in cameras or names]


def check_masks(store: Store, target: Store) -> None:
    """Refuse a store whose masks slots can not be learned from, or not together with the target's.

    Raises:
        ConfigurationError: it has none, or of other things.
    """
    found, wanted = store.info.mask_classes, target.info.mask_classes
    if not found:
        raise ConfigurationError(
            f"{store.path} has no object masks, from which slots are learned; record it with --masks (the bench can do "
            "with keypoints instead)"
        )
    if found != wanted:
        raise ConfigurationError(
            f"{store.path} has masks of {', '.join(found)}, the target store of {', '.join(wanted)}; "
            "record one of them again"
        )


def check_mask_values(store: Store, camera: str, masks: np.ndarray) -> None:
    """Refuse masks (N, H, W) with values that are no class.

    Raises:
        DataError: there are some.
    """
    classes = store.info.mask_classes
    if (top := int(masks.max(initial=0))) > len(classes):
        raise DataError(
            f"{store.path}: masks/{camera} has pixels of {top}, but there are {len(classes)} classes "
            f"({', '.join(classes)}, from 1 on); make everything else background, 0"
        )


@torch.inference_mode()
def compute_slots(
    source: Source, perception: ImagePerception | ScenePerception, keys: list[str], cache: Path, labelled: bool
) -> Slots:
    """Perceive every frame of a source; the result is kept in `cache` under the store's fingerprint.

    Args:
        source: The demonstrations.
        perception: Frozen; on the CPU or a GPU.
        keys: Keys of the store, in the order of the perception's inputs.
        cache: Folder of cached slots.
        labelled: Whether states and actions are read too.
    """
    folder = cache / f"{source.store.path.name}-{source.store.fingerprint[:12]}-{source.frames}"
    path = folder / "moments.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arrays = source.store.load(keys, source.episodes, scratch=folder)
        inputs = [arrays.pop(key) for key in keys]
        device = next((p.device for p in perception.parameters()), torch.device("cpu"))
        moments = []
        for first in tqdm(range(0, source.frames, _BATCH), desc=f"perceive {source.store.path.name}", mininterval=2.0):
            batch = [torch.from_numpy(x[first : first + _BATCH]).to(device) for x in inputs]
            moments.append(perception(*batch)[0].float().cpu().numpy())
        partial = folder / "moments.partial.npy"
        np.save(partial, np.concatenate(moments), allow_pickle=False)
        partial.replace(path)
    loaded = torch.from_numpy(np.load(path, allow_pickle=False))
    samples = perception.glimpse_samples
    labels = source.store.load(["state", "action"], source.episodes) if labelled else {}
    return Slots(
        moments=loaded,
        glimpses=torch.zeros(len(loaded), 0, 3, samples, samples, dtype=torch.uint8),
        episode_ends=source.episode_ends,
        state=torch.from_numpy(labels["state"]) if labelled else None,
        action=torch.from_numpy(labels["action"]) if labelled else None,
    )
