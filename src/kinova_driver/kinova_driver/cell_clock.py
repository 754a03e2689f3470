"""A simulated cell in real time: stepped by the wall clock, measured at every control tick."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from glam_core.errors import ConfigurationError, GlamError
from glam_core.tool import ToolState
from kinova_driver.arm import ArmError
from kinova_driver.episode import TICK_S, Episode, Snapshot, known_task
from kinova_driver.movers import Mover, ToolGoals

logger = logging.getLogger(__name__)

MAX_LAG_S = 0.1
"""A cell that falls further behind the wall clock gives up on the lost time, and counts an overrun."""

_WINDOW = 400


@dataclass(frozen=True)
class Failures:
    """What is broken: for tests of everything that stands behind the cell."""

    frozen: bool = False
    """The cell stands still, and no new measurement comes."""
    nan_state: bool = False
    """Measurements are NaN."""


@dataclass(frozen=True)
class Statistics:
    """How well the cell keeps real time, over the last seconds."""

    real_time_factor: float
    overruns: int
    """Since the start: how often time was given up."""
    tick_median_s: float
    tick_p99_s: float
    """Work per tick, waiting left out."""


class CellClock:
    """Steps a cell by the wall clock on a thread of its own, which alone touches the cell."""

    def __init__(
        self,
        embodiment: str,
        task: str,
        seed: int,
        make_mover: Callable[[Episode], Mover] | None = None,
        on_measured: Callable[[Snapshot], None] = lambda snapshot: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the clock; `start` makes the cell.

        Args:
            embodiment: One of `glam_sim.model.EMBODIMENTS`.
            task: One of `glam_sim.tasks.TASKS`.
            seed: Decides the first initial state.
            make_mover: Makes what moves the arms, once the cell is there; without it, `goals` does.
            on_measured: Called on the clock's thread with every tick's snapshot; it has to be quick.
            clock: Monotonic time, s.
        """
        self._embodiment, self._task, self._seed = embodiment, known_task(task), seed
        self.goals = ToolGoals()
        """Moves the tools where nothing else does."""
        self._make_mover, self._on_measured, self._clock = make_mover, on_measured, clock
        self._over = threading.Event()
        self._ready: Future[None] = Future()
        self._resets: deque[tuple[int, str, Future[None]]] = deque()
        self._failures = Failures()
        self._snapshot: Snapshot | None = None
        self._overruns = 0
        self._waited_s = 0.0
        self._ticks: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._thread = threading.Thread(target=self._run, name="cell", daemon=True)

    def start(self) -> None:
        """Makes the cell, resets it, and lets time run; raises what the cell raises."""
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """Ends the thread and closes the cell; harmless when repeated."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the cell's arms."""
        return tuple(self.snapshot().tools)

    def snapshot(self) -> Snapshot:
        """The newest state of the cell; raises ArmError where there is none, or the cell has failed."""
        snapshot = self._snapshot
        if snapshot is None or not self._thread.is_alive():
            raise ArmError("the simulated cell is not running")
        return snapshot

    def reset(self, seed: int, task: str = "", timeout_s: float = 20.0) -> None:
        """Puts the cell into the initial state that the seed decides, and waits for it.

        Args:
            seed: Decides the initial state; not negative.
            task: Name of the task, empty for the one that is running.
            timeout_s: How long to wait.

        Raises:
            ConfigurationError: The task is unknown or for other arms, or the seed is negative.
            ArmError: The cell does not answer.
        """
        if seed < 0:
            raise ConfigurationError(f"the seed is a number from 0 on, not {seed}")
        self.snapshot()
        done: Future[None] = Future()
        self._resets.append((seed, known_task(task or self._task), done))
        try:
            done.result(timeout_s)
        except TimeoutError as error:
            raise ArmError(f"the simulated cell did not reset within {timeout_s} s") from error

    def inject(self, failures: Failures) -> None:
        """Breaks something, or with `Failures()` mends everything."""
        self._failures = failures

    def statistics(self) -> Statistics:
        """How well the cell keeps real time."""
        ticks = list(self._ticks)
        if len(ticks) < 2:
            return Statistics(0.0, self._overruns, 0.0, 0.0)
        started, spent = np.array(ticks).T
        simulated, passed = (len(ticks) - 1) * TICK_S, started[-1] - started[0]
        median, p99 = np.percentile(spent, (50, 99))
        return Statistics(simulated / passed, self._overruns, float(median), float(p99))

    def _run(self) -> None:
        episode = None
        try:
            episode = Episode(self._embodiment, self._task, self._seed)
            mover = self.goals if self._make_mover is None else self._make_mover(episode)
            self._measure(episode)
            self._ready.set_result(None)
            self._keep_time(episode, mover)
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                logger.exception("the simulated cell failed")
        finally:
            if episode is not None:
                episode.close()

    def _keep_time(self, episode: Episode, mover: Mover) -> None:
        due = self._clock()
        while not self._over.is_set():
            self._wait_until(due)
            if self._resets:
                self._reset(episode, mover, *self._resets.popleft())
                due = self._clock()
            started, self._waited_s = self._clock(), 0.0
            if not self._failures.frozen:
                self._on_measured(self._measure(episode))
                mover.pass_tick(episode, due, self._wait_until)
            now = self._clock()
            self._ticks.append((started, now - started - self._waited_s))
            due += TICK_S
            if now - due > MAX_LAG_S:
                self._overruns, due = self._overruns + 1, now

    def _wait_until(self, moment: float) -> None:
        left = moment - self._clock()
        if left > 0.0:
            before = self._clock()
            self._over.wait(left)
            self._waited_s += self._clock() - before

    def _reset(self, episode: Episode, mover: Mover, seed: int, task: str, done: Future[None]) -> None:
        before = self._task
        try:
            episode.reset(task, seed)
            try:
                mover.reset(episode)
            except ConfigurationError:
                episode.reset(before, seed)
                mover.reset(episode)
                raise
        except Exception as error:
            done.set_exception(error)
            if isinstance(error, GlamError):
                return
            raise
        self._task = task
        self._ticks.clear()
        self._measure(episode)
        done.set_result(None)

    def _measure(self, episode: Episode) -> Snapshot:
        snapshot = episode.snapshot(self._clock())
        if self._failures.nan_state:
            nan = {arm: ToolState(np.full((4, 4), np.nan), np.nan) for arm in snapshot.tools}
            snapshot = replace(snapshot, tools=nan)
        self._snapshot = snapshot
        return snapshot
