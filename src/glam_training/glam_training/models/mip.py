"""MIP, the minimal iterative policy: regression twice, and nothing else.

Source: "Much Ado About Noising" (arXiv 2512.01809). Network pi(o, x, t), t* = 0.9, e ~ N(0, I):
    train   || pi(o, 0, 0) - a ||^2 / t*^2  +  || pi(o, a + (1 - t*) e, t*) - a ||^2 / (1 - t*)^2
    act     a0 = pi(o, 0, 0),  a = pi(o, a0, t*)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glam_training.models.blocks import MLP

T_STAR = 0.9


@dataclass(frozen=True)
class MipConfig:
    """Sizes of the policy head and its chunk."""

    chunk_length: int = 8
    """H, steps that one prediction covers."""
    execute_length: int = 2
    """Steps that are executed before the next prediction."""
    width: int = 512
    """Hidden size."""
    depth: int = 3
    """Residual blocks."""
    dropout: float = 0.1
    """Probability of dropping a hidden unit while training."""


class Mip(nn.Module):
    """pi(o, x, t) on flattened chunks.

    Departure from the publication's U-Net: chunks of eight steps are short enough for a residual MLP, which infers in
    under a millisecond on a CPU.

    Args:
        features: Size of the observation features.
        action_size: A, components of one step.
        config: Sizes.
    """

    def __init__(self, features: int, action_size: int, config: MipConfig) -> None:
        super().__init__()
        self.shape = (config.chunk_length, action_size)
        chunk = config.chunk_length * action_size
        self.net = MLP(features + chunk + 1, chunk, config.width, config.depth, config.dropout)

    def predict(self, o: Tensor, x: Tensor, t: float) -> Tensor:
        """pi(o, x, t): features (B, F) and a noisy chunk (B, H, A) to a chunk (B, H, A)."""
        time = torch.full_like(o[:, :1], t)
        return self.net(torch.cat([o, x.flatten(1), time], dim=1)).unflatten(1, self.shape)

    def forward(self, o: Tensor) -> Tensor:
        """Act: two calls, deterministic. Features (B, F) to a chunk (B, H, A)."""
        zero = o.new_zeros(1).expand(o.shape[0], self.shape[0] * self.shape[1]).unflatten(1, self.shape)
        return self.predict(o, self.predict(o, zero, 0.0), T_STAR)


def mip_loss(mip: Mip, o: Tensor, a: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """The training loss above, averaged over valid steps.

    Args:
        mip: The network.
        o: (B, F) observation features.
        a: (B, H, A) standardised chunk.
        mask: (B, H) 1 where the step lies inside the episode.
        noise: (B, H, A) draws of N(0, I).

    Returns:
        Scalar.
    """
    first = (mip.predict(o, torch.zeros_like(a), 0.0) - a).square() / T_STAR**2
    second = (mip.predict(o, a + (1 - T_STAR) * noise, T_STAR) - a).square() / (1 - T_STAR) ** 2
    return ((first + second).mean(-1) * mask).sum() / mask.sum()
