"""A simulated cell in real time: stepped by the wall clock, its cameras rendered on the capture grid."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ConfigurationError, GlamError
from glam_core.tool import ToolCommand, ToolState
from kinova_driver.arm import ArmError
from kinova_driver.episode import TICK_S, Episode, Snapshot, known_task

logger = logging.getLogger(__name__)

MAX_LAG_S = 0.1
"""A cell that falls further behind the wall clock gives up on the lost time, and counts an overrun."""
ANSWER_S = 0.010
"""Between a measurement and the motion that follows it: time for a driver to answer within the same tick."""

_WINDOW = 400


class Order(Enum):
    """What an arm is told, other than where to go."""

    HOLD = "hold"
    HOME = "home"
    NONE = "none"
    """Nothing new: it stays with the last goal."""


@dataclass(frozen=True)
class CameraView:
    """One camera of the cell: which, how large, how often. Cameras with the same rate capture the same instants."""

    name: str
    height: int
    width: int
    rate_hz: float = 10.0

    @property
    def period_ticks(self) -> int:
        """Control ticks between two frames."""
        return max(1, round(1.0 / (self.rate_hz * TICK_S)))


@dataclass(frozen=True, eq=False)
class Frame:
    """An image `(H, W, 3) uint8 RGB` and when it was captured (monotonic clock, s)."""

    camera: str
    image: NDArray[np.uint8]
    stamp: float


@dataclass(frozen=True)
class Failures:
    """What is broken: for tests of everything that stands behind the arm."""

    frozen: bool = False
    """The cell stands still, and no new measurement or frame comes."""
    nan_state: bool = False
    """Measurements are NaN."""
    deaf: bool = False
    """The arms do not follow commands."""
    dark: bool = False
    """The cameras deliver no frames."""


@dataclass(frozen=True)
class Statistics:
    """How well the cell keeps real time, over the last seconds."""

    real_time_factor: float
    overruns: int
    """Since the start: how often time was given up."""
    tick_median_s: float
    tick_p99_s: float


class CellClock:
    """Steps a cell by the wall clock on a thread of its own, which alone touches the cell and its GL contexts."""

    def __init__(
        self,
        embodiment: str,
        task: str,
        seed: int,
        cameras: Sequence[CameraView] = (),
        on_frame: Callable[[Frame], None] = lambda frame: None,
        on_measured: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the clock; `start` makes the cell.

        Args:
            embodiment: One of `glam_sim.model.EMBODIMENTS`.
            task: One of `glam_sim.tasks.TASKS`.
            seed: Decides the first initial state.
            cameras: What is rendered.
            on_frame: Called on the clock's thread with every frame; it has to be quick.
            on_measured: Called on the clock's thread at every tick: a snapshot waits, for `ANSWER_S`, to be answered.
            clock: Monotonic time, s.
        """
        self._embodiment, self._task, self._seed = embodiment, known_task(task), seed
        self._cameras, self._on_frame, self._on_measured, self._clock = tuple(cameras), on_frame, on_measured, clock
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ready: Future[None] = Future()
        self._resets: deque[tuple[int, str, Future[None]]] = deque()
        self._orders: dict[str, ToolCommand | Order] = {}
        self._failures = Failures()
        self._snapshot: Snapshot | None = None
        self._overruns = 0
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

    def command(self, arm: str, command: ToolCommand) -> None:
        """Sends an arm to a pose, from the next tick on."""
        self._order(arm, command)

    def hold(self, arm: str) -> None:
        """Brings an arm to rest where it is at the next tick; its gripper keeps its goal."""
        self._order(arm, Order.HOLD)

    def home(self, arm: str) -> None:
        """Sends an arm to where the episode began, gripper open."""
        self._order(arm, Order.HOME)

    def is_homing(self, arm: str) -> bool:
        """Whether an arm is on its way home."""
        with self._lock:
            return self._orders.get(arm) is Order.HOME

    def reset(self, seed: int, task: str = "", timeout_s: float = 20.0) -> None:
        """Puts the cell into the initial state that the seed decides, and waits for it.

        Args:
            seed: Decides the initial state; not negative.
            task: Name of the task, empty for the one that is running.
            timeout_s: How long to wait.

        Raises:
            ConfigurationError: The task is unknown or the seed is negative.
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

    def _order(self, arm: str, order: ToolCommand | Order) -> None:
        with self._lock:
            self._orders[arm] = order

    def _run(self) -> None:
        episode = None
        try:
            episode = Episode(self._embodiment, self._task, self._seed)
            self._warm_up(episode)
            self._measure(episode)
            self._ready.set_result(None)
            self._keep_time(episode)
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                logger.exception("the simulated cell failed")
        finally:
            if episode is not None:
                episode.close()

    def _keep_time(self, episode: Episode) -> None:
        due, tick = self._clock(), 0
        while not self._over.wait(max(0.0, due - self._clock())):
            if self._resets:
                self._reset(episode, *self._resets.popleft())
                due, tick = self._clock(), 0
            started = self._clock()
            if not self._failures.frozen:
                self._measure(episode)
                self._on_measured()
                self._capture(episode, tick)
                self._over.wait(max(0.0, due + ANSWER_S - self._clock()))
                self._command(episode)
                episode.advance()
            now = self._clock()
            self._ticks.append((started, now - started))
            tick, due = tick + 1, due + TICK_S
            if now - due > MAX_LAG_S:
                self._overruns, due = self._overruns + 1, now

    def _reset(self, episode: Episode, seed: int, task: str, done: Future[None]) -> None:
        with self._lock:
            self._orders.clear()
        try:
            episode.reset(task, seed)
            self._warm_up(episode)
        except Exception as error:
            done.set_exception(error)
            if isinstance(error, GlamError):
                return
            raise
        self._task = task
        self._ticks.clear()
        self._measure(episode)
        done.set_result(None)

    def _warm_up(self, episode: Episode) -> None:
        """Makes every GL context before time runs: a first frame takes many ticks."""
        for view in self._cameras:
            episode.render(view.name, view.height, view.width)

    def _measure(self, episode: Episode) -> None:
        snapshot = episode.snapshot(self._clock())
        if self._failures.nan_state:
            nan = {arm: ToolState(np.full((4, 4), np.nan), np.nan) for arm in snapshot.tools}
            snapshot = replace(snapshot, tools=nan)
        self._snapshot = snapshot

    def _capture(self, episode: Episode, tick: int) -> None:
        """Renders the cameras that are due; all of them carry the stamp of the measurement that was just taken."""
        if self._failures.dark:
            return
        stamp = self.snapshot().stamp
        for view in self._cameras:
            if tick % view.period_ticks == 0:
                self._on_frame(Frame(view.name, episode.render(view.name, view.height, view.width), stamp))

    def _command(self, episode: Episode) -> None:
        """Carries out the orders at this tick."""
        if self._failures.deaf:
            return
        with self._lock:
            orders = dict(self._orders)
        for arm, order in orders.items():
            if isinstance(order, ToolCommand):
                episode.command(arm, order)
            elif order is Order.HOLD:
                episode.hold(arm)
                self._replace(arm, order, Order.NONE)
            elif order is Order.HOME and episode.step_home(arm):
                self._replace(arm, order, Order.NONE)

    def _replace(self, arm: str, order: Order, by: Order) -> None:
        """Ends an order that is done, unless a newer one has come in."""
        with self._lock:
            if self._orders[arm] is order:
                self._orders[arm] = by
