"""Latents as an affine decoder reads them: what a policy learns to predict.

A latent has more directions than an action. The decoder does not read the others; there lies what the forward model
wants to know of a scene's change and no policy can foresee, and a policy that regresses latents spends itself on it.
And where the inverse dynamics model is in doubt whether a gripper is open or closed, its latents lie in between, and
the policy learns to be in doubt, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glam_training.models.affine import AffineDecoder
from glam_training.models.glam import Glam


@torch.no_grad()
def canonical_latents(glam: Glam, latents: Tensor, state: Tensor) -> Tensor:
    """The shortest latents that an affine decoder reads as the same motions, each gripper where demonstrations have it.

    With u = G y + c, the standardised action of a standardised latent y, and u* the same action with binary components
    rounded (`ActionScale`): y* = G^+ (u* - c), where G^+ is the pseudo-inverse. Where the gain follows the robot state,
    G is its mean over the target's states, as that of other sources is not known. An action that is as long as a latent
    leaves y as it is, but for the gripper.

    Args:
        glam: in evaluation mode, its latents' standardiser fitted.
        latents: (N, d) standardised latents of any source.
        state: (N_T, S) raw robot states of the target.

    Returns:
        (N, d) standardised latents; the same ones if the decoder is not affine.
    """
    if not isinstance(glam.decoder, AffineDecoder):
        return latents
    gain = glam.decoder.mean_gain(glam.state(state))
    constant = glam.decoder.constant.bias + gain @ glam.latent.mean
    gain = gain * glam.latent.std
    action = latents @ gain.T + constant
    rounded = glam.action(glam.action.inverse(action))
    return (rounded - constant) @ torch.linalg.pinv(gain).T
