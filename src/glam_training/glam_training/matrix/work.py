"""What the processes of the matrix do: train some cells together, and roll one out on some seeds."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glam_core.errors import GlamError
from glam_training.evaluate import Conditions, Outcome, Policy, evaluate
from glam_training.experiment import Job
from glam_training.provenance import package_versions


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    seconds: float
    """Wall time."""
    peak_memory_mb: float
    """Largest resident memory of the process while it worked."""
    peak_gpu_mb: float = 0.0
    """Largest memory that was allocated on the GPU."""


@dataclass(frozen=True)
class TrainedTogether:
    """A group of cells."""

    cost: Cost
    """Of the whole group."""
    failures: tuple[str, ...]
    """For each cell why it could not be trained; empty where it was."""


@dataclass(frozen=True)
class Played:
    """Rollouts, and what they took."""

    outcomes: tuple[Outcome, ...]
    cost: Cost


@dataclass(frozen=True)
class Methods:
    """How cells are trained and played: picklable functions."""

    train: Callable[[list[Job]], object]
    """Trains, or resumes, runs of one suite and budget together; each run folder is complete afterwards."""
    make_policy: Callable[[Path], Policy]
    """The policy of a finished run folder."""


def train(methods: Methods, jobs: list[Job]) -> TrainedTogether:
    """Train cells together in this process; where that fails, one by one, so that one bad run spoils no other."""
    failures = [""] * len(jobs)
    with _Meter() as meter:
        together = True
        try:
            methods.train(jobs)
        except GlamError:
            if len(jobs) == 1:
                raise
            together = False  # what the exception holds, the whole company's data, is let go first
        if not together:
            failures = [_train_alone(methods, job) for job in jobs]
    return TrainedTogether(meter.cost, tuple(failures))


def _train_alone(methods: Methods, job: Job) -> str:
    """Why the job can not be trained; empty when it has been."""
    try:
        methods.train([job])
    except GlamError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def play(methods: Methods, run: Path, conditions: Conditions, seeds: Sequence[int]) -> Played:
    """Roll a finished run out, once per seed, in this process."""
    with _Meter() as meter:
        outcomes = evaluate(partial(methods.make_policy, run), conditions, seeds, workers=1).outcomes
    return Played(outcomes, meter.cost)


def hardware() -> dict[str, Any]:
    """The machine, in words and numbers."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu,
    }


def versions() -> dict[str, str]:
    """Versions of everything that a result depends on."""
    return {"python": platform.python_version(), **package_versions("mujoco", "torch", "numpy")}


class _Meter:
    """Measures time and peak memory of a block."""

    cost: Cost

    def __enter__(self) -> _Meter:
        self._start = time.perf_counter()
        _reset_peaks()
        return self

    def __exit__(self, *exception: object) -> None:
        import torch

        gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else 0.0
        self.cost = Cost(time.perf_counter() - self._start, _peak_memory_mb(), gpu)


def _reset_peaks() -> None:
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak of resident memory so far


def _peak_memory_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
