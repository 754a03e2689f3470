"""`glam train policy` and `glam train mip`: stage 2, and the baseline that regresses raw actions with the same encoder
and budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from glam_core.errors import ConfigurationError
from glam_training.contract import Contract
from glam_training.data.sampler import PolicyWindows, policy_windows, target_share
from glam_training.fit import DeviceConfig, OptimConfig, fit, make_fabric, random_rows
from glam_training.models.blocks import ActionScale
from glam_training.models.canonical import CanonicalLatents, has_canonical, make_canonical
from glam_training.models.mip import Mip, MipConfig, mip_loss
from glam_training.models.perception import FeatureNet, ImagePerception, glimpse_values, make_features
from glam_training.models.policy import ActionDecoderModule, PolicyModule
from glam_training.relabel import load_slots, relabel
from glam_training.run import Run, load_weights, plain
from glam_training.slots import Slots
from glam_training.stage1 import MODEL_FILE, TrainedGlam, load_glam


@dataclass(frozen=True)
class PolicyTrainConfig:
    """Train a chunk policy on the sources of a finished stage 1."""

    glam: Path
    """Run folder of stage 1: perception, sources, and (for `policy`) latents and decoder."""
    out: Path
    """Run folder; an unfinished run in it is resumed."""
    mip: MipConfig = MipConfig()
    relations: bool | None = None
    """The policy sees where things are from each other, too; when unset, on slots and on tasks with two arms."""
    canonical: bool = True
    """The policy learns what an affine decoder reads of the latents (`CanonicalLatents`); without effect on another
    decoder, on one of joint motions, and on a policy of actions."""
    optim: OptimConfig = OptimConfig(steps=6000, learning_rate=5e-4, weight_decay=1e-4)
    moment_noise: float = 0.02
    """Noise on the slots' moments while training, in standard deviations."""
    target_share: float | None = None
    """Share of each batch that comes from the target robot, where there are other sources; `target_share` of their
    sizes when unset."""
    seed: int = 0
    device: DeviceConfig = DeviceConfig(precision="auto")


@dataclass(frozen=True)
class TrainedPolicy:
    """A finished policy; `decoder` is None for a direct policy."""

    contract: Contract
    mip: MipConfig
    policy: PolicyModule
    decoder: ActionDecoderModule | None
    glam: TrainedGlam
    record: dict


def train_policy(config: PolicyTrainConfig) -> Path:
    """Stage 2: predict chunks of latent actions, target and auxiliary sources together. Returns the run folder."""
    trained = load_glam(config.glam)
    config = _resolved(config, trained)
    relabelled = relabel(config.glam)
    fingerprints = trained.record["fingerprints"]
    with Run.create_or_open(config.out, {"kind": "latent", **plain(config)}, fingerprints) as run:
        if not (run.path / MODEL_FILE).exists():
            trained.glam.latent.mean.copy_(relabelled.mean)
            trained.glam.latent.std.copy_(relabelled.std)
            canonical = make_canonical(trained.glam) if config.canonical else None
            labels = relabelled.latents if canonical is None else [canonical(z) for z in relabelled.latents]
            policy = _train_head(config, trained, relabelled.slots, labels, canonical, run)
            decoder = ActionDecoderModule(trained.glam)
            _finish(run, trained.contract, {"policy": policy.state_dict(), "decoder": decoder.state_dict()})
    return config.out


def train_mip(config: PolicyTrainConfig) -> Path:
    """The behaviour-cloning baseline: chunks of raw actions from the target demonstrations alone. Returns the run
    folder."""
    trained = load_glam(config.glam)
    config = _resolved(config, trained)
    target = load_slots(config.glam, trained)[:1]
    assert target[0].action is not None
    with Run.create_or_open(config.out, {"kind": "direct", **plain(config)}, trained.record["fingerprints"]) as run:
        if not (run.path / MODEL_FILE).exists():
            scale = ActionScale(target[0].action.shape[1])
            scale.fit(target[0].action)
            policy = _train_head(config, trained, target, [scale(target[0].action)], scale, run)
            _finish(run, trained.contract, {"policy": policy.state_dict()})
    return config.out


def load_policy(path: Path) -> TrainedPolicy:
    """Load a finished policy from its run folder, on the CPU, in evaluation mode."""
    run = Run.open(path)
    contract = Contract.read(path)
    mip_config = MipConfig(**run.config["mip"])
    trained = load_glam(Path(run.config["glam"]))
    latent = run.config["kind"] == "latent"
    size = trained.config.latent_size if latent else contract.action_size
    output: ActionScale | CanonicalLatents | None = None if latent else ActionScale(size)
    if latent and run.config.get("canonical", False) and has_canonical(trained.glam.decoder):
        actions = contract.action_size * trained.config.step
        size, output = actions, CanonicalLatents(size, actions)
    policy = _make_policy(trained, mip_config, _saw_relations(run, contract), size, output)
    decoder = ActionDecoderModule(trained.glam) if latent else None
    state = torch.load(path / MODEL_FILE, map_location="cpu", weights_only=True)
    load_weights(policy, state["policy"], path)
    if decoder is not None:
        load_weights(decoder, state["decoder"], path)
        decoder.eval()
    return TrainedPolicy(contract, mip_config, policy.eval(), decoder, trained, run.record)


class PolicyObjective(nn.Module):
    """MIP's loss on the features of perceived slots."""

    def __init__(self, features: FeatureNet, mip: Mip) -> None:
        super().__init__()
        self.features = features
        self.mip = mip

    def forward(self, batch: tuple[Tensor, ...], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on moments (B, T, M), glimpses (B, T, G, 3, P, P) uint8, chunk and noise (B, H, A), and mask (B, H)."""
        moments, patches, chunk, mask, noise = batch
        history = moments.shape[1]
        o = torch.cat([self.features(moments[:, t], glimpse_values(patches[:, t])) for t in range(history)], dim=-1)
        loss = mip_loss(self.mip, o, chunk, mask, noise)
        return loss, {"loss": loss.detach()}


def _train_head(
    config: PolicyTrainConfig,
    trained: TrainedGlam,
    slots: list[Slots],
    labels: list[Tensor],
    output: ActionScale | CanonicalLatents | None,
    run: Run,
) -> PolicyModule:
    """Train feature net and head on `labels`: per source (N, A), by frame what the head is to answer."""
    if config.target_share is not None and not 0.0 < config.target_share <= 1.0:
        raise ConfigurationError(f"target_share must lie in (0, 1], got {config.target_share}")
    torch.manual_seed(config.seed)
    fabric = make_fabric(config.device)
    direct = isinstance(output, ActionScale)
    k, span = (1, 0) if direct else (trained.config.step, trained.config.step)
    history = trained.contract.obs_spec["history"]
    windows = [policy_windows(s.episode_ends, history, config.mip.chunk_length, k, span) for s in slots]
    assert config.relations is not None
    policy = _make_policy(trained, config.mip, config.relations, labels[0].shape[1], output)
    jitter = config.moment_noise * policy.features.standardize.std
    shares = _shares(config.optim.batch_size, config.target_share, [len(w) for w in windows])

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        parts = [
            _window_batch(s, z, w, n, generator) for s, z, w, n in zip(slots, labels, windows, shares, strict=True) if n
        ]
        moments, patches, chunk, mask = (torch.cat(x) for x in zip(*parts, strict=True))
        moments = moments + jitter * torch.randn(moments.shape, generator=generator)
        noise = torch.randn(chunk.shape, generator=generator)
        return tuple(x.to(fabric.device) for x in (moments, patches, chunk, mask, noise))

    objective = fit(
        PolicyObjective(policy.features, policy.mip),
        draw,
        config.optim,
        run=run,
        fabric=fabric,
        phase="policy",
        seed=config.seed,
    )
    assert isinstance(objective, PolicyObjective)
    policy.features.load_state_dict(objective.features.state_dict())
    policy.mip.load_state_dict(objective.mip.state_dict())
    return policy.eval()


def _resolved(config: PolicyTrainConfig, trained: TrainedGlam) -> PolicyTrainConfig:
    """The config with the choice of relations made, so that a run says what it was trained with."""
    if config.relations is not None:
        return config
    arms = trained.contract.action_spec["arms"]
    return replace(config, relations=isinstance(trained.perception, ImagePerception) or len(arms) > 1)


def _saw_relations(run: Run, contract: Contract) -> bool:
    """Runs from before policies on slots had relations left the choice open; the first ones had none to make."""
    chosen = run.config.get("relations", False)
    return len(contract.action_spec["arms"]) > 1 if chosen is None else chosen


def _make_policy(
    trained: TrainedGlam,
    mip: MipConfig,
    relations: bool,
    size: int,
    output: ActionScale | CanonicalLatents | None,
) -> PolicyModule:
    perception = trained.perception
    features = make_features(perception, relations)
    features.standardize.load_state_dict(trained.glam.observation.state_dict())
    history = trained.contract.obs_spec["history"]
    return PolicyModule(perception, features, Mip(history * features.size, size, mip), output)


def _window_batch(
    slots: Slots, labels: Tensor, windows: PolicyWindows, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    index = random_rows(len(windows), size, generator).numpy()
    moments, patches = slots.rows(torch.from_numpy(windows.observations[index]))
    chunk = labels[torch.from_numpy(windows.targets[index])]
    return moments, patches, chunk, torch.from_numpy(windows.mask[index]).float()


def _shares(batch: int, share: float | None, counts: list[int]) -> list[int]:
    """Examples per source: the target's share, and the rest in proportion to the other sources' sizes."""
    if len(counts) == 1:
        return [batch]
    others = sum(counts[1:])
    target = round(batch * (target_share(counts[0], others) if share is None else share))
    return [target, *(round((batch - target) * count / others) for count in counts[1:])]


def _finish(run: Run, contract: Contract, state: dict) -> None:
    partial = run.path / f"{MODEL_FILE}.partial"
    torch.save(state, partial)
    contract.write(run.path)
    partial.replace(run.path / MODEL_FILE)
