"""`glam bench matrix`: run, or resume, the matrix.

Nothing is done twice: stores, runs and records that are complete are used as they are, and what was cut short is
continued. A cell is trained, rolled out in parallel, and written as one JSON file; the order is the preset's.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from glam_core.errors import ConfigurationError, DataError
from glam_core.station import load_station
from glam_training.config import plain
from glam_training.costs import COSTS_FILE
from glam_training.data.store import Store
from glam_training.evaluate import Conditions, Outcome
from glam_training.experiment import Experiment, Job
from glam_training.locks import alone_in_or_fail
from glam_training.matrix.executors import Executor, LocalExecutor, RayExecutor
from glam_training.matrix.presets import Encoder, Preset, preset
from glam_training.matrix.record import (
    CellRecord,
    Starts,
    cell_path,
    collect_episodes,
    is_done,
    starts,
    write_record,
)
from glam_training.matrix.selection import group_cells, select_cells
from glam_training.matrix.stores import SOURCE, StoreNeed, needs, stores
from glam_training.matrix.work import Cost, Methods, Played, TrainedTogether, hardware, play, train, versions
from glam_training.provenance import command_line, git_commit

log = logging.getLogger(__name__)

EMBODIMENT = "gen3"
BACKLOG = 8
"""Pieces of rollouts per simulating process that may wait: what is trained should be measured before time is up."""


@dataclass(frozen=True)
class MatrixConfig:
    """Run the matrix, or what is left of it; stop it at any time and give the same command again."""

    preset: Literal["cpu", "gpu", "smoke"] = "cpu"
    """Which cells: `cpu` for two cores, `gpu` for a GPU and sixteen cores, `smoke` to see that everything runs."""
    parts: tuple[str, ...] = ()
    """Only these parts of the preset, such as `curve`; all when empty."""
    tasks: tuple[str, ...] = ()
    """Only these tasks; all when empty."""
    methods: tuple[str, ...] = ()
    """Only these methods; all when empty."""
    encoders: tuple[Encoder, ...] = ()
    """Only cells from images on these encoders (GLAM-O has slots, GLAM keypoints, rivals both); all when empty."""
    seeds: tuple[int, ...] = ()
    """Only these seeds of training; all when empty."""
    out: Path = Path("runs/bench")
    """Folder of demonstrations and training runs."""
    results: Path = Path("docs/results/matrix")
    """Folder of the records, one JSON file per cell."""
    minutes: float | None = None
    """Wall-clock budget, after which the matrix stops with what is done; none runs to the end."""
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """Processes that simulate; they train as well when there are no `trainers`."""
    trainers: int = 0
    """Processes that train beside the simulating ones, for machines with a GPU."""
    together: int = 1
    """How many runs are trained together; on a GPU dozens cost little more than one."""
    ray: str | None = None
    """Address of a Ray cluster ("auto", or "local" to start one here); processes of this machine when unset."""
    starts: Literal["evaluation", "tuning"] = "evaluation"
    """Which episodes: those of the tables, or those that settings may be chosen on (with a results folder apart)."""
    rollouts: int | None = None
    """Episodes of each cell; the preset's when unset."""
    latency_s: float = 0.05
    """Simulated time from the capture of an observation to the arrival of its chunk."""
    station: Path = Path("config/stations/sim.yaml")
    """Station file whose safety limits apply."""
    dry_run: bool = False
    """Only say what is done and what would be."""

    def __post_init__(self) -> None:
        for name in ("workers", "together"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.trainers < 0:
            raise ConfigurationError(f"trainers must not be negative, got {self.trainers}")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigurationError(f"minutes must be positive, got {self.minutes}")
        if self.starts == "tuning" and self.results == MatrixConfig.results:
            raise ConfigurationError("tuning needs a results folder of its own, for instance --results runs/tuning")


@dataclass(frozen=True)
class Summary:
    """What a call of the matrix did."""

    done_before: int
    measured: int
    left: int
    failed: dict[str, str]
    """Name of each cell that could not be measured, and why."""

    def __str__(self) -> str:
        text = f"{self.measured} cells measured, {self.done_before} were done before, {self.left} left"
        return text + "".join(f"\nfailed: {name}: {reason}" for name, reason in self.failed.items())


def run_matrix(config: MatrixConfig, methods: Methods, chosen: Preset | None = None) -> Summary:
    """Run, or resume, the matrix.

    Args:
        config: which cells, where, how.
        methods: how cells are trained and played.
        chosen: instead of the preset that `config` names.

    Raises:
        ConfigurationError: a name is unknown, a record holds another measurement, or another matrix uses the folders.
        DataError: a record is damaged.
    """
    chosen = chosen or preset(config.preset)
    cells = select_cells(chosen, config.parts, config.tasks, config.methods, config.encoders, config.seeds)
    wanted = starts(config.starts, config.rollouts or chosen.rollouts)
    todo = [cell for cell in cells if not is_done(cell_path(config.results, cell), cell, wanted, _budget(cell))]
    if config.dry_run:
        for cell in cells:
            print(f"{'to do' if cell in todo else 'done '}  {cell_path(config.results, cell)}")
        return Summary(len(cells) - len(todo), 0, len(todo), {})
    with alone_in_or_fail(config.out, "glam bench matrix"):
        executor = RayExecutor(config.ray) if config.ray else LocalExecutor(config.workers, config.trainers)
        try:
            matrix = _Matrix(config, methods, chosen, wanted, executor)
            matrix.run(todo)
        finally:
            executor.close()
    return Summary(len(cells) - len(todo), matrix.measured, len(todo) - matrix.measured, matrix.failed)


@dataclass
class _Progress:
    """A cell that is being rolled out."""

    cell: Experiment
    training: Cost
    together: int
    outcomes: list[Outcome] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    waiting: int = 0


class _Matrix:
    """The event loop: stores are recorded, groups trained, cells rolled out, records written."""

    def __init__(
        self, config: MatrixConfig, methods: Methods, chosen: Preset, wanted: Starts, executor: Executor
    ) -> None:
        self.measured = 0
        self.failed: dict[str, str] = {}
        self._config = config
        self._methods = methods
        self._preset = chosen
        self._starts = wanted
        self._executor = executor
        self._hardware = hardware()
        self._versions = versions()
        self._commit = git_commit()
        self._limits = load_station(config.station)
        self._end = None if config.minutes is None else time.monotonic() + 60.0 * config.minutes
        self._recordings: dict[StoreNeed, Future[None]] = {}
        self._trainings: dict[Future[TrainedTogether], list[Experiment]] = {}
        self._rollouts: dict[Future[Played], _Progress] = {}

    def run(self, todo: Sequence[Experiment]) -> None:
        """Measure the cells, or as many as the time allows."""
        groups = deque(group_cells(todo, self._config.together))
        recorder = ThreadPoolExecutor(1)
        try:
            for group in groups:
                for cell in group:
                    for need in self._needs(cell):
                        if need not in self._recordings:
                            self._recordings[need] = recorder.submit(self._record, need)
            while (groups or self._trainings or self._rollouts) and not self._is_over():
                self._start(groups)
                self._await(groups)
        finally:
            recorder.shutdown(wait=True, cancel_futures=True)
        if self._is_over() and (groups or self._trainings or self._rollouts):
            log.warning("the time is over; give the same command again to go on")

    def _record(self, need: StoreNeed) -> None:
        if not self._is_over() and not need.is_recorded():
            start = time.monotonic()
            need.record(self._config.workers)
            log.info("%s: %d episodes recorded in %.0f s", need.path, need.episodes, time.monotonic() - start)

    def _start(self, groups: deque[list[Experiment]]) -> None:
        """Start trainings while there is room for them and their demonstrations are there."""
        for group in list(groups):
            busy = len(self._trainings) + (len(self._rollouts) if self._executor.shared else 0)
            if busy >= self._executor.trainings or len(self._rollouts) >= BACKLOG * self._executor.simulations:
                return
            for cell in list(group):
                recordings = [self._recordings[need] for need in self._needs(cell)]
                broken = next((r.exception() for r in recordings if r.done() and r.exception()), None)
                if broken is not None:
                    group.remove(cell)
                    self._fail([cell], broken)
            if all(self._recordings[need].done() for cell in group for need in self._needs(cell)):
                groups.remove(group)
                if group:
                    self._trainings[self._executor.train(train, self._methods, [self._job(c) for c in group])] = group

    def _await(self, groups: deque[list[Experiment]]) -> None:
        """Wait until something is done, and deal with it."""
        recordings = [r for r in self._recordings.values() if not r.done()] if groups else []
        timeout = None if self._end is None else max(0.0, self._end - time.monotonic())
        done, _ = wait([*self._trainings, *self._rollouts, *recordings], timeout, FIRST_COMPLETED)
        for future in done:
            if future in self._trainings:
                self._trained(future, self._trainings.pop(future))
            elif future in self._rollouts:
                self._played(future, self._rollouts.pop(future))

    def _trained(self, future: Future[TrainedTogether], group: list[Experiment]) -> None:
        error = future.exception()
        if error is not None:
            self._fail(group, error)
            return
        trained = future.result()
        log.info("%s and %d more trained in %.0f s", _name(group[0]), len(group) - 1, trained.cost.seconds)
        for cell, failure in zip(group, trained.failures, strict=True):
            if failure:
                self.failed[_name(cell)] = failure
                log.error("%s failed: %s", _name(cell), failure)
            else:
                self._roll_out(_Progress(cell, trained.cost, len(group)))

    def _roll_out(self, progress: _Progress) -> None:
        seeds = self._starts.seeds
        parts = [seeds[i : i + self._chunk] for i in range(0, len(seeds), self._chunk)]
        progress.waiting = len(parts)
        for part in parts:
            run, conditions = self._run_folder(progress.cell), self._conditions(progress.cell)
            self._rollouts[self._executor.simulate(play, self._methods, run, conditions, part)] = progress

    def _played(self, future: Future[Played], progress: _Progress) -> None:
        progress.waiting -= 1
        error = future.exception()
        if error is not None:
            if _name(progress.cell) not in self.failed:
                self._fail([progress.cell], error)
            return
        progress.outcomes += future.result().outcomes
        progress.costs.append(future.result().cost)
        if progress.waiting == 0 and len(progress.outcomes) == self._starts.rollouts:
            self._finish(progress)

    def _finish(self, progress: _Progress) -> None:
        cell, training = progress.cell, progress.training
        needed = self._needs(cell)
        record = CellRecord(
            experiment=cell,
            starts=self._starts,
            episodes=collect_episodes(progress.outcomes),
            conditions={
                "latency_s": self._config.latency_s,
                "limits": self._config.station.name,
                "source": SOURCE["target"],
            },
            budget=_budget(cell),
            fingerprints={need.path.name: Store.open(need.path).fingerprint for need in needed},
            cost={
                "training_s": round(training.seconds, 2),
                "trained_together": progress.together,
                "training_peak_memory_mb": round(training.peak_memory_mb),
                "training_peak_gpu_mb": round(training.peak_gpu_mb),
                "rollouts_core_s": round(sum(cost.seconds for cost in progress.costs), 2),
                "rollouts_peak_memory_mb": round(max(cost.peak_memory_mb for cost in progress.costs)),
            },
            hardware=self._hardware,
            stages=_stages(self._run_folder(cell)),
            versions=self._versions,
            commit=self._commit,
            command=command_line(),
        )
        path = cell_path(self._config.results, cell)
        write_record(path, record)
        self.measured += 1
        name = path.relative_to(self._config.results)
        log.info("%s: %d of %d (cell %d)", name, record.successes, record.n, self.measured)

    def _fail(self, cells: Sequence[Experiment], error: BaseException) -> None:
        if isinstance(error, BrokenProcessPool):
            raise DataError(
                "a process of the matrix was killed, most likely because memory ran out; give the same command again "
                "with fewer --workers or --together"
            ) from error
        for cell in cells:
            self.failed[_name(cell)] = f"{type(error).__name__}: {error}"
            log.error("%s failed: %s", _name(cell), error)

    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    @property
    def _chunk(self) -> int:
        """Rollouts of one piece of work."""
        return max(5, -(-self._starts.rollouts // self._executor.simulations))

    def _needs(self, cell: Experiment) -> tuple[StoreNeed, StoreNeed]:
        return needs(cell, self._config.out / "data", *self._preset.store_episodes[cell.suite])

    def _job(self, cell: Experiment) -> Job:
        return Job(cell, stores(*self._needs(cell), self._config.out / "encoders"), self._run_folder(cell))

    def _run_folder(self, cell: Experiment) -> Path:
        return cell_path(self._config.out / "runs", cell).with_suffix("")

    def _conditions(self, cell: Experiment) -> Conditions:
        return Conditions(
            task=cell.task,
            embodiment=EMBODIMENT,
            source=SOURCE["target"],
            latency_s=self._config.latency_s,
            safety_limits=self._limits.limits("arm"),
        )


def _name(cell: Experiment) -> str:
    return cell_path(Path(), cell).as_posix()


def _budget(cell: Experiment) -> dict[str, object]:
    return plain(cell.sizes)


def _stages(run: Path) -> dict[str, dict[str, object]]:
    """What each stage of a run took, if its trainer has written that down."""
    path = run / COSTS_FILE
    return json.loads(path.read_text()) if path.exists() else {}
