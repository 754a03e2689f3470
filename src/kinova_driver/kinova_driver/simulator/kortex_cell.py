"""A simulated cell whose arms speak Kortex, in real time: what `kinova-sim` runs and the deployment graph contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from glam_core.errors import ConfigurationError, closest
from kinova_driver.cell_clock import CellClock
from kinova_driver.episode import Episode, Snapshot
from kinova_driver.movers import Controllers
from kinova_driver.simulator.arm import ArmOptions, SimulatedGen3


class KortexCell:
    """The cell, its clock and its arms."""

    def __init__(
        self,
        task: str,
        seed: int,
        arms: Mapping[str, ArmOptions],
        on_measured: Callable[[Snapshot], None] = lambda snapshot: None,
        steps_per_cycle: int = 1,
    ) -> None:
        """Prepares the cell; `start` makes it and serves its arms.

        Args:
            task: One of `glam_sim.tasks.TASKS`.
            seed: Decides the first initial state.
            arms: How each arm is served, by its name.
            on_measured: Called with the snapshot of every control tick; it has to be quick.
            steps_per_cycle: Physics steps (2.5 ms) between two measurements of the arms.
        """
        self._options, self._steps_per_cycle = dict(arms), steps_per_cycle
        self.arms: dict[str, SimulatedGen3] = {}
        self.clock = CellClock("gen3", task, seed, self._make_controllers, on_measured)

    def start(self) -> None:
        """Lets time run, and serves; raises ConfigurationError for other arms than the task's, or a port in use."""
        try:
            self.clock.start()
        except BaseException:
            self._close_arms()
            raise
        for arm in self.arms.values():
            arm.start()

    def close(self) -> None:
        """Ends; harmless when repeated."""
        self._close_arms()
        self.clock.close()

    def tell(self, arm: str, text: str) -> str:
        """Makes an arm misbehave, all of them where the name is empty; or `reset SEED [TASK]`s the cell.

        Raises:
            ConfigurationError: The words or the name are not understood.
        """
        words = text.split()
        if words[:1] == ["reset"]:
            self._reset(words[1:])
            return "done"
        if arm and arm not in self.arms:
            raise ConfigurationError(closest(arm, self.arms, "arm"))
        chosen = {name: each for name, each in self.arms.items() if arm in ("", name)}
        answers = {name: each.tell(text) for name, each in chosen.items()}
        if len(set(answers.values())) == 1:
            return next(iter(answers.values()))
        return "\n".join(f"{name}: {answer}" for name, answer in answers.items())

    def _reset(self, words: list[str]) -> None:
        if not 1 <= len(words) <= 2 or not words[0].isdigit():
            raise ConfigurationError("reset SEED [TASK], such as: reset 7 stack_two")
        self.clock.reset(int(words[0]), words[1] if len(words) == 2 else "")

    def _make_controllers(self, episode: Episode) -> Controllers:
        if set(episode.arms) != set(self._options):
            raise ConfigurationError(
                f"the task has the arms {', '.join(episode.arms)}, not {', '.join(self._options) or 'none'}"
            )
        for name in episode.arms:
            self.arms[name] = SimulatedGen3(episode.joint_state(name), self._options[name])
        return Controllers(self.arms, self._steps_per_cycle)

    def _close_arms(self) -> None:
        for arm in self.arms.values():
            arm.close()
