"""What is deployed: observations to a chunk, a latent to an action. Raw SI units in and out; normalisation is
inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.blocks import ActionScale
from glam_training.models.canonical import CanonicalLatents
from glam_training.models.glam import Glam
from glam_training.models.keypoints import KeypointPerception
from glam_training.models.mip import Mip
from glam_training.models.perception import FeatureNet, ImagePerception, ScenePerception


class PolicyModule(nn.Module):
    """Observations to a chunk: standardised latents for GLAM, raw actions for a direct policy.

    Args:
        perception: Frozen slots.
        features: Slots to features, trained with the head.
        mip: The head.
        output: Turns the head's answers into raw actions (`ActionScale`) or standardised latents (`CanonicalLatents`);
            None where the answers are latents already.
    """

    def __init__(
        self,
        perception: ImagePerception | KeypointPerception | ScenePerception,
        features: FeatureNet,
        mip: Mip,
        output: ActionScale | CanonicalLatents | None,
    ) -> None:
        super().__init__()
        self.perception = perception
        self.features = features
        self.mip = mip
        self.output = output

    def forward(self, *observations: Tensor) -> Tensor:
        """Act.

        Args:
            observations: Per camera (B, T, H, W, 3) uint8, then per vector (B, T, D) float32, in the order of the spec.

        Returns:
            (B, H, d) standardised latents or (B, H, A) raw actions.
        """
        history = observations[0].shape[1]
        features = [self.features(*self.perception(*(x[:, t] for x in observations))) for t in range(history)]
        chunk = self.mip(torch.cat(features, dim=-1))
        return chunk if self.output is None else self.output.inverse(chunk)


class ActionDecoderModule(nn.Module):
    """A standardised latent and the live robot state to a robot action: the mean of p_om(u | s, z)."""

    def __init__(self, glam: Glam) -> None:
        super().__init__()
        self.state, self.latent, self.action, self.decoder = glam.state, glam.latent, glam.action, glam.decoder

    def forward(self, latent: Tensor, state: Tensor) -> Tensor:
        """Map (B, d) latents and (B, S) raw robot states to (B, A) raw actions."""
        z = self.latent.inverse(latent)
        return self.action.inverse(self.decoder(torch.cat([self.state(state), z], dim=-1)))
