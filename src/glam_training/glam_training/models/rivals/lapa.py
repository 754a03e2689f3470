"""LAPA-style: vector-quantised latent actions from pairs of observations, without any action label.

Source: "Latent Action Pretraining from Videos" (arXiv 2410.11758): four tokens of a vocabulary of eight, quantised with
NSVQ, which replaces the quantisation error by noise of the same length so that encoder and codebook both learn.

    L = || f(o, z) - o' ||^2        z = h(o, o') + || h(o, o') - e || v / || v ||,  e the nearest codes,  v ~ N(0, I)

Afterwards a small decoder g(s, z) is fitted on the labelled data, with the frozen codes as inputs.

Departures: MLPs on object features in place of a video transformer; o' is the normalised change; the policy regresses
the codes' vectors with the head that all methods share, in place of classifying tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.blocks import MLP
from glam_training.models.latent import LatentSizes, add_standardizers, forward_loss, normalised_change

TOKENS = 4
VOCABULARY = 8


class Lapa(nn.Module):
    """Inverse dynamics h, codebooks, forward model f, action decoder g."""

    def __init__(self, sizes: LatentSizes) -> None:
        super().__init__()
        add_standardizers(self, sizes)
        self.code_size = sizes.latent // TOKENS
        self.idm = MLP(2 * sizes.moments, sizes.latent, sizes.width, sizes.depth, sizes.dropout)
        self.codes = nn.Parameter(0.5 * torch.randn(TOKENS, VOCABULARY, self.code_size))
        self.forward_model = MLP(sizes.moments + sizes.latent, sizes.moments, sizes.width, sizes.depth, sizes.dropout)
        self.decoder = MLP(sizes.state + sizes.latent, sizes.action, sizes.width, sizes.depth, sizes.dropout)

    def encode(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """h(o, o') before it is quantised: (B, TOKENS, code size)."""
        change = normalised_change(self, moments, next_moments)
        return self.idm(torch.cat([self.observation(moments), change], -1)).unflatten(-1, (TOKENS, self.code_size))

    def nearest(self, encoded: Tensor) -> Tensor:
        """Each token's nearest code: (B, TOKENS, code size)."""
        distance = (encoded[:, :, None] - self.codes).square().sum(-1)
        chosen = distance.argmin(-1, keepdim=True) == torch.arange(VOCABULARY, device=encoded.device)
        return torch.einsum("btv,tvc->btc", chosen.to(encoded.dtype), self.codes)

    def infer_mean(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """The quantised latent (B, d)."""
        return self.nearest(self.encode(moments, next_moments)).flatten(1)

    def predict_change(self, moments: Tensor, z: Tensor) -> Tensor:
        """f(o, z), the normalised change."""
        return self.forward_model(torch.cat([self.observation(moments), z], -1))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """g(s, z), standardised."""
        return self.decoder(torch.cat([self.state(s), z], -1))


def lapa_loss(
    model: Lapa, target: tuple[Tensor, Tensor, Tensor, Tensor], auxiliary: tuple[Tensor, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss above; states and actions of the target are not looked at.

    Args:
        model: The model.
        target: o, o', s, u of labelled transitions.
        auxiliary: o, o' of the others.
    """
    o, o_next = (torch.cat(pair) for pair in zip(target[:2], auxiliary, strict=True))
    encoded = model.encode(o, o_next)
    v = torch.randn_like(encoded)
    error = (encoded - model.nearest(encoded)).square().sum(-1, keepdim=True).add(1e-12).sqrt()
    z = (encoded + error * v / v.norm(dim=-1, keepdim=True)).flatten(1)
    loss = forward_loss(model.predict_change(o, z), normalised_change(model, o, o_next), len(target[0]))
    return loss, {"loss": loss, "quantisation_error": error.mean()}
