"""What the bench minimises: the modules that `fit_group` trains, each a network with its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from glam_training.models.glam import Glam, GlamConfig, GlamWeights, Transitions, glam_loss
from glam_training.models.mip import Mip, mip_loss
from glam_training.models.perception import FeatureNet, glimpse_values
from glam_training.models.rivals.bc_mse import Regression, mse_loss

Terms = dict[str, Tensor]
MOMENT_NOISE = 0.02
"""Noise on the observations of a policy while training, in standard deviations."""


class ModelObjective(nn.Module):
    """A rival's latent action model, or a labeller, with its loss."""

    def __init__(self, model: nn.Module, loss: Callable[..., tuple[Tensor, Terms]]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: tuple[Any, ...], progress: Tensor) -> tuple[Tensor, Terms]:
        """Loss of a batch: target (o, o', s, u), then, where the method has it, auxiliary (o, o')."""
        return self.loss(self.model, *batch)


class GlamObjective(nn.Module):
    """`glam_loss`, its weights as buffers and its alignment with a warm-up."""

    def __init__(self, model: Glam, config: GlamConfig) -> None:
        super().__init__()
        self.model = model
        self.warmup = config.alignment_warmup
        for name in (*GlamWeights._fields, "alignment_weight"):
            self.register_buffer(name, torch.tensor(float(getattr(config, name))))

    def forward(self, batch: tuple[Any, ...], progress: Tensor) -> tuple[Tensor, Terms]:
        """Loss of a batch: target (o, o', s, u), then, unless it learns from the target alone, auxiliary (o, o')."""
        target, *others = batch
        auxiliary = Transitions(*others[0], None, None) if others else None
        weights = GlamWeights(*(getattr(self, name) for name in GlamWeights._fields))
        alignment = (progress / self.warmup).clamp(max=1.0) * self.alignment_weight
        return glam_loss(self.model, Transitions(*target), auxiliary, weights, alignment)


class DecoderObjective(nn.Module):
    """-log p_om(u | s, z) on given latents; only the decoder learns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.state = model.state

    def forward(self, batch: tuple[Tensor, Tensor, Tensor], progress: Tensor | float) -> tuple[Tensor, Terms]:
        """Loss on raw states (B, S), latents (B, d) and standardised actions (B, A)."""
        state, z, action = batch
        loss = (self.decoder(torch.cat([self.state(state), z], -1)) - action).square().mean()
        return loss, {"loss": loss.detach()}


class PolicyObjective(nn.Module):
    """The policy's features and head with the head's loss."""

    def __init__(self, features: FeatureNet, head: Mip) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], progress: Tensor) -> tuple[Tensor, Terms]:
        """Loss on moments (B, M), glimpses (B, G, 3, P, P) uint8, standardised chunk (B, H, A) and mask (B, H)."""
        moments, patches, chunk, mask = batch
        moments = moments + MOMENT_NOISE * self.features.standardize.std * torch.randn_like(moments)
        o = self.features(moments, glimpse_values(patches))
        if isinstance(self.head, Regression):
            loss = mse_loss(self.head, o, chunk, mask)
        else:
            loss = mip_loss(self.head, o, chunk, mask, torch.randn_like(chunk))
        return loss, {"loss": loss}
