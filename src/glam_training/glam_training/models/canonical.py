"""Latents as an affine decoder reads them: what a policy learns to predict.

A latent has more directions than an action. The decoder does not read the others; there lies what the forward model
wants to know of a scene's change and no policy can foresee, and a policy that regresses latents spends itself on it.
So the policy's head answers with what the decoder is to read, as many numbers as an action has, and the last layer,
which is not trained, makes the shortest latent of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.affine import AffineDecoder
from glam_training.models.blocks import ActionScale
from glam_training.models.latent import LatentModel

LEAST_GAIN = 0.1
"""A direction that the decoder reads less than this much as strongly as the strongest one counts as not read. Actions
hardly vary in it, and what a policy gets wrong there would be blown up in the latent."""


class CanonicalLatents(nn.Module):
    """Between standardised latents y (..., d) and what an affine decoder reads of them, u (..., A) standardised
    actions.

    With u = G y + c, the way back is y = G^+ u - G^+ c, where G^+ is the pseudo-inverse: of all latents that are read
    as u the shortest, or, if an action is longer than a latent, that which is read most nearly as u. Where the gain
    follows the robot state, G is its mean over the target's states, as that of other sources is not known.

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
    def fit(self, model: LatentModel, state: Tensor) -> None:
        """Take the gain from a decoder.

        Args:
            model: with an affine decoder, in evaluation mode, its latents' standardiser fitted.
            state: (N, S) raw robot states of the target.
        """
        assert isinstance(model.decoder, AffineDecoder), "only an affine decoder has a gain"
        gain = model.decoder.mean_gain(model.state(state))
        self.scale.load_state_dict(model.action.state_dict())
        self.gain.copy_(gain * model.latent.std)
        self.constant.copy_(model.decoder.constant.bias + gain @ model.latent.mean)
        self.back.copy_(torch.linalg.pinv(self.gain, rtol=LEAST_GAIN))

    @torch.no_grad()
    def forward(self, latents: Tensor) -> Tensor:
        """What the decoder reads, (..., A), each gripper rounded to where demonstrations have it (`ActionScale`): where
        the inverse dynamics model is in doubt, its latents lie in between, and a policy would learn to be in doubt,
        too."""
        return self.scale(self.scale.inverse(latents @ self.gain.T + self.constant))

    def inverse(self, action: Tensor) -> Tensor:
        """The latents (..., d) that are read as standardised actions (..., A)."""
        return (action - self.constant) @ self.back.T


def make_canonical(model: LatentModel, state: Tensor) -> CanonicalLatents | None:
    """Those of a trained model (see `CanonicalLatents.fit`); None if its decoder is not affine."""
    if not isinstance(model.decoder, AffineDecoder):
        return None
    canonical = CanonicalLatents(len(model.latent.mean), len(model.action.mean)).to(state.device)
    canonical.fit(model, state)
    return canonical
