"""What each phase of a training took: beside the weights, as costs.json."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from glam_core.errors import DataError

COSTS_FILE = "costs.json"
_SPEED_WORKS = 20


@dataclass(frozen=True)
class PhaseCost:
    """What a phase took.

    Attributes:
        steps: gradient steps of the call that finished it: of a phase that was cut short, the rest.
        seconds: wall time of these steps, of all runs that were trained together.
        trained_together: runs that shared these seconds.
        peak_memory_mib: most memory so far: of the GPU, or of the process on a CPU.
        device: name of the GPU, or the CPU and its threads.
        step_ms: a whole step.
        draw_ms: making its batch alone.
        examples: examples of a step of one run; None where the budget says that.
    """

    steps: int
    seconds: float
    trained_together: int
    peak_memory_mib: int
    device: str
    step_ms: float
    draw_ms: float
    examples: int | None = None


def measured_memory(device: torch.device) -> tuple[str, int]:
    """What trains, in words, and the most memory that it has taken so far, MiB."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(), round(torch.cuda.max_memory_allocated() / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"cpu, {torch.get_num_threads()} threads", round(peak / 1024)


def milliseconds(work: Callable[[], object]) -> float:
    """Mean time of a piece of work, after a first time that is not counted."""
    work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(_SPEED_WORKS):
        work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / _SPEED_WORKS


def add_cost(run: Path, phase: str, cost: PhaseCost) -> None:
    """Write down what a phase took."""
    costs = {**read_costs(run), phase: cost}
    path = run / COSTS_FILE
    partial = path.with_suffix(".partial")
    values = {name: {k: v for k, v in asdict(one).items() if v is not None} for name, one in costs.items()}
    partial.write_text(json.dumps(values, indent=2) + "\n")
    partial.replace(path)


def read_costs(run: Path) -> dict[str, PhaseCost]:
    """Phase to what it took; empty where nothing is written down.

    Raises:
        DataError: what is written down can not be read.
    """
    path = run / COSTS_FILE
    if not path.exists():
        return {}
    try:
        return {name: PhaseCost(**cost) for name, cost in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it: it only says what training took") from error
