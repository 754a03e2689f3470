"""What it costs an image encoder to draw its batches from the disk: `python scripts/bench_frames.py --store STORE`.

Draws batches of images and masks from one store, held in memory and memory-mapped, by turns. Frames that were just
read are in the page cache: what a disk takes that is larger than memory is not measured.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from glam_training.data.store import Store
from glam_training.encoders import EncoderBatches, read_frames

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    """Which frames, and how often to draw."""

    store: Path
    """Demonstrations with images and masks."""
    scratch: Path = Path(tempfile.gettempdir())
    """Folder on the disk that is measured; should be no memory disk."""
    repeats: int = 200
    """Batches of either kind."""


def main(config: Config) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    store = Store.open(config.store)
    cameras = [image.name for image in store.info.obs_spec.images]
    episodes = np.arange(store.num_episodes)
    print("| frames | read in, s | anonymous memory, MiB | a batch, ms (median) | 99 of 100 |")
    print("|---|---|---|---|---|")
    rows, batches = [], []
    for name, scratch in (("memory-mapped", config.scratch), ("in memory", None)):
        before, start = _anonymous_memory_mib(), time.perf_counter()
        batches.append(EncoderBatches([read_frames(store, episodes, cameras, masks=True, scratch=scratch)], CPU))
        rows.append((name, time.perf_counter() - start, _anonymous_memory_mib() - before))
    taken: list[list[float]] = [[], []]
    for _ in range(config.repeats):
        for drawn, times in zip(batches, taken, strict=True):
            start = time.perf_counter()
            drawn.masked()
            times.append(1e3 * (time.perf_counter() - start))
    for (name, seconds, memory), times in zip(rows, taken, strict=True):
        late = float(np.percentile(times, 99))
        print(f"| {name} | {seconds:.1f} | {memory:.0f} | {statistics.median(times):.1f} | {late:.1f} |")


def _anonymous_memory_mib() -> float:
    """Memory that no file on a disk stands behind."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this kernel does not say how much anonymous memory a process has")


if __name__ == "__main__":
    main(tyro.cli(Config))
