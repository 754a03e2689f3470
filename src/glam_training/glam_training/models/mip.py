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

    def predict(self, o: Tensor, x: Tensor, t: float | Tensor) -> Tensor:
        """pi(o, x, t): features (B, F), a noisy chunk (B, H, A) and a time, one for all or (B, 1), to a chunk (B, H,
        A)."""
        time = torch.full_like(o[:, :1], t) if isinstance(t, float) else t
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
    # Both terms in one pass: neither needs the other's answer while training.
    zero = torch.zeros_like(o[:, :1])
    time = torch.cat([zero, torch.full_like(zero, T_STAR)])
    answers = mip.predict(torch.cat([o, o]), torch.cat([torch.zeros_like(a), a + (1 - T_STAR) * noise]), time)
    first, second = ((answer - a).square() for answer in answers.chunk(2))
    return ((first / T_STAR**2 + second / (1 - T_STAR) ** 2).mean(-1) * mask).sum() / mask.sum()
