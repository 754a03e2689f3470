"""`glam train glam`: stage 1. Segmenter, then the two coupled models, then a decoder that is robust to the IDM's
latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from glam_core.errors import ConfigurationError, DataError
from glam_training.contract import Contract, make_contract
from glam_training.data.sampler import transitions
from glam_training.data.store import Store
from glam_training.fit import DeviceConfig, OptimConfig, fit, make_fabric, random_rows
from glam_training.models.glam import Glam, GlamConfig, Transitions, glam_loss
from glam_training.models.objectives import DecoderObjective
from glam_training.models.perception import (
    ImagePerception,
    PerceptionConfig,
    ScenePerception,
)
from glam_training.run import Run, load_weights, plain
from glam_training.segmenter import train_segmenter
from glam_training.slots import Slots, Source, check_masks, compute_slots, observation_keys
from glam_training.tempo import BRISK_SHARE, brisk_action, gripper_columns

MODEL_FILE = "model.pt"


@dataclass(frozen=True)
class GlamTrainConfig:
    """Train GLAM's stage 1 on one target store and any number of auxiliary stores."""

    target: Path
    """Store of the target robot, with actions."""
    out: Path
    """Run folder; an unfinished run in it is resumed."""
    auxiliary: tuple[Path, ...] = ()
    """Stores of other sources; their actions are never read."""
    target_episodes: int | None = None
    """Use only the first so many target episodes."""
    auxiliary_episodes: int | None = None
    """Use only the first so many episodes of each auxiliary store."""
    observations: Literal["images", "scene"] = "images"
    """What the models see: camera images, or the privileged scene vector (the fast lane)."""
    cameras: tuple[str, ...] = ()
    """Cameras to use, all of the store when empty."""
    model: GlamConfig = GlamConfig(affine=True)
    perception: PerceptionConfig = PerceptionConfig()
    segmenter: OptimConfig = OptimConfig(steps=2000, batch_size=48, learning_rate=2e-3, ema_decay=0.99)
    optim: OptimConfig = OptimConfig(steps=4000)
    refit: OptimConfig = OptimConfig(steps=1500)
    """Last phase: the decoder alone, on latents drawn from the frozen IDM's posterior."""
    tempo: bool = True
    """A third of the target transitions is shown at double speed: two steps as one, their actions added. Without,
    motions of a faster source are decoded too small. Only for latents of one step."""
    steady: bool = True
    """The models see slots that are averaged over three frames: a single one is off by nearly as much as a slow hand
    moves in a step. Scene vectors are exact, so nothing changes there."""
    seed: int = 0
    device: DeviceConfig = field(default_factory=DeviceConfig)


@dataclass(frozen=True)
class Motions:
    """Target transitions of one speed.

    Attributes:
        pairs: (M, 2) int64, rows where they begin and end.
        action: (M, k A), what the robot did.
        share: of a batch.
    """

    pairs: Tensor
    action: Tensor
    share: float


@dataclass(frozen=True)
class TrainedGlam:
    """A finished stage 1."""

    contract: Contract
    config: GlamConfig
    perception_config: PerceptionConfig
    perception: ImagePerception | ScenePerception
    glam: Glam
    record: dict[str, Any]

    @property
    def steady(self) -> bool:
        """Whether the models see steadied moments."""
        return _is_steady(self.record["config"])


def train_glam(config: GlamTrainConfig) -> Path:
    """Run, or resume, stage 1. Returns the run folder, which then holds contract.json and model.pt."""
    target = Source(Store.open(config.target), config.target_episodes)
    auxiliary = [Source(Store.open(path), config.auxiliary_episodes) for path in config.auxiliary]
    _check_sources(target, auxiliary, config)
    fingerprints = {str(s.store.path): s.store.fingerprint for s in [target, *auxiliary]}
    with Run.create_or_open(config.out, config, fingerprints) as run:
        if (run.path / MODEL_FILE).exists():
            return run.path
        torch.manual_seed(config.seed)
        contract = make_contract(target.store, config.observations, config.cameras)
        perception = contract.make_perception(config.perception)
        if isinstance(perception, ImagePerception):
            perception = train_segmenter(
                perception,
                [target, *auxiliary],
                contract.cameras,
                config.segmenter,
                run=run,
                device=config.device,
                seed=config.seed,
            )
        slots = [compute_slots(target, perception, contract.keys, run.path / "slots", labelled=True)]
        slots += [compute_slots(s, perception, contract.keys, run.path / "slots", labelled=False) for s in auxiliary]
        if _is_steady(plain(config)):
            slots = [s.steadied for s in slots]
        glam = train_latent_actions(perception, slots, contract, config, run)
        run_state = {"perception": perception.state_dict(), "glam": glam.state_dict()}
        torch.save(run_state, run.path / f"{MODEL_FILE}.partial")
        contract.write(run.path)
        (run.path / f"{MODEL_FILE}.partial").replace(run.path / MODEL_FILE)
    return config.out


def load_glam(path: Path) -> TrainedGlam:
    """Load a finished stage 1 from its run folder, on the CPU, in evaluation mode."""
    run = Run.open(path)
    contract = Contract.read(path)
    config = GlamConfig(**run.config["model"])
    perception_config = PerceptionConfig(**run.config["perception"])
    perception = contract.make_perception(perception_config)
    glam = make_glam(perception, contract, config)
    state = torch.load(path / MODEL_FILE, map_location="cpu", weights_only=True)
    load_weights(perception, state["perception"], path)
    load_weights(glam, state["glam"], path)
    return TrainedGlam(contract, config, perception_config, perception.eval(), glam.eval(), run.record)


def make_glam(perception: ImagePerception | ScenePerception, contract: Contract, config: GlamConfig) -> Glam:
    """An untrained GLAM of the right sizes."""
    return Glam(
        perception.moment_size,
        perception.moment_floor,
        contract.state_size,
        contract.action_size * config.step,
        config,
        contract.moves_joints,
    )


def train_latent_actions(
    perception: ImagePerception | ScenePerception,
    slots: list[Slots],
    contract: Contract,
    config: GlamTrainConfig,
    run: Run,
) -> Glam:
    """Train the coupled models on perceived slots; the first source is the target."""
    fabric = make_fabric(config.device)
    k = config.model.step
    pairs = [torch.from_numpy(transitions(s.episode_ends, k)) for s in slots]
    glam = make_glam(perception, contract, config.model)
    target = slots[0]
    assert target.state is not None and target.action is not None
    motions = target_motions(target, contract, config)
    glam.observation.fit(torch.cat([s.moments for s in slots]))
    changes = torch.cat([s.moments[p[:, 1]] - s.moments[p[:, 0]] for s, p in zip(slots, pairs, strict=True)])
    glam.change.fit(changes)
    glam.change.mean.zero_()
    glam.state.fit(target.state)
    glam.action.fit(motions[0].action)

    def take(s: Slots, rows: Tensor) -> Transitions:
        now, later = (s.moments[rows[:, i]].to(fabric.device) for i in (0, 1))
        return Transitions(now, later, None, None)

    def draw(generator: torch.Generator) -> tuple[Transitions, Transitions | None]:
        size = config.optim.batch_size
        drawn = draw_motions(motions, size, generator)
        rows = torch.cat([m.pairs[index] for m, index in zip(motions, drawn, strict=True)])
        action = torch.cat([m.action[index] for m, index in zip(motions, drawn, strict=True)])
        batch = take(target, rows)
        labels = {"state": target.state[rows[:, 0]].to(fabric.device), "action": action.to(fabric.device)}
        if len(slots) == 1:
            return batch._replace(**labels), None
        choice = int(torch.randint(1, len(slots), (1,), generator=generator))
        rows = pairs[choice][random_rows(len(pairs[choice]), size, generator)]
        return batch._replace(**labels), take(slots[choice], rows)

    objective = fit(
        GlamObjective(glam, config.model),
        draw,
        config.optim,
        run=run,
        fabric=fabric,
        phase="glam",
        seed=config.seed,
        sides=min(2, len(slots)),
    )
    assert isinstance(objective, GlamObjective)
    glam = objective.glam.cpu()
    return refit_decoder(glam, target, motions, config, run)


def target_motions(target: Slots, contract: Contract, config: GlamTrainConfig) -> list[Motions]:
    """Transitions of the target at its own speed and, with `tempo`, at double speed."""
    k = config.model.step
    own = torch.from_numpy(transitions(target.episode_ends, k))
    motions = [Motions(own, chunk_actions(target.action, own[:, 0], k), 1 - BRISK_SHARE if config.tempo else 1.0)]
    if config.tempo:
        brisk = torch.from_numpy(transitions(target.episode_ends, 2))
        steps = target.action[brisk[:, :1] + torch.arange(2)]
        motions.append(Motions(brisk, brisk_action(steps, gripper_columns(contract)), BRISK_SHARE))
    return motions


def draw_motions(motions: list[Motions], size: int, generator: torch.Generator) -> list[Tensor]:
    """Indices into the motions of each speed, by their shares; `size` in all."""
    fast = [round(size * m.share) for m in motions[1:]]
    return [random_rows(len(m.pairs), n, generator) for m, n in zip(motions, [size - sum(fast), *fast], strict=True)]


class GlamObjective(nn.Module):
    """`glam_loss` with the warm-up of its alignment."""

    def __init__(self, glam: Glam, config: GlamConfig) -> None:
        super().__init__()
        self.glam = glam
        self.config = config

    def forward(
        self, batch: tuple[Transitions, Transitions | None], progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one batch of target and auxiliary transitions."""
        rise = min(1.0, progress / self.config.alignment_warmup) if self.config.alignment_warmup > 0 else 1.0
        return glam_loss(self.glam, *batch, self.config, rise * self.config.alignment_weight)


def refit_decoder(glam: Glam, target: Slots, motions: list[Motions], config: GlamTrainConfig, run: Run) -> Glam:
    """Train the decoder alone on latents of the frozen IDM, drawn from its posterior: what the policy will feed it is
    never an exact posterior mean.

    Departure from the published description, found to matter from images by our prototype.
    """
    if config.refit.steps == 0:
        return glam
    fabric = make_fabric(config.device)
    posteriors = [infer_posterior(glam, target, m.pairs) for m in motions]

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        parts, drawn = [], draw_motions(motions, config.refit.batch_size, generator)
        for m, (mean, std), index in zip(motions, posteriors, drawn, strict=True):
            z = mean[index] + std[index] * torch.randn(len(index), mean.shape[1], generator=generator)
            parts.append((target.state[m.pairs[index, 0]], z, glam.action(m.action[index])))
        return tuple(torch.cat(part).to(fabric.device) for part in zip(*parts, strict=True))

    objective = fit(
        DecoderObjective(glam), draw, config.refit, run=run, fabric=fabric, phase="decoder", seed=config.seed
    )
    assert isinstance(objective, DecoderObjective)
    glam.decoder.load_state_dict(objective.decoder.state_dict())
    return glam.eval()


@torch.inference_mode()
def infer_posterior(glam: Glam, slots: Slots, pairs: Tensor, batch: int = 1024) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of q_phi(z | o, o') for rows `pairs` (M, 2): each (M, d) float32, not
    standardised."""
    parts = [glam.infer(slots.moments[part[:, 0]], slots.moments[part[:, 1]]) for part in pairs.split(batch)]
    return torch.cat([q.mean for q in parts]), torch.cat([(0.5 * q.log_var).exp() for q in parts])


def chunk_actions(action: Tensor, first: Tensor, k: int) -> Tensor:
    """u_t = a_{t : t + k - 1}: the actions (N, A) of k steps from each row of `first` (M,), flattened to (M, k * A)."""
    return action[first[:, None] + torch.arange(k)].flatten(1)


def _is_steady(config: Mapping[str, Any]) -> bool:
    """Of a run's config; runs from before there was a choice do not say, and are not."""
    return config.get("steady", False) and config["observations"] == "images"


def _check_sources(target: Source, auxiliary: list[Source], config: GlamTrainConfig) -> None:
    if not target.store.info.has_actions:
        raise ConfigurationError(f"{config.target} is an auxiliary source without actions; the target store needs them")
    keys = observation_keys(target.store, config.observations, config.cameras)
    for source in [target, *auxiliary]:
        info = source.store.info
        if info.task != target.store.info.task:
            raise ConfigurationError(
                f"{source.store.path} holds task '{info.task}', the target store '{target.store.info.task}'"
            )
        columns = info.columns()
        for key in keys:
            expected = target.store.info.columns()[key]
            if columns.get(key) != expected:
                raise ConfigurationError(
                    f"{source.store.path}: {key} is {columns.get(key, 'missing')}, "
                    f"the target store has {expected}; all sources need the same"
                )
        if config.observations == "images":
            check_masks(source.store, target.store)
    if config.tempo and config.model.step > 1:
        raise ConfigurationError("tempo is for latents of one step; with model.step above 1 give --no-tempo")
    if config.model.step < 1:
        raise ConfigurationError(f"model.step must be at least 1, got {config.model.step}")
    for source in [target, *auxiliary]:
        lengths = np.diff(source.episode_ends, prepend=0)
        if not len(lengths):
            raise DataError(f"{source.store.path} has no episodes; a store without episodes cannot be trained on")
        if lengths.max() <= config.model.step:
            raise DataError(
                f"{source.store.path}: no episode is longer than k = {config.model.step} steps; lower model.step"
            )
    if config.tempo and np.diff(target.episode_ends, prepend=0).max() <= 2:
        raise DataError(f"{config.target}: no episode is longer than two steps; give --no-tempo")
