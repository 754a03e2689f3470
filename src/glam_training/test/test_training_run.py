"""Run folders can be resumed, and say what is wrong when they can not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from glam_core.errors import ConfigurationError, DataError
from glam_training.costs import COSTS_FILE, PhaseCost, add_cost, read_costs
from glam_training.run import Run


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 1e-4


@dataclass(frozen=True)
class Config:
    data: Path = Path("data/lift")
    cameras: tuple[str, ...] = ("front",)
    seed: int = 0
    optimizer: Optimizer = field(default_factory=Optimizer)


def test_round_trip(tmp_path):
    with Run.create(tmp_path / "run", Config(), {"target": "abc"}) as run:
        assert run.latest() is None
        run.log(1, {"loss": 2.0})
        run.log(2, {"loss": float("nan")})
        run.save({"model": {"weight": torch.ones(2)}, "name": "glam"}, step=1)
    opened = Run.open(tmp_path / "run")
    assert opened.config == {
        "data": "data/lift",
        "cameras": ["front"],
        "seed": 0,
        "optimizer": {"learning_rate": 1e-4},
    }
    assert opened.fingerprints == {"target": "abc"}
    assert {"commit", "command", "versions"} <= set(opened.record)
    state = opened.latest()
    assert state["step"] == 1
    assert state["name"] == "glam"
    assert torch.equal(state["model"]["weight"], torch.ones(2))
    assert opened.metrics() == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}]
    opened.rewind(state["step"])
    assert opened.metrics() == [{"step": 1, "loss": 2.0}]
    assert list((tmp_path / "run/tensorboard").iterdir())


def test_resume_needs_the_same_config_and_data(tmp_path):
    path = tmp_path / "run"
    Run.create_or_open(path, Config(), {"target": "abc"})
    Run.create_or_open(path, Config(), {"target": "abc"})
    with pytest.raises(ConfigurationError, match=r"optimizer.learning_rate was 0.0001, is 0.1; seed was 0, is 1"):
        Run.create_or_open(path, Config(seed=1, optimizer=Optimizer(0.1)), {"target": "abc"})
    with pytest.raises(ConfigurationError, match="target was 'abc', is 'xyz'"):
        Run.create_or_open(path, Config(), {"target": "xyz"})
    with pytest.raises(DataError, match="holds a run already"):
        Run.create(path, Config(), {})


def test_damaged_runs_say_what_to_delete(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        Run.open(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    (tmp_path / "half/metrics.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="cut short; delete it"):
        Run.open(tmp_path / "half")
    with pytest.raises(DataError, match="delete it or choose another folder"):
        Run.create(tmp_path / "half", Config(), {})
    run = Run.create(tmp_path / "run", Config(), {})
    run.save({"weight": torch.ones(1000)}, step=1)
    checkpoint = tmp_path / "run/checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(DataError, match=r"checkpoint.pt is damaged"):
        run.latest()
    (tmp_path / "run/run.json").write_text("{")
    with pytest.raises(DataError, match="start again"):
        Run.open(tmp_path / "run")


def test_a_half_written_metrics_line_is_skipped(tmp_path):
    run = Run.create(tmp_path / "run", Config(), {})
    run.log(1, {"loss": 1.0})
    run.close()
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 2, "loss": 1.0})[:-3])
    assert [line["step"] for line in run.metrics()] == [1]


def test_config_values_must_be_plain(tmp_path):
    with pytest.raises(ConfigurationError, match="not object"):
        Run.create(tmp_path / "run", {"model": object()}, {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"policy": {"steps": 3}}', '{"policy": 3}'])
def test_damaged_costs_are_named(tmp_path, text):
    cost = PhaseCost(10, 1.0, 1, 200, "cpu, 1 threads", 100.0, 5.0, 256)
    add_cost(tmp_path, "policy", cost)
    assert read_costs(tmp_path) == {"policy": cost}
    (tmp_path / COSTS_FILE).write_text(text)
    with pytest.raises(DataError, match="costs.json is damaged"):
        read_costs(tmp_path)
