"""One group of runs in training: parameters of all of them as one tensor, and what a step does to them.

Runs whose modules have the same shapes (other seeds, other data, other loss weights) are stacked and mapped over with
`torch.func.vmap`; a group of one is an ordinary loop. Nothing flows between runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from glam_core.errors import DataError
from glam_training.fit import OptimConfig, multiplies_bfloat16
from glam_training.run import Run

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
        bfloat16: convolutions and products of matrices in bfloat16, where a CPU has instructions for it: for networks
            that need no finer arithmetic. A GPU multiplies in TF32 anyway.
    """

    objectives: Sequence[nn.Module]
    draw: Draw
    config: OptimConfig
    group: Group
    phase: str
    bfloat16: bool = False


class Training:
    """State of a group's optimisation: parameters (R, P) of all runs, their average, the optimiser.

    Attributes:
        fit: what is done.
        done: steps done so far.
    """

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
        self._bfloat16 = fit.bfloat16 and device.type == "cpu" and multiplies_bfloat16("cpu")
        capturable = device.type == "cuda"
        self._optimizer = torch.optim.AdamW(
            [self._theta], lr=self._rate, weight_decay=config.weight_decay, capturable=capturable, fused=True
        )
        self._terms: dict[str, Tensor] = {}
        self.done = self._load()
        self._step.fill_(self.done)
        for objective in objectives:
            objective.train()

    def log(self, write: bool) -> None:
        """Look at the losses of the last step; also write them down if `write`.

        Raises:
            DataError: one is not finite.
        """
        group, phase = self.fit.group, self.fit.phase
        terms = {name: values.cpu() for name, values in self._terms.items()}
        _require_finite(terms, group, phase, self.done)
        if write:
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
        batch = self.fit.draw()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            loss, terms = self._losses(self._theta, batch, self._step / config.steps)
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
