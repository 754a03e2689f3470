"""Trains several runs together, fast: one flat parameter vector per run, one CUDA graph per step.

The runs of a bench are small: a step of one of them leaves a GPU idle. Runs whose modules have the same shapes (other
seeds, other data, other loss weights) are therefore stacked and mapped over with `torch.func.vmap`: a group. Groups of
different shapes (other methods, other tasks) become parallel branches of one graph. Nothing flows between runs. All
data live on the device and batches are drawn there, so a step needs nothing from the host. On a GPU the whole step
(draw, loss, gradient, AdamW, average, of all groups) is captured once and replayed. On a CPU groups train one after the
other, and a group of one is an ordinary loop.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm import tqdm

from glam_core.errors import DataError, GlamError
from glam_training.fit import OptimConfig
from glam_training.run import Run

_LOGGER = logging.getLogger(__name__)

BLOCK = 100
"""Steps between two looks at the losses. Randomness is seeded anew for each block, and checkpoints lie between blocks:
runs that are resumed in the same company repeat uninterrupted ones."""
CHECKPOINT_S = 60.0
LOG_BLOCKS = 5
COSTS_FILE = "costs.json"
"""Seconds, steps, memory and speed of each phase, in the run folder."""
SPEED_STEPS = 20
"""Steps on which the speed is measured when a phase is done."""

Draw = Callable[[], Any]
"""Makes one batch: tensors (R, B, ...) in tuples, or None; on the device, with the default generators."""


@dataclass(frozen=True)
class Group:
    """Runs that are trained together.

    Attributes:
        runs: R run folders.
        seeds: R seeds.
        device: where they are trained.
    """

    runs: Sequence[Run]
    seeds: Sequence[int]
    device: torch.device


@dataclass(frozen=True)
class Fit:
    """One optimisation of a group: minimise `objective(batch, progress) -> (loss, terms)` of every run.

    Attributes:
        objectives: R modules of equal shapes on `group.device`; buffers may differ. `progress` is a scalar tensor that
            rises from 0 to 1. In the end they hold averaged weights.
        draw: makes one batch for all runs.
        config: budget and optimiser; the batch size is `draw`'s business.
        group: the runs.
        phase: name of this optimisation inside the run folders. A finished phase is loaded, not trained again.
    """

    objectives: Sequence[nn.Module]
    draw: Draw
    config: OptimConfig
    group: Group
    phase: str


Course = Generator[Fit, None, None]
"""The training of a group, which yields what has to be fitted and goes on when that is done."""
PHASES = ("stage_1", "decoder", "policy")
"""Phases of a course, in order."""


def fit_group(objectives: Sequence[nn.Module], draw: Draw, config: OptimConfig, group: Group, phase: str) -> None:
    """Do one `Fit`.

    Raises:
        See `fit_together`.
    """
    fit_together([Fit(objectives, draw, config, group, phase)])


def take_courses(courses: Sequence[Course]) -> None:
    """Follow courses to their ends; what several of them want at the same time is fitted together. A course that fails
    between its fits, at bad data for instance, holds up no other.

    Raises:
        GlamError: the first course's that failed, when all others are done.
        DataError: see `fit_together`; at once.
    """
    failures: list[GlamError] = []

    def advance(some: Sequence[Course]) -> list[tuple[Course, Fit]]:
        wanted = []
        for course in some:
            try:
                fit = next(course, None)
            except GlamError as error:
                failures.append(error)
            else:
                wanted += [] if fit is None else [(course, fit)]
        return wanted

    waiting = advance(courses)
    while waiting:
        phase = min((fit.phase for _, fit in waiting), key=PHASES.index)
        fit_together([fit for _, fit in waiting if fit.phase == phase])
        others = [(course, fit) for course, fit in waiting if fit.phase != phase]
        waiting = others + advance([course for course, fit in waiting if fit.phase == phase])
    if failures:
        raise failures[0]


def fit_together(fits: Sequence[Fit]) -> None:
    """Do several fits of one phase; on a GPU those with as many steps before them at once.

    Raises:
        DataError: a loss became non-finite, or the runs of a group stopped at different steps.
    """
    alike: dict[tuple[object, ...], list[_Training]] = {}
    for i, fit in enumerate(fits):
        training = _Training(fit)
        apart = i if fit.group.device.type == "cpu" else -1
        alike.setdefault((training.done, fit.config.steps, apart), []).append(training)
    for trainings in alike.values():
        _run(trainings)


def _run(trainings: Sequence[_Training]) -> None:
    """Train groups that stand at the same step to their end."""
    start = time.perf_counter()
    steps, begun = trainings[0].fit.config.steps, trainings[0].done
    blocks = range(begun, steps, BLOCK)
    if not blocks:
        for training in trainings:
            training.finish()
        return
    step = _Step(trainings)
    together = sum(len(training.fit.group.runs) for training in trainings)
    last_save = time.monotonic()
    name = f"{trainings[0].fit.phase} x{together}"
    for first in tqdm(blocks, desc=name, mininterval=5.0, disable=len(blocks) < 10):
        done = step.block(first, min(BLOCK, steps - first))
        for training in trainings:
            training.log()
        if done == steps or time.monotonic() - last_save > CHECKPOINT_S:
            for training in trainings:
                training.save()
            last_save = time.monotonic()
    for training in trainings:
        training.finish()
    seconds = time.perf_counter() - start
    speed = step.speed()
    for training in trainings:
        _write_costs(training.fit, steps - begun, seconds, together, speed)


def _milliseconds(work: Callable[[], object]) -> float:
    """Mean time of a piece of work, after a first time that is not counted."""
    work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(SPEED_STEPS):
        work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / SPEED_STEPS


def _write_costs(fit: Fit, steps: int, seconds: float, together: int, speed: dict[str, float]) -> None:
    """Add what a phase took to each run's costs.json; seconds are shared by all runs that were trained together."""
    group, phase = fit.group, fit.phase
    if group.device.type == "cuda":
        device, memory = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
    else:
        device = f"cpu, {torch.get_num_threads()} threads"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for run in group.runs:
        path = run.path / COSTS_FILE
        costs = json.loads(path.read_text()) if path.exists() else {}
        before = costs.get(phase, {"steps": 0, "seconds": 0.0})
        costs[phase] = {
            "steps": before["steps"] + steps,
            "seconds": before["seconds"] + seconds,
            "trained_together": together,
            "peak_memory_mib": round(memory),
            "device": device,
            **speed,
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(costs, indent=2) + "\n")
        partial.replace(path)


class _Training:
    """State of a group's optimisation: parameters (R, P) of all runs, their average, the optimiser."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        objectives, device, config = fit.objectives, fit.group.device, fit.config
        names, parameters = zip(*objectives[0].named_parameters(), strict=True)
        self._names, self._shapes = names, [p.shape for p in parameters]
        self._sizes = [p.numel() for p in parameters]
        self._theta = torch.stack([_flat(o) for o in objectives]).to(device).requires_grad_()
        self._average = self._theta.detach().clone()
        self._buffers = {
            name: torch.stack([dict(o.named_buffers())[name] for o in objectives]).to(device)
            for name, _ in objectives[0].named_buffers()
        }
        self._step = torch.zeros((), device=device)
        self._rate = torch.tensor(config.learning_rate, device=device)
        capturable = device.type == "cuda"
        self._optimizer = torch.optim.AdamW(
            [self._theta], lr=self._rate, weight_decay=config.weight_decay, capturable=capturable, fused=True
        )
        self._terms: dict[str, Tensor] = {}
        self.done = self._load()
        self._step.fill_(self.done)
        for objective in objectives:
            objective.train()

    def log(self) -> None:
        """Look at the losses of the last step, and write them down now and then.

        Raises:
            DataError: one is not finite.
        """
        group, phase = self.fit.group, self.fit.phase
        terms = {name: values.cpu() for name, values in self._terms.items()}
        _require_finite(terms, group, phase, self.done)
        if self.done == self.fit.config.steps or (self.done // BLOCK) % LOG_BLOCKS == 0:
            for i, run in enumerate(group.runs):
                run.log(self.done, {f"{phase}/{name}": float(values[i]) for name, values in terms.items()})

    def save(self) -> None:
        """Write each run's checkpoint."""
        state = self._optimizer.state[self._theta]
        for i, run in enumerate(self.fit.group.runs):
            content = {"theta": self._theta.detach()[i], "average": self._average[i]}
            content |= {f"buffers.{name}": value[i] for name, value in self._buffers.items()}
            if self.done < self.fit.config.steps:  # a finished phase needs no moments
                content |= {name: state[name][i] for name in ("exp_avg", "exp_avg_sq")}
            run.save({name: value.cpu().clone() for name, value in content.items()}, self.done, self.fit.phase)

    def finish(self) -> None:
        """Put the averaged weights, and the buffers, into the objectives."""
        for i, objective in enumerate(self.fit.objectives):
            with torch.no_grad():
                for parameter, part in zip(objective.parameters(), self._split(self._average[i]), strict=True):
                    parameter.copy_(part)
                for name, buffer in objective.named_buffers():
                    buffer.copy_(self._buffers[name][i])
            objective.eval()

    def keep(self) -> Callable[[], None]:
        """What puts everything that a step changes back to what it is now."""
        changed = (self._theta, self._average, self._step, *self._buffers.values())
        kept = [tensor.detach().clone() for tensor in changed]
        moments = {name: value.clone() for name, value in self._optimizer.state.get(self._theta, {}).items()}

        def put_back() -> None:
            with torch.no_grad():
                for tensor, value in zip(changed, kept, strict=True):
                    tensor.copy_(value)
                for name, value in self._optimizer.state[self._theta].items():
                    value.copy_(moments[name]) if name in moments else value.zero_()

        return put_back

    def step(self) -> None:
        """Do one step."""
        config = self.fit.config
        loss, terms = self._losses(self._theta, self.fit.draw(), self._step / config.steps)
        (gradient,) = torch.autograd.grad(loss.sum(), self._theta)
        norm = gradient.norm(dim=1, keepdim=True)
        self._theta.grad = gradient * (config.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        self._rate.copy_(config.learning_rate * _schedule(self._step, config))
        self._optimizer.step()
        self._step.add_(1.0)
        # The average of the first steps is over few of them, or the initial weights would linger in it.
        keep = ((1.0 + self._step) / (10.0 + self._step)).clamp(max=config.ema_decay)
        self._average.lerp_(self._theta.detach(), 1.0 - keep)
        terms = {name: value.detach() for name, value in terms.items()}
        terms["gradient_norm"] = norm[:, 0]
        if self._terms:
            for name, value in terms.items():
                self._terms[name].copy_(value)
        else:
            self._terms = {name: value.clone() for name, value in terms.items()}

    def _losses(self, theta: Tensor, batch: Any, progress: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses (R,) and terms (R,) of all runs."""
        if len(theta) == 1:
            buffers = {name: value[0] for name, value in self._buffers.items()}
            loss, terms = self._loss(theta[0], buffers, _first(batch), progress)
            return loss[None], {name: value[None] for name, value in terms.items()}
        mapped = vmap(self._loss, in_dims=(0, 0, 0, None), randomness="different")
        return mapped(theta, self._buffers, batch, progress)

    def _loss(
        self, theta: Tensor, buffers: dict[str, Tensor], batch: Any, progress: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parameters = dict(zip(self._names, self._split(theta), strict=True))
        return functional_call(self.fit.objectives[0], {**parameters, **buffers}, (batch, progress))

    def _split(self, theta: Tensor) -> list[Tensor]:
        return [part.view(shape) for part, shape in zip(theta.split(self._sizes), self._shapes, strict=True)]

    def _load(self) -> int:
        """Load the runs' checkpoints of this phase, if there are any: the step at which they stand."""
        states = [run.latest(self.fit.phase) for run in self.fit.group.runs]
        steps = {0 if state is None else int(state["step"]) for state in states}
        if len(steps) > 1:
            folders = ", ".join(str(run.path) for run in self.fit.group.runs)
            raise DataError(f"the runs {folders} stopped at different steps of {self.fit.phase}; train them one by one")
        (step,) = steps
        if step == 0:
            return 0
        with torch.no_grad():
            self._theta.copy_(torch.stack([state["theta"] for state in states]))
            self._average.copy_(torch.stack([state["average"] for state in states]))
            for name, value in self._buffers.items():
                value.copy_(torch.stack([state[f"buffers.{name}"] for state in states]))
        if step < self.fit.config.steps:
            moments = {
                name: torch.stack([state[name] for state in states]).to(self._theta.device)
                for name in ("exp_avg", "exp_avg_sq")
            }
            self._optimizer.state[self._theta] = {
                "step": torch.tensor(float(step), device=self._theta.device),
                **moments,
            }
            for run in self.fit.group.runs:
                run.rewind(step, f"{self.fit.phase}/")
        return step


class _Step:
    """One step of several trainings, with all its randomness from seeds; on a GPU as a captured graph in which each
    training is a branch."""

    def __init__(self, trainings: Sequence[_Training]) -> None:
        self._trainings = trainings
        fit = trainings[0].fit
        self._phase = fit.phase
        self._seeds = [seed for training in trainings for seed in training.fit.group.seeds]
        self._on_gpu = fit.group.device.type == "cuda"
        self._graph = self._capture() if self._on_gpu else None

    def block(self, first: int, steps: int) -> int:
        """Do `steps` steps from step `first` on: the number of steps done then."""
        torch.manual_seed(hash((*self._seeds, _number(self._phase), first)) % 2**63)
        for _ in range(steps):
            self._once()
        if self._on_gpu:
            _wait()
        for training in self._trainings:
            training.done = first + steps
        return first + steps

    def speed(self) -> dict[str, float]:
        """Milliseconds of a whole step, and of making its batches alone: is training ever waiting for data?

        For the end of a phase: what its steps change is not looked at any more.
        """
        if self._graph is None:
            return {"step_ms": _milliseconds(self._once), "draw_ms": _milliseconds(self._draw)}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            batches = self._draw()
        speed = {"step_ms": _milliseconds(self._graph.replay), "draw_ms": _milliseconds(graph.replay)}
        del batches  # their memory belongs to the graph
        return speed

    def _once(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        for training in self._trainings:
            training.step()

    def _draw(self) -> list[Any]:
        return [training.fit.draw() for training in self._trainings]

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """Capture a step; the steps that warm it up are undone."""
        put_back = [training.keep() for training in self._trainings]
        branches = [torch.cuda.Stream() for _ in self._trainings]
        trunk = torch.cuda.Stream()
        trunk.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(trunk):
            for _ in range(3):
                self._branch(trunk, branches)
        torch.cuda.current_stream().wait_stream(trunk)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._branch(torch.cuda.current_stream(), branches)
        except RuntimeError as error:
            _LOGGER.warning("%s: no CUDA graph, training step by step, several times slower: %s", self._phase, error)
            torch.cuda.synchronize()
            graph = None
        for put in put_back:
            put()
        return graph

    def _branch(self, trunk: torch.cuda.Stream, branches: Sequence[torch.cuda.Stream]) -> None:
        """One step of each training on a stream of its own, which begins and ends in the trunk."""
        for training, branch in zip(self._trainings, branches, strict=True):
            branch.wait_stream(trunk)
            with torch.cuda.stream(branch):
                training.step()
        for branch in branches:
            trunk.wait_stream(branch)


def _wait() -> None:
    """Wait for the GPU without keeping a core busy, as others simulate meanwhile."""
    event = torch.cuda.Event(blocking=True)
    event.record()
    event.synchronize()


def _number(phase: str) -> int:
    """A number for a phase's name: `hash` of a string differs from process to process."""
    return int.from_bytes(phase.encode()[:8], "little")


def _schedule(step: Tensor, config: OptimConfig) -> Tensor:
    """Linear warm-up, then cosine decay to zero."""
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    decay = 0.5 * (1.0 + torch.cos(math.pi * progress.clamp(0.0, 1.0)))
    return torch.minimum((step + 1.0) / max(1, config.warmup_steps), decay)


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def _first(batch: Any) -> Any:
    """The first run's part of a batch."""
    if batch is None:
        return None
    if isinstance(batch, Tensor):
        return batch[0]
    parts = [_first(part) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)


def _require_finite(terms: dict[str, Tensor], group: Group, phase: str, step: int) -> None:
    for name, values in terms.items():
        if not torch.isfinite(values).all():
            run = group.runs[int(torch.argmin(torch.isfinite(values).int()))]
            raise DataError(
                f"{run.path}: {phase}/{name} became non-finite at step {step}; "
                "check the demonstrations for outliers, or lower the learning rate"
            )
