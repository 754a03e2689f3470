"""The loop in miniature runs in one command, and a second call does nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glam_core.errors import ConfigurationError
from glam_core.runtime import load_model
from glam_training import bench
from glam_training.bench import LoopConfig, loop_table, main, run_loop

STATION = Path(__file__).parents[3] / "config/stations/sim.yaml"


@pytest.mark.sim
def test_loop_and_resume(tmp_path, monkeypatch):
    config = LoopConfig(
        out=tmp_path,
        task="lift",
        target_episodes=2,
        auxiliary_episodes=2,
        rollouts=1,
        stage_1_steps=3,
        decoder_steps=2,
        policy_steps=3,
        workers=1,
        station=STATION,
    )
    report = run_loop(config)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert load_model(tmp_path / "models/glam").manifest.kind == "latent_policy"
    assert load_model(tmp_path / "models/mip").manifest.kind == "direct_policy"
    table = loop_table(report)
    assert "GLAM, 2 target + 2 auxiliary" in table
    assert "mujoco 4" in table

    def refuse(*arguments):
        raise AssertionError("done already")

    monkeypatch.setattr(bench, "export", refuse)
    monkeypatch.setattr(bench, "evaluate_folder", refuse)
    assert run_loop(config)["methods"] == report["methods"]


def test_unknown_benchmark():
    with pytest.raises(ConfigurationError, match="did you mean 'loop'"):
        main(["lop"])
