"""Run folders: everything that made a training run stands beside its weights.

<run>/run.json         resolved config, commit, command, dataset fingerprints, versions; written first, atomically
<run>/metrics.jsonl    one line per logged step
<run>/tensorboard/     the same numbers
<run>/<phase>.pt       last state of each phase, tensors and plain containers only (loads with weights_only); atomic
"""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from glam_core.errors import ConfigurationError, DataError
from glam_training.config import differences, plain
from glam_training.provenance import command_line, git_commit, package_versions

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"


class Run:
    """One training run on disk; use `create`, `open`, or `create_or_open`.

    Attributes:
        path: the folder.
        record: content of run.json: config, fingerprints, commit, command, versions.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self._writer: SummaryWriter | None = None

    @classmethod
    def create(cls, path: str | Path, config: Any, fingerprints: Mapping[str, str]) -> Self:
        """Make a new run folder.

        Args:
            path: where; must be new or empty.
            config: the resolved config, a dataclass instance; its seed is one of its fields.
            fingerprints: dataset path (or role) to fingerprint.

        Raises:
            DataError: the folder holds something already.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            if (path / RUN_FILE).exists():
                raise DataError(f"{path} holds a run already; resume it by its path or choose another folder")
            raise DataError(f"{path} is not empty and holds no complete {RUN_FILE}; delete it or choose another folder")
        path.mkdir(parents=True, exist_ok=True)
        record = {
            "config": plain(config),
            "fingerprints": dict(fingerprints),
            "commit": git_commit(),
            "command": command_line(),
            "versions": package_versions("torch", "numpy", "mujoco", "lightning"),
        }
        _replace_text(path / RUN_FILE, json.dumps(record, indent=2) + "\n")
        return cls(path, record)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open an existing run.

        Raises:
            DataError: no run stands there, or its creation was cut short.
        """
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"{path} is not a run folder: no such folder")
        try:
            record = json.loads((path / RUN_FILE).read_text())
        except FileNotFoundError:
            raise DataError(f"{path} has no {RUN_FILE}: it is no run, or its start was cut short; delete it") from None
        except json.JSONDecodeError as error:
            raise DataError(f"{path / RUN_FILE} is damaged ({error}); delete {path} and start again") from error
        return cls(path, record)

    @classmethod
    def create_or_open(cls, path: str | Path, config: Any, fingerprints: Mapping[str, str]) -> Self:
        """Create the run, or open it to resume when it was started with the same config on the same data.

        Raises:
            ConfigurationError: the run that stands there has another config or other data; lists the differences.
        """
        if not (Path(path) / RUN_FILE).exists():
            return cls.create(path, config, fingerprints)
        run = cls.open(path)
        differing = differences(run.config, plain(config)) + differences(run.fingerprints, dict(fingerprints))
        if differing:
            raise ConfigurationError(
                f"{path} was started differently: {'; '.join(differing)}; "
                "resume with the same values, or choose another folder; where one side lacks a value, another version "
                "of this code began the run: delete it or choose another folder"
            )
        return run

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config as plain values."""
        return self.record["config"]

    @property
    def fingerprints(self) -> dict[str, str]:
        return self.record["fingerprints"]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers to metrics.jsonl and TensorBoard."""
        numbers = {name: float(value) for name, value in values.items()}
        with (self.path / METRICS_FILE).open("a") as file:
            # JSON has no NaN; a diverged loss is null in the file.
            finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
            file.write(json.dumps({"step": step, **finite}) + "\n")
        if self._writer is None:
            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=step)
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def metrics(self) -> list[dict[str, Any]]:
        """All logged lines, oldest first; a last line that a killed process left half written is skipped."""
        try:
            lines = (self.path / METRICS_FILE).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def save(self, state: Mapping[str, Any], step: int, phase: str = "checkpoint") -> None:
        """Replace the checkpoint of `phase` by `state` (tensors, numbers, strings and containers of them) at `step`."""
        path = self._checkpoint(phase)
        partial = path.with_name(path.name + ".partial")
        torch.save({**state, "step": step}, partial)
        os.replace(partial, path)

    def latest(self, phase: str = "checkpoint") -> dict[str, Any] | None:
        """The last checkpoint of `phase` on the CPU with its "step", or None before the first one.

        Raises:
            DataError: the checkpoint is damaged.
        """
        path = self._checkpoint(phase)
        return read_tensors(path) if path.exists() else None

    def rewind(self, step: int, phase: str = "") -> None:
        """Drop metrics of `phase` (names that start with it) after `step`: a resumed run logs each step once."""
        kept = [
            line
            for line in self.metrics()
            if line["step"] <= step or not any(name.startswith(phase) for name in line if name != "step")
        ]
        _replace_text(self.path / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in kept))

    def _checkpoint(self, phase: str) -> Path:
        return self.path / f"{phase}.pt"

    def close(self) -> None:
        """Flush the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def load_weights(module: nn.Module, state: Mapping[str, Tensor], folder: Path) -> None:
    """Load a module's weights.

    Raises:
        DataError: they are another module's, as after a change of this code.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{folder} holds weights of another version of this code ({reason}); delete it and train it again"
        ) from None


def read_tensors(path: Path) -> Any:
    """Tensors and plain containers of them, from a file of `torch.save`, on the CPU.

    Raises:
        DataError: the file is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and train again") from error


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
