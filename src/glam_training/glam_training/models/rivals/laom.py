"""LAOM with labels: a forward model in a latent space of its own, with action supervision from the start.

Source: "Latent Action Learning Requires Supervision in the Presence of Distractors" (arXiv 2502.00379). There is no
reconstruction: the forward model predicts the next observation's embedding by a slowly following copy of the encoder.

    L = || f(c(o), z) - c'(o') ||^2  +  w || g(s, z) - u ||^2        z = h(c(o), c(o')),  c' follows c, no gradient

Departures: MLPs on object features in place of convolutions on pixels; the encoder reads o' as o and the normalised
change, as every inverse model here does, or millimetres would be lost in it; pairs lie one step apart (the source mixes
one to several steps), because the policy's chunks need one latent per step; the decoder sees the robot state beside z.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.blocks import MLP
from glam_training.models.follow import Follower
from glam_training.models.latent import LatentSizes, add_standardizers, forward_loss, normalised_change

ACTION_WEIGHT = 1.0
FOLLOW = 0.01
"""Share of the way that c' goes towards c in a step."""
EMBEDDING = 64


class Laom(nn.Module):
    """Encoders c and c', inverse dynamics h, forward model f, action decoder g."""

    def __init__(self, sizes: LatentSizes) -> None:
        super().__init__()
        add_standardizers(self, sizes)
        self.encoder = MLP(2 * sizes.moments, EMBEDDING, sizes.width, sizes.depth)
        self.follower = Follower(self.encoder, FOLLOW)
        self.idm = MLP(2 * EMBEDDING, sizes.latent, sizes.width, sizes.depth, sizes.dropout)
        self.forward_model = MLP(EMBEDDING + sizes.latent, EMBEDDING, sizes.width, sizes.depth, sizes.dropout)
        self.decoder = MLP(sizes.state + sizes.latent, sizes.action, sizes.width, sizes.depth, sizes.dropout)

    def embed(self, moments: Tensor, next_moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c(o), c(o') and the input (o, change) that stands for o'."""
        o = self.observation(moments)
        change = normalised_change(self, moments, next_moments)
        later = torch.cat([o, change], -1)
        return self.encoder(torch.cat([o, torch.zeros_like(change)], -1)), self.encoder(later), later

    def infer_mean(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """z = h(c(o), c(o'))."""
        now, next_, _ = self.embed(moments, next_moments)
        return self.idm(torch.cat([now, next_], -1))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """g(s, z), standardised."""
        return self.decoder(torch.cat([self.state(s), z], -1))


def laom_loss(
    model: Laom, target: tuple[Tensor, Tensor, Tensor, Tensor], auxiliary: tuple[Tensor, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss above; moves c' as well.

    Args:
        model: The model.
        target: o, o', s, u of labelled transitions.
        auxiliary: o, o' of the others.
    """
    s, u = target[2:]
    o, o_next = (torch.cat(pair) for pair in zip(target[:2], auxiliary, strict=True))
    now, next_, later = model.embed(o, o_next)
    z = model.idm(torch.cat([now, next_], -1))
    wanted = model.follower(model.encoder, later)
    forward = forward_loss(model.forward_model(torch.cat([now, z], -1)), wanted, len(s))
    action = (model.decode(s, z[: len(s)]) - model.action(u)).square().mean()
    loss = forward + ACTION_WEIGHT * action
    return loss, {"loss": loss, "forward": forward, "action": action, "embedding_std": wanted.std(0).mean()}
