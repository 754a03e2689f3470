"""What training many runs at once costs: `python scripts/bench_together.py --data runs/bench/data/state`.

Trains a few hundred steps of each stage on the bench's stores of `lift`, `place` and `knock_down` (which `glam bench
matrix` records), in ever larger companies, and prints what a whole run of the budget `paper` would take.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from glam_training import experiment
from glam_training.experiment import BUDGETS, Experiment, Job, Stores
from glam_training.group_fit import COSTS_FILE
from glam_training.methods import train_many

METHODS = ("glam", "glam_o", "pseudo_labels", "pose_cotraining", "laom", "lapa", "clam", "target_only")


@dataclass(frozen=True)
class Config:
    """Where the demonstrations are, and how long to train."""

    data: Path = Path("runs/bench/data/state")
    """Folder of the stores, one folder per task with `target` and `umi`."""
    steps: int = 400
    """Gradient steps of each stage, out of the budget's thousands."""


def main(config: Config) -> None:
    """Print a table."""
    if not torch.cuda.is_available():
        raise SystemExit("this compares ways of filling a GPU, and there is none; on a CPU runs train one by one")
    paper = BUDGETS["paper"]
    short = replace(paper, stage_1_steps=config.steps, refit_steps=config.steps, policy_steps=config.steps)
    experiment.BUDGETS["short"] = short
    full = {"stage_1": paper.stage_1_steps, "decoder": paper.refit_steps, "policy": paper.policy_steps}
    companies = {
        "GLAM, 3 seeds": _cells(("lift",), ("glam",), 3),
        "GLAM, 16 seeds": _cells(("lift",), ("glam",), 16),
        "8 methods, 3 seeds": _cells(("lift",), METHODS, 3),
        "8 methods, 3 seeds, 2 tasks": _cells(("lift", "place"), METHODS, 3),
        "8 methods, 3 seeds, 3 tasks": _cells(("lift", "place", "knock_down"), METHODS, 3),
    }
    print("| together | runs | stage 1, ms per step | decoder | policy | seconds per run | set-up, s | memory, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, cells in companies.items():
        with tempfile.TemporaryDirectory() as folder:
            jobs = [Job(c, _stores(config.data / c.task), Path(folder) / str(i)) for i, c in enumerate(cells)]
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            train_many(jobs)
            wall = time.perf_counter() - start
            costs = json.loads((jobs[0].out / COSTS_FILE).read_text())
        ms = {phase: costs[phase]["step_ms"] for phase in full}
        seconds = sum(full[phase] * ms[phase] for phase in full) / 1e3 / len(jobs)
        set_up = wall - sum(cost["seconds"] for cost in costs.values())
        memory = costs["policy"]["peak_memory_mib"]
        times = " | ".join(f"{ms[phase]:.2f}" for phase in full)
        print(f"| {name} | {len(jobs)} | {times} | {seconds:.2f} | {set_up:.1f} | {memory} |", flush=True)
    print(torch.cuda.get_device_name())


def _cells(tasks: tuple[str, ...], methods: tuple[str, ...], seeds: int) -> list[Experiment]:
    return [
        Experiment(task, method, target_episodes=10, seed=seed, budget="short")
        for task, method, seed in itertools.product(tasks, methods, range(seeds))
    ]


def _stores(folder: Path) -> Stores:
    return Stores(folder / "target", (folder / "umi",))


if __name__ == "__main__":
    main(tyro.cli(Config))
