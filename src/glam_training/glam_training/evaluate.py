"""`glam eval`: an exported model folder in simulation, on a fixed list of seeds.

The agent is the one that the nodes run: same scheduler, same safety filter, same image preprocessing, with the latency
of the deployed graph. `evaluate` does the same for any policy that can be made in each process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from glam_core.agent import Agent, Decode, Predict
from glam_core.errors import ConfigurationError, DataError
from glam_core.limits import SafetyLimits
from glam_core.manifest import CARD_FILE, Evaluation, Manifest, write_manifest
from glam_core.observation import Observation
from glam_core.runtime import load_model
from glam_core.spec import ActionSpec, ObsSpec
from glam_core.station import load_station
from glam_core.stats import Summary, summarize, wilson_interval
from glam_core.tool import ToolCommand, ToolState
from glam_sim.cell import Cell
from glam_sim.rollout import rollout
from glam_sim.sources import find_source
from glam_training.card import model_card
from glam_training.config import plain
from glam_training.parallel import ordered_map
from glam_training.provenance import command_line, git_commit, package_versions
from glam_training.video import Clip, write_video

VIDEO_SIZE = (240, 320)
"""Height and width of each episode in the video."""


@dataclass(frozen=True)
class EvalConfig:
    """Roll a model folder out in simulation and report n, successes and the 95 % Wilson interval."""

    model: Path
    """Model folder, such as models/lift."""
    episodes: int = 100
    """Episodes; their seeds are consecutive."""
    seed: int = 10000
    """First seed; demonstrations use seeds from 0 on, so the default starts are unseen."""
    workers: int = 2
    """Processes, each with one inference thread."""
    latency_s: float = 0.05
    """Simulated time from the capture of an observation to the arrival of its chunk."""
    source: str = ""
    """Whose cell, as in `glam demos --source`: that of the demonstrations; empty, the plain cell."""
    station: Path | None = None
    """Station file whose safety limits apply; that of the simulated cell with as many arms when unset."""
    out: Path | None = None
    """JSON file for the result; out/eval/<model>.json when unset."""
    video: Path | None = None
    """MP4 file to write."""
    video_episodes: int = 9
    """Episodes in the video."""
    write_card: bool = False
    """Write the result into the model's manifest and card."""
    baseline: Path | None = None
    """With `write_card`: JSON file of the baseline's evaluation on the same seeds, to stand beside the result."""

    def __post_init__(self) -> None:
        for name in ("episodes", "workers", "video_episodes"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.baseline is not None and not self.write_card:
            raise ConfigurationError("a baseline stands in the card; give --write-card as well")

    @property
    def result_path(self) -> Path:
        """Where the JSON goes."""
        return self.out or Path("out/eval") / f"{self.model.resolve().name}.json"


@dataclass(frozen=True)
class Policy:
    """What an agent runs: a policy, its decoder, and how to execute its chunks."""

    predict: Predict
    decode: Decode
    obs_spec: ObsSpec
    action_spec: ActionSpec
    chunk_length: int
    execute_length: int


@dataclass(frozen=True)
class Conditions:
    """Under which conditions policies are compared."""

    task: str
    embodiment: str
    latency_s: float = 0.05
    safety_limits: SafetyLimits | None = None
    source: str = ""
    """Whose cell, one of `glam_sim.sources.SOURCES`: that of the demonstrations; empty, the plain cell."""
    max_steps: int | None = None
    """Steps of 0.1 s; the task's horizon if None."""
    filmed: tuple[int, ...] = ()
    """Seeds of the episodes whose overview frames are kept."""


@dataclass(frozen=True)
class Outcome:
    """One episode.

    Attributes:
        seed: of the start.
        success: whether the task succeeded.
        steps: of 0.1 s.
        clamps: steps in which the safety filter changed a command.
        held: steps without a latent that was due.
        predict_ms: (P,) wall time of each prediction.
        decode_ms: (D,) wall time of each decoded latent.
        film: (T, H, W, 3) uint8 RGB, or None when not filmed.
    """

    seed: int
    success: bool
    steps: int
    clamps: int
    held: int
    predict_ms: tuple[float, ...]
    decode_ms: tuple[float, ...]
    film: np.ndarray | None = None


@dataclass(frozen=True)
class Result:
    """Outcomes of all episodes, in the order of the seeds."""

    outcomes: tuple[Outcome, ...]

    @property
    def n(self) -> int:
        return len(self.outcomes)

    @property
    def successes(self) -> int:
        return sum(outcome.success for outcome in self.outcomes)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson_interval(self.successes, self.n)

    @property
    def predict_ms(self) -> Summary:
        return summarize([value for outcome in self.outcomes for value in outcome.predict_ms])

    @property
    def decode_ms(self) -> Summary:
        return summarize([value for outcome in self.outcomes for value in outcome.decode_ms])

    def evaluation(self) -> Evaluation:
        """What a manifest keeps of it."""
        seeds = tuple(outcome.seed for outcome in self.outcomes)
        return Evaluation(n=self.n, successes=self.successes, interval=self.interval, seeds=seeds)

    def __str__(self) -> str:
        low, high = self.interval
        rate = self.successes / self.n
        return f"n {self.n}, successes {self.successes} ({rate:.2f}), 95 % interval [{low:.2f}, {high:.2f}]"


def evaluate(
    make_policy: Callable[[], Policy], conditions: Conditions, seeds: Sequence[int], workers: int = 1
) -> Result:
    """Roll a policy out once per seed.

    Args:
        make_policy: called once per process; picklable for several workers.
        conditions: task, embodiment, latency, limits.
        seeds: of the starts.
        workers: processes.
    """
    work = partial(_make_evaluator, make_policy, conditions)
    outcomes = []
    with tqdm(total=len(seeds), desc=f"evaluate {conditions.task}", mininterval=1.0) as progress:
        for outcome in ordered_map(work, seeds, workers):
            outcomes.append(outcome)
            progress.set_postfix(success=f"{sum(o.success for o in outcomes)}/{len(outcomes)}", refresh=False)
            progress.update()
    return Result(tuple(outcomes))


def evaluate_folder(config: EvalConfig) -> Result:
    """Evaluate a model folder as `config` says, and write what it asks for."""
    manifest = load_model(config.model).manifest
    seeds = range(config.seed, config.seed + config.episodes)
    baseline = None if config.baseline is None else _read_baseline(config.baseline, manifest.task, tuple(seeds))
    conditions = Conditions(
        task=manifest.task,
        embodiment=manifest.embodiment,
        latency_s=config.latency_s,
        source=config.source,
        safety_limits=station_limits(config.station, manifest.action_spec.arms),
        filmed=tuple(seeds[: config.video_episodes]) if config.video is not None else (),
    )
    result = evaluate(partial(policy_of_folder, config.model), conditions, seeds, config.workers)
    _write_result(config, manifest, result)
    if config.video is not None:
        clips = [
            Clip(outcome.film, f"seed {outcome.seed}", outcome.success)
            for outcome in result.outcomes
            if outcome.film is not None
        ]
        write_video(config.video, clips, frame_rate_hz=manifest.action_spec.rate_hz)
    if config.write_card:
        write_evaluation(config.model, manifest, result, baseline)
    return result


def policy_of_folder(folder: Path) -> Policy:
    """The policy of a verified model folder, with one inference thread."""
    model = load_model(folder, intra_op_threads=1)
    manifest = model.manifest
    return Policy(
        model.predict,
        model.decode,
        manifest.obs_spec,
        manifest.action_spec,
        manifest.chunk_length,
        manifest.execute_length,
    )


def write_evaluation(folder: Path, manifest: Manifest, result: Result, baseline: Evaluation | None = None) -> Manifest:
    """Write a measured result, and that of a baseline on the same seeds, into the manifest and the card of a model
    folder."""
    latency = {
        "policy_median_ms": result.predict_ms.median,
        "policy_p99_ms": result.predict_ms.p99,
        "decoder_median_ms": result.decode_ms.median,
        "decoder_p99_ms": result.decode_ms.p99,
    }
    evaluated = manifest.model_copy(
        update={"evaluation": result.evaluation(), "baseline": baseline, "latency": latency}
    )
    (folder / CARD_FILE).write_text(model_card(evaluated, folder.resolve().name))
    return write_manifest(folder, evaluated)


def station_limits(station: Path | None, arms: Sequence[str]) -> SafetyLimits:
    """The limits of a station; those of the simulated cell with as many arms where none is named."""
    path = station or Path("config/stations") / ("sim.yaml" if len(arms) == 1 else "sim_two.yaml")
    return load_station(path).limits(arms[0])


def _read_baseline(path: Path, task: str, seeds: tuple[int, ...]) -> Evaluation:
    """The evaluation in a JSON file of `glam eval`.

    Raises:
        DataError: it is none, or one of another task or other seeds.
    """
    try:
        content = json.loads(path.read_text())
        task_there, seeds_there = content["task"], tuple(episode["seed"] for episode in content["episodes"])
        measured = Evaluation(
            n=content["n"], successes=content["successes"], interval=tuple(content["interval"]), seeds=seeds_there
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no result of glam eval ({error!r}); evaluate the baseline first, with --out"
        ) from None
    if task_there != task or seeds_there != seeds:
        raise DataError(f"{path} was measured on another task or other seeds; evaluate the baseline with the same ones")
    return measured


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam eval`."""
    config = tyro.cli(EvalConfig, prog="glam eval", args=sys.argv[1:] if arguments is None else arguments)
    result = evaluate_folder(config)
    steps = [outcome.steps for outcome in result.outcomes if outcome.success]
    print(f"{config.model}: {result}")
    if steps:
        print(f"median duration of a success {0.1 * float(np.median(steps)):.1f} s")
    print(
        f"policy {result.predict_ms.median:.1f} ms (p99 {result.predict_ms.p99:.1f}), "
        f"decoder {result.decode_ms.median:.2f} ms (p99 {result.decode_ms.p99:.2f}); "
        f"steps clamped {sum(o.clamps for o in result.outcomes)}, held {sum(o.held for o in result.outcomes)}"
    )
    print(f"written: {', '.join(str(path) for path in (config.result_path, config.video) if path is not None)}")


class _PolicyController:
    """A policy in its agent as a rollout's controller; counts clamps and held steps, measures wall times, films."""

    def __init__(self, policy: Policy, conditions: Conditions) -> None:
        self.obs_spec = policy.obs_spec
        self.predict_ms: list[float] = []
        self.decode_ms: list[float] = []
        self.film: list[np.ndarray] = []
        self.clamped = self.held = 0
        self._filmed_seeds = conditions.filmed
        self._agent = Agent(
            _timed(policy.predict, self.predict_ms),
            _timed(policy.decode, self.decode_ms),
            policy.action_spec,
            policy.chunk_length,
            policy.execute_length,
            latency_s=conditions.latency_s,
            safety_limits=conditions.safety_limits,
        )

    def reset(self, cell: Cell, seed: int) -> None:
        """Begin an episode."""
        self._agent.reset()
        self._filmed_cell = cell if seed in self._filmed_seeds else None
        self.predict_ms.clear()
        self.decode_ms.clear()
        self.film.clear()
        self.clamped = self.held = 0

    def act(self, observation: Observation, tools: Mapping[str, ToolState], now: float) -> dict[str, ToolCommand]:
        """Decide the next command."""
        if self._filmed_cell is not None:
            self.film.append(self._filmed_cell.render("overview", *VIDEO_SIZE))
        step = self._agent.act(observation, tools, now)
        self.clamped += bool(step.clamps)
        self.held += step.held
        return step.commands


def _timed(function: Callable, durations_ms: list[float]) -> Callable:
    """`function`, with the wall time of each call appended to `durations_ms`."""

    def timed(*arguments: object) -> object:
        start = time.perf_counter()
        result = function(*arguments)
        durations_ms.append(1e3 * (time.perf_counter() - start))
        return result

    return timed


def _make_evaluator(make_policy: Callable[[], Policy], conditions: Conditions) -> Callable[[int], Outcome]:
    """A function from a seed to an outcome, with a policy and a cell of its own."""
    policy = make_policy()
    controller = _PolicyController(policy, conditions)
    sizes = [(image.height, image.width) for image in policy.obs_spec.images]
    source = find_source(conditions.source) if conditions.source else None
    size = {"image_size": max(sizes)} if sizes else {}
    cell = Cell(conditions.task, conditions.embodiment, source=source, **size)

    def run_episode(seed: int) -> Outcome:
        episode = rollout(cell, controller, seed, conditions.max_steps)
        return Outcome(
            seed=seed,
            success=episode.success,
            steps=episode.steps,
            clamps=controller.clamped,
            held=controller.held,
            predict_ms=tuple(controller.predict_ms),
            decode_ms=tuple(controller.decode_ms),
            film=np.stack(controller.film) if controller.film else None,
        )

    return run_episode


def _write_result(config: EvalConfig, manifest: Manifest, result: Result) -> None:
    episodes = [
        {"seed": o.seed, "success": o.success, "steps": o.steps, "clamped_steps": o.clamps, "held_steps": o.held}
        for o in result.outcomes
    ]
    low, high = result.interval
    record = {
        "task": manifest.task,
        "embodiment": manifest.embodiment,
        "method": manifest.method,
        "n": result.n,
        "successes": result.successes,
        "interval": [low, high],
        "predict_ms": asdict(result.predict_ms),
        "decode_ms": asdict(result.decode_ms),
        "config": plain(config),
        "manifest_digest": manifest.digest,
        "command": command_line(),
        "commit": git_commit(),
        "versions": package_versions("mujoco", "onnxruntime", "numpy"),
        "episodes": episodes,
    }
    path = config.result_path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(path.name + ".partial")
    partial_path.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(partial_path, path)
