"""A method that takes no time: for tests of what surrounds training. Picklable, so that processes can run it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glam_core.errors import DataError
from glam_core.spec import ActionSpec, ObsSpec
from glam_training.config import plain
from glam_training.evaluate import Policy
from glam_training.experiment import Experiment, Job
from glam_training.matrix.record import CellRecord, Episodes, cell_path, starts, write_record
from glam_training.matrix.work import Methods

MODEL_FILE = "model"


def train(jobs: list[Job]) -> None:
    """Write down what each run was asked for; one of them can not be trained."""
    for job in jobs:
        if job.experiment.method == "laom" and job.experiment.seed == 1:
            raise DataError("the loss became infinite")
        job.out.mkdir(parents=True, exist_ok=True)
        with (job.out / MODEL_FILE).open("a") as file:
            file.write(f"{job.experiment.method} of {len(jobs)}\n")


def make_policy(run: Path) -> Policy:
    """Hold still."""
    assert (run / MODEL_FILE).exists()
    size = ActionSpec().size
    return Policy(lambda observation: np.zeros((4, size)), lambda z, state: z, ObsSpec(), ActionSpec(), 4, 2)


METHODS = Methods(train, make_policy)


def write_cell(folder: Path, cell: Experiment, outcomes: str) -> Path:
    """Write a made-up record; `outcomes` has a 1 for each success and a 0 for each failure."""
    n = len(outcomes)
    wanted = starts("evaluation", n)
    episodes = Episodes(tuple(wanted.seeds), tuple(map(int, outcomes)), (40,) * n, (0,) * n, (0,) * n)
    cost = {
        "training_s": 60.0,
        "trained_together": 3,
        "training_peak_memory_mb": 900.0,
        "training_peak_gpu_mb": 0.0,
        "rollouts_core_s": 15.0,
        "rollouts_peak_memory_mb": 400.0,
    }
    policy = {"steps": 1000, "seconds": 30.0, "trained_together": 3, "peak_memory_mib": 900, "device": "cpu"}
    stages = {"policy": {**policy, "step_ms": 10.0, "draw_ms": 0.5}}
    hardware = {"processor": "a processor", "cores": 2, "memory_gb": 8.0, "gpu": ""}
    versions = {"python": "3.12", "mujoco": "4.0.0", "torch": "2.11.0", "numpy": "2.0"}
    conditions = {"latency_s": 0.05, "limits": "sim.yaml"}
    record = CellRecord(
        cell, wanted, episodes, conditions, plain(cell.sizes), {"target": "a", "umi": "b"}, cost, stages, hardware,
        versions,
        commit="c0ffee", command="glam bench matrix",
    )  # fmt: skip
    path = cell_path(folder, cell)
    write_record(path, record)
    return path
