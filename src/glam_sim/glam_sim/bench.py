"""How fast the simulation is, and how well the experts do: `python -m glam_sim.bench`.

Prints, for each task and embodiment, the experts' successes with their 95 % Wilson interval and physics steps per
second over their episodes (controller, observations and recording included), then frames per second of each camera.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import mujoco
import numpy as np
import tyro

from glam_core.gen3 import COMMAND_STEP_S
from glam_core.stats import wilson_interval
from glam_sim.cell import Cell
from glam_sim.model import CONTROL_STEP_S, EMBODIMENTS, PHYSICS_STEP_S, PHYSICS_STEPS_PER_CONTROL
from glam_sim.rollout import ExpertController, rollout
from glam_sim.tasks import TASKS


@dataclass(frozen=True)
class BenchConfig:
    """What is measured."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks."""
    embodiments: tuple[str, ...] = EMBODIMENTS
    """Embodiments."""
    sources: tuple[str, ...] = ()
    """Sources whose experts are measured instead, each with its own embodiment."""
    first_seed: int = 0
    """Seed of the first episode."""
    episodes: int = 100
    """Episodes of each task and embodiment."""
    image_size: int = 96
    """Height and width of the frames that are timed, px."""
    frames: int = 300
    """Frames that are timed, for each camera."""


@dataclass(frozen=True)
class ExpertResult:
    """How an expert did.

    Attributes:
        successes: out of `episodes`.
        episodes: how many were tried.
        mean_s: mean length of an episode, simulated s.
        physics_steps_s: physics steps per second of real time.
        physics_steps_cpu_s: the same per second of this process's CPU time, which a busy machine leaves alone.
    """

    successes: int
    episodes: int
    mean_s: float
    physics_steps_s: float
    physics_steps_cpu_s: float


def bench_expert(cell: Cell, seeds: range) -> ExpertResult:
    """Runs the expert once for each seed."""
    controller = ExpertController.of(cell.task.name, cell.source)
    start, cpu_start = time.perf_counter(), time.process_time()
    episodes = [rollout(cell, controller, seed) for seed in seeds]
    elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    simulated = [COMMAND_STEP_S * episode.steps for episode in episodes]
    return ExpertResult(
        successes=sum(episode.success for episode in episodes),
        episodes=len(episodes),
        mean_s=float(np.mean(simulated)),
        physics_steps_s=sum(simulated) / PHYSICS_STEP_S / elapsed,
        physics_steps_cpu_s=sum(simulated) / PHYSICS_STEP_S / cpu,
    )


def bench_camera(cell: Cell, camera: str, size: int, frames: int) -> tuple[float, float]:
    """Returns images and masks per second, physics moving on in between (its time is not counted)."""
    rates = []
    for draw in (cell.render, cell.render_mask):
        draw(camera, size, size)
        elapsed = 0.0
        for _ in range(frames):
            cell.advance(CONTROL_STEP_S)
            start = time.perf_counter()
            draw(camera, size, size)
            elapsed += time.perf_counter() - start
        rates.append(frames / elapsed)
    return rates[0], rates[1]


def run(config: BenchConfig) -> None:
    """Measures and prints."""
    print(
        f"MuJoCo {mujoco.__version__}, {PHYSICS_STEPS_PER_CONTROL} physics steps of {1000 * PHYSICS_STEP_S} ms a tick"
    )
    seeds = range(config.first_seed, config.first_seed + config.episodes)
    for task in config.tasks:
        cells = [(name, partial(Cell.of, task, name)) for name in config.sources]
        cells = cells or [(name, partial(Cell, task, name)) for name in config.embodiments]
        for name, make in cells:
            with make() as cell:
                result = bench_expert(cell, seeds)
                low, high = wilson_interval(result.successes, result.episodes)
                print(
                    f"{task:11s} {name:5s} expert {result.successes}/{result.episodes} [{low:.2f}, {high:.2f}], "
                    f"{result.mean_s:.1f} s an episode, {result.physics_steps_s:,.0f} physics steps/s "
                    f"({result.physics_steps_cpu_s:,.0f} per CPU second)"
                )
                for camera in cell.cameras:
                    images, masks = bench_camera(cell, camera, config.image_size, config.frames)
                    print(f"{'':17s} {camera:11s} {images:,.0f} images/s, {masks:,.0f} masks/s")


def main() -> None:
    """The command line."""
    run(tyro.cli(BenchConfig, description=__doc__))


if __name__ == "__main__":
    main()
