"""`glam bench`: `matrix` runs every method on every task, `report` shows what was measured, `loop` runs the whole loop
in miniature, `sim` measures the simulation's speed and the experts.

The loop: demonstrations, stage 1, relabelling, stage 2, export, evaluation of the exported folder; and the MIP baseline
on the same target demonstrations with the same head and budget. Observations are the scene vector (the fast lane).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from glam_core.errors import ConfigurationError, GlamError, closest
from glam_core.manifest import MANIFEST_FILE, read_manifest
from glam_core.stats import wilson_interval
from glam_sim import bench as simulation
from glam_training.config import plain
from glam_training.demos import DemosConfig, record_demos
from glam_training.evaluate import EvalConfig, evaluate_folder
from glam_training.export import ExportConfig, export
from glam_training.fit import OptimConfig
from glam_training.matrix.report import ReportConfig, write_report
from glam_training.matrix.runner import MatrixConfig, run_matrix
from glam_training.matrix.work import Methods
from glam_training.methods import policy, train_many
from glam_training.models.mip import MipConfig
from glam_training.provenance import command_line, git_commit, package_versions
from glam_training.relabel import relabel
from glam_training.stage1 import GlamTrainConfig, train_glam
from glam_training.stage2 import PolicyTrainConfig, train_mip, train_policy


@dataclass(frozen=True)
class LoopConfig:
    """Run the loop in miniature; run it again with the same folder to resume it."""

    out: Path = Path("runs/bench_loop")
    """Folder of everything that the loop makes."""
    task: str = "stack_two"
    """Task."""
    target_episodes: int = 20
    """Demonstrations of the arm, with actions."""
    auxiliary_episodes: int = 400
    """Demonstrations of the hand-held gripper, without actions."""
    rollouts: int = 100
    """Evaluation episodes per method."""
    eval_seed: int = 20000
    """First seed of the evaluation."""
    stage_1_steps: int = 4000
    """Gradient steps of stage 1."""
    decoder_steps: int = 1500
    """Gradient steps of its last phase."""
    policy_steps: int = 6000
    """Gradient steps of stage 2 and of the baseline."""
    policy_width: int = 256
    """Hidden size of both heads: states need less than images."""
    workers: int = 2
    """Processes that simulate."""
    seed: int = 0
    """Seed of the demonstrations and of training."""
    station: Path = Path("config/stations/sim.yaml")
    """Station file whose safety limits apply in the evaluation."""


def run_loop(config: LoopConfig) -> dict[str, Any]:
    """Run, or resume, the loop. Returns the report, which is also written to <out>/report.json."""
    out = config.out
    seconds = _Stopwatch(out / "seconds.json")
    target, auxiliary = out / "data" / "gen3", out / "data" / "umi"
    for store, embodiment, episodes in (
        (target, "gen3", config.target_episodes),
        (auxiliary, "umi", config.auxiliary_episodes),
    ):
        demos = DemosConfig(
            store,
            task=config.task,
            embodiment=embodiment,
            episodes=episodes,
            workers=config.workers,
            seed=config.seed,
        )
        seconds.measure(f"demos {embodiment}", lambda demos=demos: record_demos(demos))

    glam = out / "runs" / "glam"
    stage_1 = GlamTrainConfig(
        target=target,
        auxiliary=(auxiliary,),
        out=glam,
        observations="scene",
        optim=OptimConfig(steps=config.stage_1_steps),
        refit=OptimConfig(steps=config.decoder_steps),
        seed=config.seed,
    )
    seconds.measure("stage 1", lambda: train_glam(stage_1))
    seconds.measure("relabel", lambda: relabel(glam))

    methods = {}
    for name, train in (("glam", train_policy), ("mip", train_mip)):
        run = out / "runs" / f"{name}_policy"
        default = PolicyTrainConfig(glam=glam, out=run).optim
        optim = OptimConfig(**{**plain(default), "steps": config.policy_steps})
        mip = MipConfig(width=config.policy_width)
        stage_2 = PolicyTrainConfig(glam=glam, out=run, mip=mip, optim=optim, seed=config.seed)
        seconds.measure(f"policy {name}", lambda train=train, stage_2=stage_2: train(stage_2))
        model = out / "models" / name
        if not (model / MANIFEST_FILE).exists():
            seconds.measure(f"export {name}", lambda run=run, model=model: export(ExportConfig(run, model)))
        evaluation = EvalConfig(
            model,
            episodes=config.rollouts,
            seed=config.eval_seed,
            workers=config.workers,
            station=config.station,
            out=out / "eval" / f"{name}.json",
        )
        methods[name] = _evaluation(evaluation, seconds)

    report = {
        "config": plain(config),
        "methods": methods,
        "seconds": seconds.values,
        "command": command_line(),
        "commit": git_commit(),
        "versions": package_versions("mujoco", "torch", "onnxruntime", "numpy"),
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def loop_table(report: dict[str, Any]) -> str:
    """The report as a Markdown table with its times and versions."""
    config, rows = report["config"], []
    labels = {
        "glam": f"GLAM, {config['target_episodes']} target + {config['auxiliary_episodes']} auxiliary",
        "mip": f"MIP, the same {config['target_episodes']} target",
    }
    for name, result in report["methods"].items():
        low, high = result["interval"]
        rate = result["successes"] / result["n"]
        rows.append(f"| {labels[name]} | {rate:.2f} | [{low:.2f}, {high:.2f}] | {result['n']} |")
    seconds = report["seconds"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return "\n".join(
        [
            f"| {config['task']}, scene observations | success | 95 % interval | n |",
            "|---|---|---|---|",
            *rows,
            "",
            f"{sum(seconds.values()) / 60:.1f} minutes: " + ", ".join(f"{k} {v:.0f} s" for k, v in seconds.items()),
            f"{versions}; commit {report['commit']}",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam bench`."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    benches = {"matrix": _matrix, "report": _report, "loop": _loop, "sim": _sim}
    if name not in benches:
        raise ConfigurationError(closest(name, benches, "benchmark"))
    benches[name](rest)


def _matrix(arguments: list[str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    config = tyro.cli(MatrixConfig, prog="glam bench matrix", args=arguments)
    summary = run_matrix(config, Methods(train_many, policy))
    print(summary)
    if summary.failed:
        raise GlamError(f"{len(summary.failed)} cells could not be measured; the reasons stand above")


def _report(arguments: list[str]) -> None:
    config = tyro.cli(ReportConfig, prog="glam bench report", args=arguments)
    for path in write_report(config):
        print(f"written: {path}")


def _loop(arguments: list[str]) -> None:
    print(loop_table(run_loop(tyro.cli(LoopConfig, prog="glam bench loop", args=arguments))))


def _sim(arguments: list[str]) -> None:
    simulation.run(tyro.cli(simulation.BenchConfig, prog="glam bench sim", args=arguments))


def _evaluation(config: EvalConfig, seconds: _Stopwatch) -> dict[str, Any]:
    """Evaluate a model folder unless the same evaluation of the same folder stands there already."""
    path = config.result_path
    wanted = {"config": plain(config), "manifest_digest": read_manifest(config.model).digest}
    result = json.loads(path.read_text()) if path.exists() else {}
    if any(result.get(name) != value for name, value in wanted.items()):
        seconds.measure(f"eval {config.model.name}", lambda: evaluate_folder(config))
        result = json.loads(path.read_text())
    n, successes = result["n"], result["successes"]
    return {"n": n, "successes": successes, "interval": list(wilson_interval(successes, n))}


class _Stopwatch:
    """Seconds that each stage took over all attempts, kept in a file: a resumed loop reports its whole time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.values: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def measure(self, stage: str, work: Callable[[], object]) -> None:
        """Do the work and add its time, whether it ends well or not."""
        start = time.perf_counter()
        try:
            work()
        finally:
            self.values[stage] = self.values.get(stage, 0.0) + time.perf_counter() - start
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self.values, indent=2) + "\n")
