"""CLAM: continuous latent actions, with the action decoder trained jointly.

Source: "CLAM: Continuous Latent Action Models for Robot Learning from Unlabeled Demonstrations" (arXiv 2505.04999).

    L = || f(o, z) - o' ||^2  +  w || g(s, z) - u ||^2        z = h(o, o'); the second term on labelled data

Departures: o' is the normalised change that all methods here predict; the decoder sees the robot state beside z, as all
decoders here do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.blocks import MLP
from glam_training.models.latent import LatentSizes, add_standardizers, forward_loss, normalised_change

ACTION_WEIGHT = 1.0


class Clam(nn.Module):
    """Inverse dynamics h, forward model f, action decoder g."""

    def __init__(self, sizes: LatentSizes) -> None:
        super().__init__()
        add_standardizers(self, sizes)
        self.idm = MLP(2 * sizes.moments, sizes.latent, sizes.width, sizes.depth, sizes.dropout)
        self.forward_model = MLP(sizes.moments + sizes.latent, sizes.moments, sizes.width, sizes.depth, sizes.dropout)
        self.decoder = MLP(sizes.state + sizes.latent, sizes.action, sizes.width, sizes.depth, sizes.dropout)

    def infer_mean(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """z = h(o, o')."""
        change = normalised_change(self, moments, next_moments)
        return self.idm(torch.cat([self.observation(moments), change], -1))

    def predict_change(self, moments: Tensor, z: Tensor) -> Tensor:
        """f(o, z), the normalised change."""
        return self.forward_model(torch.cat([self.observation(moments), z], -1))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """g(s, z), standardised."""
        return self.decoder(torch.cat([self.state(s), z], -1))


def clam_loss(
    model: Clam, target: tuple[Tensor, Tensor, Tensor, Tensor], auxiliary: tuple[Tensor, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss above.

    Args:
        model: The model.
        target: o, o', s, u of labelled transitions.
        auxiliary: o, o' of the others.
    """
    s, u = target[2:]
    o, o_next = (torch.cat(pair) for pair in zip(target[:2], auxiliary, strict=True))
    z = model.infer_mean(o, o_next)
    forward = forward_loss(model.predict_change(o, z), normalised_change(model, o, o_next), len(s))
    action = (model.decode(s, z[: len(s)]) - model.action(u)).square().mean()
    loss = forward + ACTION_WEIGHT * action
    return loss, {"loss": loss, "forward": forward, "action": action}
