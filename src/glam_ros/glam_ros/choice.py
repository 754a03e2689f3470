"""Which shipped model to run, for a task or for no task in particular."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glam_core.errors import ConfigurationError, ModelFolderError, closest
from glam_core.manifest import Manifest, read_manifest
from glam_ros import resources

HARDEST_FIRST = ("stack_two", "lift")
GOOD_SUCCESS_RATE = 0.8
METHOD = "glam"
EMBODIMENT = "gen3"


@dataclass(frozen=True)
class Choice:
    """A model folder and what it says of itself."""

    folder: Path
    manifest: Manifest

    @property
    def success_rate(self) -> float:
        """The measured success rate, 0 where none was measured."""
        return self.manifest.evaluation.success_rate if self.manifest.evaluation else 0.0

    @property
    def suits(self) -> bool:
        """A GLAM model of the arm that sees through cameras."""
        return (
            self.manifest.method == METHOD
            and self.manifest.embodiment == EMBODIMENT
            and bool(self.manifest.obs_spec.images)
        )


def choose(models: dict[str, Path], task: str = "") -> Choice:
    """The model to run.

    Args:
        models: Name to folder of the shipped models.
        task: Task that it was trained for; by default the hardest whose model succeeds often enough.

    Raises:
        ConfigurationError: The task is unknown; the message lists the known ones.
        ModelFolderError: No model is there for it; the message says how to make one.
    """
    candidates = [Choice(folder, read_manifest(folder)) for folder in models.values()]
    tasks = (*HARDEST_FIRST, *sorted({each.manifest.task for each in candidates} - set(HARDEST_FIRST)))
    if task and task not in tasks:
        raise ConfigurationError(closest(task, tasks, "task"))
    suitable = [each for each in candidates if each.suits]
    if task:
        return _best([each for each in suitable if each.manifest.task == task], task)
    for hardest in HARDEST_FIRST:
        good = [each for each in suitable if each.manifest.task == hardest and each.success_rate >= GOOD_SUCCESS_RATE]
        if good:
            return _best(good, hardest)
    return _best(suitable, HARDEST_FIRST[-1])


def model_folder(model: str) -> Path:
    """The folder of a model by name or path; of the default model where it is empty."""
    return resources.model_folder(model) if model else choose(resources.shipped_models()).folder


def station_file(station: str, model: Path) -> Path:
    """A station file by name or path; where it is empty, that of the simulated cell with as many arms as the model."""
    return resources.station_file(station or resources.simulated_station(read_manifest(model).action_spec.arms))


def _best(candidates: list[Choice], task: str) -> Choice:
    if not candidates:
        raise ModelFolderError(
            f"no image model for the task '{task}' is shipped in models/. Train and export one with glam demos, train, "
            "relabel, train and export, as the README says; or give the path of a model folder with --model"
        )
    return max(candidates, key=lambda each: each.success_rate)
