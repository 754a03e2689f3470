"""Training and loading of every method of the bench.

    out = train(experiment, stores, Path("runs/a"))          # resumes; returns at once when the run is finished
    outs = train_many([Job(experiment, stores, out), ...])   # the same; on a GPU they train together
    result = evaluate(partial(policy, out), conditions, seeds)

All methods share features, policy head, batches and budget; they differ in where the policy's targets come from.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glam_core.errors import DataError
from glam_core.observation import Observation
from glam_core.spec import ActionSpec, ObsSpec
from glam_training.config import plain
from glam_training.contract import Contract
from glam_training.data.sampler import LEAST_TARGET_SHARE, target_share
from glam_training.evaluate import Policy
from glam_training.experiment import LATENT_METHODS, Budget, Experiment, Job, Stores, read_switches
from glam_training.fit import OptimConfig
from glam_training.group_fit import PHASES, Course, take_courses
from glam_training.group_training import Fit, Group
from glam_training.models.blocks import ActionScale
from glam_training.models.canonical import CanonicalLatents
from glam_training.models.keypoints import AGREEMENT_WEIGHT
from glam_training.models.latent import LatentModel
from glam_training.models.mip import Mip, MipConfig
from glam_training.models.objectives import PolicyObjective
from glam_training.models.perception import PerceptionConfig, make_features
from glam_training.models.policy import ActionDecoderModule, PolicyModule
from glam_training.models.rivals.bc_mse import Regression
from glam_training.perceive import Perceived, perceive
from glam_training.pool import Pool, make_pool, make_rows
from glam_training.run import Run, load_weights, read_tensors
from glam_training.targets import Targets, make_model, make_targets, stage_1_shape

MODEL_FILE = "model.pt"
GPU_GROUP = 16
"""Most runs of one shape in a group on a GPU, where groups train side by side; on a CPU runs train one after the
other."""


def train(experiment: Experiment, stores: Stores, out: Path) -> Path:
    """Train, or resume, one run. Returns the run folder, which then holds everything that `policy` needs.

    Raises:
        ConfigurationError: stores that do not fit the experiment or each other, or another experiment's run in `out`.
        DataError: too few demonstrations, unusable values, or a damaged run; says what to do.
    """
    (path,) = train_many([Job(experiment, stores, out)])
    return path


def train_many(jobs: Sequence[Job], device: torch.device | None = None, group_size: int | None = None) -> list[Path]:
    """Train, or resume, many runs; finished ones are left alone.

    Args:
        jobs: what to train; the order is kept where runs cannot train together.
        device: where; a GPU if there is one.
        group_size: most runs of one shape that are stacked; 16 on a GPU, 1 on a CPU.

    Returns:
        The run folders, in the order of the jobs.

    Raises:
        See `train`.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    size = group_size or (GPU_GROUP if device.type == "cuda" else 1)
    pending = [job for job in jobs if not is_finished(job.out, job.experiment)]
    groups = list(_groups(pending, size))
    if device.type == "cuda":
        take_courses([_course(group, device) for group in groups])
    else:
        for group in groups:
            take_courses([_course(group, device)])
    return [job.out for job in jobs]


def is_finished(out: Path, experiment: Experiment | None = None) -> bool:
    """Whether a finished run stands in `out`.

    Raises:
        ConfigurationError: a run of another experiment stands there.
    """
    if experiment is not None and (out / "run.json").exists():
        run = Run.open(out)
        Run.create_or_open(out, _config(experiment), run.fingerprints)
    return (out / MODEL_FILE).exists()


@dataclass(frozen=True)
class Trained:
    """A finished run, on the CPU.

    Attributes:
        experiment: what it is.
        contract: what its policy expects and produces.
        policy: observations to a chunk.
        decoder: a latent to an action; None for a direct policy.
        model: the latent action model (or labeller), for probes; None where the method has none.
        columns: components of an observation that the model sees, (M',) int64; None for all.
        record: run.json.
    """

    experiment: Experiment
    contract: Contract
    policy: PolicyModule
    decoder: ActionDecoderModule | None
    model: LatentModel | None
    columns: Tensor | None
    record: dict[str, Any]

    @property
    def step(self) -> int:
        """k, observation steps that one latent spans."""
        return self.experiment.switches.step

    @property
    def steady(self) -> bool:
        """Whether stage 1 saw steadied moments; runs from before there was a choice do not say, and did not."""
        return self.record["config"].get("steady", False)

    def see(self, moments: Tensor) -> Tensor:
        """The part of observations (B, M) that the model sees."""
        return moments if self.columns is None else moments[:, self.columns]


def load(out: Path) -> Trained:
    """Load a finished run.

    Raises:
        DataError: no run, or an unfinished one.
    """
    run = Run.open(out)
    if not (out / MODEL_FILE).exists():
        raise DataError(f"{out} is not finished ({MODEL_FILE} is missing); call train again to resume it")
    config = dict(run.config["experiment"])
    config["switches"] = read_switches(config["switches"])
    experiment = Experiment(**config)
    contract = Contract.read(out)
    state = read_tensors(out / MODEL_FILE)
    perception = contract.make_perception(PerceptionConfig(**run.config["perception"]))
    columns = state["columns"]
    model = make_model(experiment, contract, perception.moment_floor, _seen(columns, perception.moment_size))
    if model is not None:
        load_weights(model, state["model"], out)
        model.eval()
    latent = experiment.method in LATENT_METHODS
    size = experiment.switches.latent_size if latent else contract.action_size
    output: ActionScale | CanonicalLatents | None = None if latent else ActionScale(size)
    if run.config.get("canonical", False):
        actions = contract.action_size * experiment.switches.step
        size, output = actions, CanonicalLatents(size, actions)
    # As the run was trained: runs from before there was a choice do not say, and have none.
    features = make_features(perception, run.config["sizes"].get("relations", False))
    module = PolicyModule(perception, features, _make_head(experiment, features.size, size), output)
    load_weights(module, state["policy"], out)
    decoder = ActionDecoderModule(model).eval() if latent else None
    return Trained(experiment, contract, module.eval(), decoder, model, columns, run.record)


def policy(out: Path) -> Policy:
    """The policy of a finished run, for `evaluate`; use `functools.partial(policy, out)` with several workers."""
    trained = load(out)
    obs_spec = ObsSpec.model_validate(trained.contract.obs_spec)
    execute = trained.experiment.sizes.execute_length
    length = trained.experiment.sizes.chunk_length

    @torch.inference_mode()
    def predict(observation: Observation) -> np.ndarray:
        streams = [observation.images[image.name] for image in obs_spec.images]
        streams += [observation.vectors[vector.name] for vector in obs_spec.vectors]
        return trained.policy(*(torch.from_numpy(stream)[None] for stream in streams))[0].numpy()

    @torch.inference_mode()
    def decode(latent: np.ndarray, state: np.ndarray) -> np.ndarray:
        if trained.decoder is None:
            return latent
        return trained.decoder(torch.from_numpy(latent)[None], torch.from_numpy(state)[None])[0].numpy()

    spec = ActionSpec.model_validate(trained.contract.action_spec)
    if trained.step > 1 and trained.decoder is not None:
        wide = _SpreadLatents(predict, decode, trained.step)
        executed = -(-execute // trained.step) * trained.step
        return Policy(wide.predict, wide.decode, obs_spec, spec, length * trained.step, executed)
    return Policy(predict, decode, obs_spec, spec, length, execute)


class _SpreadLatents:
    """Latents that span k steps, as chunks of one row per step: each latent k times, with the step's number behind it.

    A latent's actions are decoded with the state at its beginning, as in training.
    """

    def __init__(self, predict: Any, decode: Any, k: int) -> None:
        self._predict, self._decode, self._k = predict, decode, k
        self._state: np.ndarray | None = None

    def predict(self, observation: Observation) -> np.ndarray:
        """(H k, d + 1)."""
        chunk = np.repeat(self._predict(observation), self._k, axis=0)
        number = np.tile(np.arange(self._k, dtype=np.float32), len(chunk) // self._k)
        return np.concatenate([chunk, number[:, None]], axis=1)

    def decode(self, latent: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The action of the step."""
        number = round(float(latent[-1]))
        if number == 0 or self._state is None:
            self._state = state
        return self._decode(latent[:-1], self._state).reshape(self._k, -1)[number]


def _groups(jobs: Sequence[Job], size: int) -> Iterable[list[Job]]:
    """Jobs that can train together, in groups of at most `size`."""
    buckets: dict[Any, list[Job]] = {}
    for job in jobs:
        e = job.experiment
        shape = (e.task, e.suite, e.on_slots, e.action_space, e.budget, stage_1_shape(e), e.method == "bc_mse")
        key = (job.stores, *shape, _standing(job.out))
        buckets.setdefault(key, []).append(job)
    for bucket in buckets.values():
        for start in range(0, len(bucket), size):
            yield bucket[start : start + size]


def _standing(out: Path) -> tuple[int, ...]:
    """Steps of each phase that a run has done: only runs that stand alike can go on as one group."""
    if not (out / "run.json").exists():
        return (0,) * len(PHASES)
    states = (Run.open(out).latest(phase) for phase in PHASES)
    return tuple(0 if state is None else int(state["step"]) for state in states)


def _course(jobs: Sequence[Job], device: torch.device) -> Course:
    """Train runs of one shape."""
    experiments, stores = [job.experiment for job in jobs], jobs[0].stores
    views = [perceive(experiment, stores, device) for experiment in experiments]
    runs = [Run.create_or_open(j.out, _config(j.experiment), v.fingerprints) for j, v in zip(jobs, views, strict=True)]
    group = Group(runs, [e.seed for e in experiments], device)
    pool = make_pool([source for view in views for source in view.sources], device)
    targets = yield from make_targets(experiments, views, pool, group)
    policies = yield from _train_policies(experiments, views, pool, targets, group)
    for i, run in enumerate(runs):
        model = targets.models[i]
        state = {
            "policy": policies[i].cpu().state_dict(),
            "model": None if model is None else model.cpu().state_dict(),
            "columns": None if targets.columns[i] is None else targets.columns[i].cpu(),
        }
        views[i].contract.write(run.path)
        views[i].write_samples(run.path)
        partial = run.path / f"{MODEL_FILE}.partial"
        torch.save(state, partial)
        partial.replace(run.path / MODEL_FILE)
        run.close()


def _train_policies(
    experiments: Sequence[Experiment], views: Sequence[Perceived], pool: Pool, targets: Targets, group: Group
) -> Generator[Fit, None, list[PolicyModule]]:
    """Stage 2: chunks of each run's targets from observations."""
    sizes = experiments[0].sizes
    k = targets.step
    policies = []
    for i, (experiment, view) in enumerate(zip(experiments, views, strict=True)):
        torch.manual_seed(experiment.seed)
        perception = view.perception
        features = make_features(perception, experiment.sizes.relations)
        features.standardize.minimum_std = perception.moment_floor
        features.standardize.fit(pool.moments[torch.cat(targets.policy_rows[i])].cpu())
        head = _make_head(experiment, features.size, targets.labels.shape[-1])
        policies.append(PolicyModule(perception, features, head, targets.outputs[i]))
    sides = [make_rows(rows) for rows in zip(*targets.policy_rows, strict=True)]
    counts = [[len(rows) for rows in run] for run in targets.policy_rows]
    shares = torch.tensor([[target_share(run[0], sum(run[1:]))] for run in counts], device=pool.device)
    offset = torch.arange(len(experiments), device=pool.device)[:, None, None] * len(pool.end)
    steps = k * torch.arange(sizes.chunk_length, device=pool.device)
    labels = targets.labels.flatten(0, 1)
    size = 2 * sizes.batch_size

    def draw() -> tuple[Tensor, ...]:
        now, span = sides[0].draw(size), targets.spans[0]
        if len(sides) > 1:
            of_target = torch.rand(now.shape, device=pool.device) < shares
            now = torch.where(of_target, now, sides[1].draw(size))
            span = torch.where(of_target, span, targets.spans[1])[..., None]
        last = pool.end[now][..., None] - 1 - span
        wanted = now[..., None] + steps
        chunk = labels[torch.minimum(wanted, last) + offset]
        return pool.moments[now], pool.glimpses[now], chunk, (wanted <= last).float()

    objectives = [PolicyObjective(p.features, p.mip) for p in policies]
    optim = OptimConfig(steps=sizes.policy_steps, learning_rate=5e-4, weight_decay=1e-4)
    yield Fit(objectives, draw, optim, group, "policy", bfloat16=True)
    return policies


def _make_head(experiment: Experiment, features: int, size: int) -> Mip:
    b: Budget = experiment.sizes
    config = MipConfig(b.chunk_length, b.execute_length, b.width, b.policy_depth)
    return (Regression if experiment.method == "bc_mse" else Mip)(features, size, config)


def _config(experiment: Experiment) -> dict[str, Any]:
    sizes = plain(experiment.sizes)
    if not experiment.on_slots:
        del sizes["slots_version"]  # their runs are what they were before there were versions
    return {
        "experiment": plain(experiment),
        "sizes": sizes,
        "perception": plain(PerceptionConfig()),
        "least_target_share": LEAST_TARGET_SHARE,
        "steady": experiment.on_slots,
        "seed": experiment.seed,
        **({"canonical": True} if _learns_canonical(experiment) else {}),
        **({"agreement": AGREEMENT_WEIGHT} if experiment.on_keypoints else {}),
    }


def _learns_canonical(experiment: Experiment) -> bool:
    """Whether policies learn what the decoder reads of latents (`has_canonical`)."""
    return experiment.switches.affine and experiment.action_space == "tool"


def _seen(columns: Tensor | None, moment_size: int) -> int:
    return moment_size if columns is None else len(columns)
