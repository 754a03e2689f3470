"""What the policies of the bench learn to predict: each method's stage 1, and the labels that it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from glam_training.contract import Contract
from glam_training.experiment import AUXILIARY_METHODS, GLAM_METHODS, LATENT_METHODS, Experiment
from glam_training.fit import OptimConfig
from glam_training.group_training import Fit, Group
from glam_training.models.blocks import ActionScale
from glam_training.models.canonical import CanonicalLatents, make_canonical
from glam_training.models.glam import UNREGULARISED, Glam, GlamConfig
from glam_training.models.latent import LatentSizes, fit_standardizers
from glam_training.models.objectives import DecoderObjective, GlamObjective, ModelObjective
from glam_training.models.rivals.clam import Clam, clam_loss
from glam_training.models.rivals.laom import Laom, laom_loss
from glam_training.models.rivals.lapa import Lapa, lapa_loss
from glam_training.models.rivals.pseudo_labels import ActionLabeller, labeller_loss
from glam_training.perceive import Perceived
from glam_training.pool import Pool, Rows, make_rows
from glam_training.slots import steady_moments
from glam_training.tempo import BRISK_SHARE, brisk_action, gripper_columns

REFIT_NOISE = 0.2
"""Standard deviation of the noise on latents in the decoder's refit, in standard deviations of the latents, for models
that do not say themselves how sure they are of a latent."""

_RIVALS: dict[str, tuple[Callable[[LatentSizes], nn.Module], Callable[..., Any]]] = {
    "clam": (Clam, clam_loss),
    "lapa": (Lapa, lapa_loss),
    "laom": (Laom, laom_loss),
    "pseudo_labels": (ActionLabeller, labeller_loss),
}


@dataclass(frozen=True)
class Targets:
    """What R policies learn to predict.

    Attributes:
        labels: (R, N, A) standardised actions or latents, or what a decoder reads of these, by frame of the pool; those
            of frames that no policy learns from mean nothing.
        policy_rows: per run the rows that its policy learns from: the target's, then, where it uses them, the others'.
        spans: for each of those sides, rows after its own that a label needs.
        step: rows from one step of a chunk to the next.
        models: per run the model that made the labels, or None.
        columns: per run the components of an observation that the model sees, or None for all.
        outputs: per run what makes actions, or latents, of a policy's answers; None where these are latents.
    """

    labels: Tensor
    policy_rows: list[tuple[Tensor, ...]]
    spans: tuple[int, ...]
    step: int
    models: list[nn.Module | None]
    columns: list[Tensor | None]
    outputs: list[ActionScale | CanonicalLatents | None]


def stage_1_shape(experiment: Experiment) -> tuple[Any, ...]:
    """Runs with equal shapes can train together."""
    uses_auxiliary = experiment.method in AUXILIARY_METHODS
    if experiment.method in GLAM_METHODS:
        s = experiment.switches
        sizes = (s.latent_size, s.step, s.refit, s.tempo, s.regularise, s.affine)
        return ("glam", uses_auxiliary, *sizes, _prediction(experiment))
    if experiment.method in _RIVALS:
        return (experiment.method, experiment.switches.tempo)
    return ("direct", uses_auxiliary)


def make_model(experiment: Experiment, contract: Contract, moment_floor: float, moments: int) -> nn.Module | None:
    """The method's untrained model of stage 1; None for methods that have none."""
    switches, width = experiment.switches, experiment.sizes.width
    action = contract.action_size * switches.step
    if experiment.method in GLAM_METHODS:
        config = _glam_config(experiment)
        return Glam(moments, moment_floor, contract.state_size, action, config, contract.moves_joints)
    if experiment.method in _RIVALS:
        make, _ = _RIVALS[experiment.method]
        return make(LatentSizes(moments, moment_floor, contract.state_size, action, switches.latent_size, width))
    return None


def seen_columns(experiment: Experiment, contract: Contract) -> Tensor | None:
    """Components of an observation that the model of stage 1 sees and predicts; None for all.

    GLAM-O is about objects, fingers included: what only tells how a scene looks is no part of it.
    """
    if experiment.suite == "images" or _prediction(experiment) == "observation":
        return None  # in images, the encoder decides: slots are objects and fingers
    components = contract.obs_spec["vectors"][0]["components"]
    return torch.tensor([i for i, name in enumerate(components) if not name.startswith("look.")])


def make_targets(
    experiments: Sequence[Experiment], views: Sequence[Perceived], pool: Pool, group: Group
) -> Generator[Fit, None, Targets]:
    """Run stage 1 of a group of equal shape and label every frame."""
    first, source = [], 0
    for view in views:
        first.append(source)
        source += len(view.sources)
    method, k = experiments[0].method, experiments[0].switches.step
    latent = method in LATENT_METHODS
    span = k if latent else 1
    target = [pool.all_rows(i, span) for i in first]
    others = [
        torch.cat([pool.all_rows(i + j, span) for j in range(1, len(v.sources))]) if len(v.sources) > 1 else None
        for i, v in zip(first, views, strict=True)
    ]
    if method not in _RIVALS and not latent:
        return _direct(views, pool, first, others)
    columns = [seen_columns(e, v.contract) for e, v in zip(experiments, views, strict=True)]
    stage = _Stage1(experiments, views, pool, group, target, others, columns)
    yield from stage.fit()
    if latent:
        return stage.latent_targets()
    return stage.pseudo_labels(first)


def _direct(views: Sequence[Perceived], pool: Pool, first: Sequence[int], others: Sequence[Tensor | None]) -> Targets:
    """Actions as they are; with pose co-training, those of the auxiliary sources as well."""
    scales, rows = [], []
    labels = pool.action.new_zeros(len(views), *pool.action.shape)
    for i, source in enumerate(first):
        target = pool.all_rows(source, 0)
        scale = ActionScale(pool.action.shape[1])
        scale.fit(pool.action[target].cpu())
        chosen = [target] if others[i] is None else [target, others[i]]
        labels[i] = scale.to(pool.device)(pool.action)
        scales.append(scale)
        rows.append(tuple(chosen))
    none = [None] * len(views)
    return Targets(labels, rows, (0, 1)[: len(rows[0])], 1, none, none, scales)


@dataclass(frozen=True)
class _Speed:
    """Target transitions of one speed.

    Attributes:
        target: per run the rows where they begin.
        rows: the same, to draw from.
        span: rows from their beginning to their end.
        share: of a batch.
    """

    target: Sequence[Tensor]
    rows: Rows
    span: int
    share: float

    def count(self, size: int) -> int:
        """How many of `size` examples; the counts of all speeds add up to it."""
        return round(self.share * size)


class _Stage1:
    """Stage 1 of R runs."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        views: Sequence[Perceived],
        pool: Pool,
        group: Group,
        target: Sequence[Tensor],
        others: Sequence[Tensor | None],
        columns: Sequence[Tensor | None],
    ) -> None:
        self.experiments, self.pool, self.group = experiments, pool, group
        self.target, self.others, self.columns = target, others, columns
        self.k, self.sizes = experiments[0].switches.step, experiments[0].sizes
        moments = steady_moments(pool.moments, pool.end) if experiments[0].on_slots else pool.moments
        self.seen = moments if columns[0] is None else moments[:, columns[0].to(pool.device)]
        self.models = [self._make(i, v) for i, v in enumerate(views)]
        self.gripper = gripper_columns(views[0].contract).to(pool.device)
        tempo = experiments[0].switches.tempo
        self.speeds = [_Speed(target, make_rows(target), self.k, 1 - BRISK_SHARE if tempo else 1.0)]
        if tempo:
            brisk = [pool.spanning(rows, 2) for rows in target]
            self.speeds.append(_Speed(brisk, make_rows(brisk), 2, BRISK_SHARE))

    def _make(self, i: int, view: Perceived) -> nn.Module:
        experiment = self.experiments[i]
        torch.manual_seed(experiment.seed)
        model = make_model(experiment, view.contract, view.perception.moment_floor, self.seen.shape[1])
        assert model is not None, "this method has a stage 1"
        model = model.to(self.pool.device)
        # The labeller learns from the target, so that its inputs are scaled by what it will see: all sources.
        sides = [self.target[i], *([] if self.others[i] is None else [self.others[i]])]
        now = torch.cat(sides)
        changes = [self.seen[rows + self.k] - self.seen[rows] for rows in sides]
        action = self.chunks(self.target[i])
        fit_standardizers(model, self.seen[now], changes, self.pool.state[self.target[i]], action)
        return model

    def chunks(self, rows: Tensor) -> Tensor:
        """u of rows (...): (..., k A)."""
        return self.pool.action[rows[..., None] + torch.arange(self.k, device=rows.device)].flatten(-2)

    def actions(self, rows: Tensor, span: int) -> Tensor:
        """u of rows (...) for motions over `span` rows: (..., k A). More rows than k are one brisk step."""
        if span == self.k:
            return self.chunks(rows)
        steps = self.pool.action[rows[..., None] + torch.arange(span, device=rows.device)]
        return brisk_action(steps, self.gripper)

    def fit(self) -> Generator[Fit, None, None]:
        """Train the models; then, for latents, the decoder once more."""
        method = self.experiments[0].method
        both = self.others[0] is not None and method != "pseudo_labels"
        others = make_rows([rows for rows in self.others if rows is not None]) if both else None
        size = self.sizes.batch_size

        def draw() -> tuple[Any, ...]:
            batch = self._transitions(size if both else 2 * size)
            return (batch,) if others is None else (batch, self._pairs(others, size))

        if method in GLAM_METHODS:
            objectives = [GlamObjective(m, _glam_config(e)) for m, e in zip(self.models, self.experiments, strict=True)]
        else:
            objectives = [ModelObjective(model, _RIVALS[method][1]) for model in self.models]
        optim = OptimConfig(steps=self.sizes.stage_1_steps)
        yield Fit(objectives, draw, optim, self.group, "stage_1")
        if method != "pseudo_labels" and self.experiments[0].switches.refit:
            yield self._refit()

    def _transitions(self, size: int) -> tuple[Tensor, ...]:
        """Target transitions (R, size, ...): o, o', s, u."""
        parts = []
        for speed in self.speeds:
            rows = speed.rows.draw(speed.count(size))
            parts.append(
                (self.seen[rows], self.seen[rows + speed.span], self.pool.state[rows], self.actions(rows, speed.span))
            )
        return tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))

    def _pairs(self, others: Rows, size: int) -> tuple[Tensor, Tensor]:
        rows = others.draw(size)
        return self.seen[rows], self.seen[rows + self.k]

    def _refit(self) -> Fit:
        """To train the decoders alone on mean IDM latents with noise: what a policy will feed them is never an exact
        posterior mean.

        GLAM's noise is that of the posterior. The same for all directions, as it was at first, drowns those that tell
        most, in which a latent varies by 1.2 and is known to 0.04: what is left is to learn the few states by heart.
        """
        latents = [self._known_latents(speed) for speed in self.speeds]
        objectives = [DecoderObjective(model) for model in self.models]
        mean, std = (torch.stack([getattr(m.action, n) for m in self.models])[:, None] for n in ("mean", "std"))
        run = torch.arange(len(self.models), device=self.pool.device)[:, None]

        def draw() -> tuple[Tensor, Tensor, Tensor]:
            parts = []
            for speed, (z, noise) in zip(self.speeds, latents, strict=True):
                rows = speed.rows.draw(speed.count(2 * self.sizes.batch_size))
                latent = z[run, rows] + noise[run, rows] * torch.randn_like(z[run, rows])
                parts.append((self.pool.state[rows], latent, (self.actions(rows, speed.span) - mean) / std))
            state, latent, action = (torch.cat(part, 1) for part in zip(*parts, strict=True))
            return state, latent, action

        return Fit(objectives, draw, OptimConfig(steps=self.sizes.refit_steps), self.group, "decoder")

    @torch.no_grad()
    def _known_latents(self, speed: _Speed) -> tuple[Tensor, Tensor]:
        """Latents of target transitions by frame of the pool, (R, N, d), and how sure the models are of them: standard
        deviations (R, N, d). Zeros but for the rows of `speed`."""
        z = torch.stack([self.infer(i, [rows], speed.span) for i, rows in enumerate(speed.target)])
        spread = torch.zeros_like(z)
        for i, (model, rows) in enumerate(zip(self.models, speed.target, strict=True)):
            if not isinstance(model, Glam):
                spread[i] = REFIT_NOISE * z[i, rows].std(0)
                continue
            for part in rows.split(8192):
                posterior = model.infer(self.seen[part], self.seen[part + speed.span])
                spread[i, part] = (0.5 * posterior.log_var).exp()
        return z, spread

    @torch.no_grad()
    def infer(self, i: int, sides: Sequence[Tensor], span: int | None = None) -> Tensor:
        """Latents of run i by frame of the pool, (N, d), over `span` rows (k): zeros but for the rows of `sides`."""
        z = self.seen.new_zeros(len(self.seen), self.experiments[i].switches.latent_size)
        for part in torch.cat(list(sides)).split(8192):
            z[part] = self.models[i].infer_mean(self.seen[part], self.seen[part + (span or self.k)])
        return z

    @torch.no_grad()
    def latent_targets(self) -> Targets:
        """Standardised latents or, where the decoder is affine, what it reads of them."""
        labels, rows, outputs = [], [], []
        for i, model in enumerate(self.models):
            sides = [self.target[i], *([] if self.others[i] is None else [self.others[i]])]
            z = self.infer(i, sides)
            model.latent.fit(z[torch.cat(sides)])
            latents = model.latent(z)
            canonical = make_canonical(model)
            labels.append(latents if canonical is None else canonical(latents))
            outputs.append(None if canonical is None else canonical.cpu())
            rows.append(tuple(sides))
        spans = (self.k,) * len(rows[0])
        return Targets(torch.stack(labels), rows, spans, self.k, self.models, list(self.columns), outputs)

    @torch.no_grad()
    def pseudo_labels(self, first: Sequence[int]) -> Targets:
        """Actions of the target, and the labeller's for the other sources, in the scale of the target's."""
        labels, rows, scales = [], [], []
        for i, model in enumerate(self.models):
            others = self.others[i]
            assert others is not None, "pseudo-labels are for auxiliary data"
            raw = self.pool.action.clone()
            for part in others.split(8192):
                raw[part] = model.action.inverse(model.label(self.seen[part], self.seen[part + 1]))
            labels.append(model.action(raw))
            rows.append((self.pool.all_rows(first[i], 0), others))
            scale = ActionScale(raw.shape[1])
            scale.load_state_dict(model.action.state_dict())
            scales.append(scale)
        none = [None] * len(rows)
        return Targets(torch.stack(labels), rows, (0, 1), 1, self.models, none, scales)


def _prediction(experiment: Experiment) -> str:
    own = "objects" if experiment.method == "glam_o" else "observation"
    return experiment.switches.prediction or own


def _glam_config(experiment: Experiment) -> GlamConfig:
    s = experiment.switches
    default = GlamConfig() if s.regularise else UNREGULARISED
    return replace(
        default,
        latent_size=s.latent_size,
        step=s.step,
        width=experiment.sizes.width,
        beta=s.beta,
        cross_weight=default.cross_weight if s.cross_decode else 0.0,
        alignment_weight=default.alignment_weight if s.align else 0.0,
        alignment_balance=s.alignment_balance,
        affine=s.affine,
    )
