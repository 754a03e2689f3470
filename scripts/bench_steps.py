"""What bfloat16 is worth when the bench trains on a CPU: `python scripts/bench_steps.py`.

Times whole steps (loss, gradient, AdamW, average) of the image encoders and of a policy from state on made-up data, in
32 bits and in bfloat16 by turns, so that a busy computer slows both alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import nn

from glam_training.experiment import BUDGETS
from glam_training.fit import OptimConfig, multiplies_bfloat16
from glam_training.group_training import Fit, Group, Training
from glam_training.models.keypoints import KeypointObjective, KeypointPerception
from glam_training.models.mip import Mip, MipConfig
from glam_training.models.objectives import PolicyObjective
from glam_training.models.perception import FeatureNet, ImagePerception, PerceptionConfig
from glam_training.run import Run
from glam_training.segmenter import SegmenterObjective

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    """Sizes of a batch, as in the bench, and how often to measure."""

    images: int = 64
    """Images per camera in a batch; for keypoints half as many pairs."""
    size: int = 96
    """Height and width in pixels."""
    cameras: int = 2
    classes: int = 4
    """Objects and fingers."""
    moments: int = 19
    """Components of a scene vector, as on stack_two."""
    actions: int = 5
    """Components of an action."""
    repeats: int = 10
    """Steps of each kind."""
    threads: int = 1


def main(config: Config) -> None:
    """Print a table."""
    if not multiplies_bfloat16("cpu"):
        raise SystemExit("this processor has no instructions for bfloat16; the bench trains in 32 bits on it")
    torch.set_num_threads(config.threads)
    shape = (1, config.images, 3, config.size, config.size)
    masks = torch.randint(0, 1 + config.classes, (1, config.images, config.size, config.size), dtype=torch.uint8)
    slots = tuple((torch.rand(shape) - 0.5, masks) for _ in range(config.cameras))
    half = (1, config.images // 2, *shape[2:])
    pairs = tuple((torch.rand(half) - 0.5, torch.rand(half) - 0.5) for _ in range(config.cameras))
    perception = ImagePerception(config.cameras, config.classes, PerceptionConfig())
    keypoints = KeypointPerception(config.cameras, PerceptionConfig())
    print("| network | 32 bits, ms per step | bfloat16 | times faster |")
    print("|---|---|---|---|")
    for name, objective, batch in (
        ("slots", SegmenterObjective(perception), slots),
        ("keypoints", KeypointObjective(keypoints, 1), pairs),
        ("policy", *_policy(config)),
    ):
        full, half = _medians(objective, batch, config.repeats)
        print(f"| {name} | {full:.1f} | {half:.1f} | {full / half:.2f} |", flush=True)


def _policy(config: Config) -> tuple[nn.Module, object]:
    """A policy of the budget "paper", and a batch."""
    sizes = BUDGETS["paper"]
    features = FeatureNet(config.moments, 0, 0)
    mip = MipConfig(sizes.chunk_length, sizes.execute_length, sizes.width, sizes.policy_depth)
    head = Mip(features.size, config.actions, mip)
    count = 2 * sizes.batch_size
    moments, glimpses = torch.randn(1, count, config.moments), torch.zeros(1, count, 0, 3, 1, 1, dtype=torch.uint8)
    chunk, mask = torch.randn(1, count, *head.shape), torch.ones(1, count, sizes.chunk_length)
    return PolicyObjective(features, head), (moments, glimpses, chunk, mask)


def _medians(objective: nn.Module, batch: object, repeats: int) -> tuple[float, float]:
    """Median milliseconds of a step in 32 bits and in bfloat16."""
    with tempfile.TemporaryDirectory() as folder:
        trainings = []
        for bfloat16 in (False, True):
            run = Run.create(Path(folder) / str(bfloat16), {"seed": 0}, {})
            fit = Fit([objective], lambda: batch, OptimConfig(), Group([run], [0], CPU), "steps", bfloat16)
            trainings.append(Training(fit))
        times: list[list[float]] = [[], []]
        for repeat in range(repeats + 1):
            for training, taken in zip(trainings, times, strict=True):
                start = time.perf_counter()
                training.step()
                if repeat:  # the first one warms up
                    taken.append(1e3 * (time.perf_counter() - start))
        for training in trainings:
            for run in training.fit.group.runs:
                run.close()
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main(tyro.cli(Config))
