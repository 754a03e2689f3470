"""What moves the arms of a simulated cell during a control tick: goals for the tool, or the arms' own controllers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from glam_core.errors import ConfigurationError
from glam_core.tool import ToolCommand
from glam_sim.model import PHYSICS_STEP_S, PHYSICS_STEPS_PER_CONTROL
from glam_sim.motion import JointDrive, JointState
from kinova_driver.episode import Episode

ANSWER_S = 0.010
"""Between a measurement and the motion that follows it: time for a driver to answer within the same tick."""

WaitUntil = Callable[[float], None]
"""Waits until a moment of the monotonic clock, s."""


class Mover(Protocol):
    """Lets control ticks pass."""

    def reset(self, episode: Episode) -> None:
        """The episode begins: everything is somewhere else, at rest."""
        ...

    def pass_tick(self, episode: Episode, start: float, wait_until: WaitUntil) -> None:
        """Lets one control tick pass that begins at `start` of the monotonic clock, s."""
        ...


class Order(Enum):
    """What a tool is told, other than where to go."""

    HOLD = "hold"
    HOME = "home"
    NONE = "none"
    """Nothing new: it stays with the last goal."""


class ToolGoals:
    """Moves tools to poses that somebody in this process commands. Its orders may come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[str, ToolCommand | Order] = {}
        self.deaf = False
        """Orders are taken, but not carried out."""

    def order(self, arm: str, order: ToolCommand | Order) -> None:
        """Tells a tool where to go, or what else to do, from the next tick on."""
        with self._lock:
            self._orders[arm] = order

    def is_homing(self, arm: str) -> bool:
        """Whether a tool is on its way home."""
        with self._lock:
            return self._orders.get(arm) is Order.HOME

    def reset(self, episode: Episode) -> None:
        """Forgets every order."""
        with self._lock:
            self._orders.clear()

    def pass_tick(self, episode: Episode, start: float, wait_until: WaitUntil) -> None:
        """Gives drivers time to answer the measurement, carries the orders out, and lets the tick pass at once."""
        wait_until(start + ANSWER_S)
        if not self.deaf:
            self._carry_out(episode)
        episode.advance()

    def _carry_out(self, episode: Episode) -> None:
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


class Controller(Protocol):
    """An arm's own controller."""

    def step(self, state: JointState, now: float) -> JointDrive:
        """Takes a measurement; returns what the joints and fingers do until the next one."""
        ...

    def reseat(self, state: JointState) -> None:
        """The joints were put somewhere else."""
        ...


class Controllers:
    """Lets every arm's controller drive its joints, one physics step after the other, in real time."""

    def __init__(self, controllers: Mapping[str, Controller], steps_per_cycle: int = 1) -> None:
        """Drives arms.

        Args:
            controllers: Of every arm of the cell.
            steps_per_cycle: Physics steps between two measurements; a divisor of those of a control tick.
        """
        self._controllers, self._steps = dict(controllers), steps_per_cycle

    def reset(self, episode: Episode) -> None:
        """Tells every controller where its joints are now."""
        self._require_same_arms(episode)
        for arm, controller in self._controllers.items():
            controller.reseat(episode.joint_state(arm))

    def pass_tick(self, episode: Episode, start: float, wait_until: WaitUntil) -> None:
        """Lets the physics steps of one tick pass, each at its time."""
        for step in range(0, PHYSICS_STEPS_PER_CONTROL, self._steps):
            now = start + step * PHYSICS_STEP_S
            wait_until(now)
            drives = {arm: each.step(episode.joint_state(arm), now) for arm, each in self._controllers.items()}
            for _ in range(self._steps):
                episode.drive(drives)

    def _require_same_arms(self, episode: Episode) -> None:
        if set(episode.arms) != set(self._controllers):
            raise ConfigurationError(
                f"this cell was started with the arms {', '.join(self._controllers)}, the task has "
                f"{', '.join(episode.arms)}; start another one for it"
            )
