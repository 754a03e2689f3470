"""Behaviour cloning with plain MSE: MIP's network, asked once.

    train   || pi(o, 0, 0) - a ||^2
    act     a = pi(o, 0, 0)

What MIP adds to it is the second regression, from a noisy chunk back to the chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glam_training.models.mip import Mip


class Regression(Mip):
    """pi(o, 0, 0) with MIP's network, so that sizes are equal."""

    def forward(self, o: Tensor) -> Tensor:
        """Act: one call. Features (B, F) to a chunk (B, H, A)."""
        zero = o.new_zeros(1).expand(o.shape[0], self.shape[0] * self.shape[1]).unflatten(1, self.shape)
        return self.predict(o, zero, 0.0)


def mse_loss(head: Regression, o: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    """The loss above, averaged over valid steps.

    Args:
        head: The network.
        o: (B, F) observation features.
        a: (B, H, A) standardised chunk.
        mask: (B, H) 1 where the step lies inside the episode.
    """
    error = (head.predict(o, torch.zeros_like(a), 0.0) - a).square()
    return (error.mean(-1) * mask).sum() / mask.sum()
