"""Latents as an affine decoder reads them: what a policy learns to predict.

A latent has more directions than an action. The decoder does not read the others; there lies what the forward model
wants to know of a scene's change and a policy can hardly foresee, and a policy that regresses latents spends itself on
it. So the policy's head answers with what the decoder is to read, as many numbers as an action has, and the last layer,
which is not trained, makes the shortest latent of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.affine import AffineDecoder
from glam_training.models.blocks import ActionScale
from glam_training.models.latent import LatentModel

LEAST_GAIN = 0.1
"""Directions that the decoder reads less than this much as strongly as the strongest count as not read. Actions hardly
vary in them, and what a policy gets wrong there would be blown up in the latent."""


class CanonicalLatents(nn.Module):
    """Between standardised latents y (..., d) and what an affine decoder reads of them, u (..., A) standardised
    actions.

    With u = G y + c, the way back is y = G^+ (u - c), where G^+ is the pseudo-inverse: of all latents that are read as
    u the shortest or, if there is none, that which is read most nearly as u; either but for directions that are hardly
    read (`LEAST_GAIN`).

    Args:
        latent: d.
        action: A, length of an action (of k steps).
    """

    gain: Tensor
    constant: Tensor
    back: Tensor

    def __init__(self, latent: int, action: int) -> None:
        super().__init__()
        self.scale = ActionScale(action)
        self.register_buffer("gain", torch.zeros(action, latent))
        self.register_buffer("constant", torch.zeros(action))
        self.register_buffer("back", torch.zeros(latent, action))

    @torch.no_grad()
    def fit(self, model: LatentModel) -> None:
        """Take the gain from a decoder.

        Args:
            model: its decoder is affine, with a constant gain, and its latents' standardiser is fitted.
        """
        assert has_canonical(model.decoder), "only an affine decoder with a constant gain has canonical latents"
        weight, bias, mean, std = (
            x.detach().cpu().double()
            for x in (model.decoder.constant.weight, model.decoder.constant.bias, model.latent.mean, model.latent.std)
        )
        self.scale.load_state_dict(model.action.state_dict())
        self.gain.copy_(weight * std)
        self.constant.copy_(bias + weight @ mean)
        self.back.copy_(torch.linalg.pinv(weight * std, rtol=LEAST_GAIN))

    @torch.no_grad()
    def forward(self, latents: Tensor) -> Tensor:
        """What the decoder reads, (..., A), each gripper rounded to where demonstrations have it (`ActionScale`): where
        the inverse dynamics model is in doubt, its latents lie in between, and a policy would learn to be in doubt,
        too."""
        return self.scale(self.scale.inverse(latents @ self.gain.T + self.constant))

    def inverse(self, action: Tensor) -> Tensor:
        """The latents (..., d) that are read as standardised actions (..., A)."""
        return (action - self.constant) @ self.back.T


def has_canonical(decoder: nn.Module) -> bool:
    """Whether a decoder reads the same of a latent in all states: affine, its gain constant."""
    return isinstance(decoder, AffineDecoder) and decoder.gain is None


def make_canonical(model: LatentModel) -> CanonicalLatents | None:
    """The canonical latents of a trained model, on its device; None if its decoder has none (`has_canonical`)."""
    if not has_canonical(model.decoder):
        return None
    canonical = CanonicalLatents(len(model.latent.mean), len(model.action.mean)).to(model.latent.mean.device)
    canonical.fit(model)
    return canonical
