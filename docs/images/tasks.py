"""Draws the pictures of docs/tasks.md: every task through an episode, and one moment as every source sees it.

python docs/images/tasks.py docs/images
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from glam_sim.sources import SOURCES
from glam_sim.tasks import TASKS
from glam_training.data.store import Store
from glam_training.pairs import record_pairs

SEED = 5
SIDE = 144
MOMENTS = (0.1, 0.45, 0.75, 1.0)


def main(folder: Path) -> None:
    """Write the pictures."""
    for name, task in TASKS.items():
        cameras = tuple(camera for camera in task.layout.cameras if camera != "overview")
        gen3, umi = as_seen_by(("gen3", "umi"), name, cameras)
        rows = [frames(images, MOMENTS) for images in gen3] + [frames(umi[0], MOMENTS)]
        cv2.imwrite(str(folder / f"task_{name}.png"), np.concatenate(rows)[..., ::-1])
    seen = as_seen_by(tuple(SOURCES), "stack_two", ("front", "side", "wrist"))
    rows = [np.concatenate([frames(images, (0.5,)) for images in cameras], axis=1) for cameras in seen]
    cv2.imwrite(str(folder / "sources.png"), np.concatenate(rows)[..., ::-1])


def as_seen_by(sources: tuple[str, ...], task: str, cameras: tuple[str, ...]) -> list[list[np.ndarray]]:
    """One motion of the first source: per source and camera (T, H, W, 3) uint8 RGB."""
    with tempfile.TemporaryDirectory() as folder:
        paths = record_pairs(Path(folder), task, 1, SEED, cameras, 96, sources)
        keys = [f"images/{camera}" for camera in cameras]
        return [list(Store.open(path).load(keys).values()) for path in paths]


def frames(images: np.ndarray, moments: tuple[float, ...]) -> np.ndarray:
    """Some moments (shares of an episode) of (T, H, W, 3) uint8, side by side."""
    chosen = [images[round(share * (len(images) - 1))] for share in moments]
    return np.concatenate([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in chosen], axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
