"""Building blocks shared by every network of this package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STATE_FLOOR = 0.05
"""Least standard deviation of a component of the robot state (m, 1, rad).

Demonstrations hold the tool upright to a milliradian. Standardised by that, the five milliradians by which a real arm
tilts when it is late would be five standard deviations, where no decoder was ever asked, and no answer can be trusted.
"""


class MLP(nn.Module):
    """Residual multi-layer perceptron: a linear lift, `depth` pre-norm residual blocks, a linear read-out.

    Args:
        inputs: Size of the input vector.
        outputs: Size of the output vector.
        width: Hidden size.
        depth: Number of residual blocks.
        dropout: Probability of dropping a hidden unit inside a block.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.lift = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
            )
            for _ in range(depth)
        )
        self.read_out = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        h = self.lift(x)
        for block in self.blocks:
            h = h + block(h)
        return self.read_out(h)


class Standardizer(nn.Module):
    """Affine map to zero mean and unit variance, kept as buffers so that it travels with weights and exported graphs.

    Args:
        size: Length of the vectors.
        minimum_std: Floor of the standard deviation: a component that never varies must not be amplified.
        noise: Standard deviation of the noise that is added to what comes out, in training mode only: a network that
            reads it cannot tell one example from the others by its exact values, and learn them by heart.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, minimum_std: float = 1e-3, noise: float = 0.0) -> None:
        super().__init__()
        self.minimum_std = minimum_std
        self.noise = noise
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Take mean and standard deviation from `values` (N, size)."""
        self.mean.copy_(values.mean(0))
        self.std.copy_(values.std(0).clamp_min(self.minimum_std))

    def forward(self, x: Tensor) -> Tensor:
        """Raw to standardised, over the last axis."""
        standard = (x - self.mean) / self.std
        return standard + self.noise * torch.randn_like(standard) if self.training and self.noise else standard

    def inverse(self, x: Tensor) -> Tensor:
        """Standardised to raw, over the last axis."""
        return x * self.std + self.mean


class ActionScale(Standardizer):
    """Standardises actions, and undoes it; components that only ever are 0 or 1 in the demonstrations come out as 0 or
    1.

    A gripper that is asked to close a little in mid-air is a situation that no demonstration shows; from there it
    drifts shut.
    """

    binary: Tensor

    def __init__(self, size: int) -> None:
        super().__init__(size, minimum_std=1e-5)
        self.register_buffer("binary", torch.zeros(size, dtype=torch.bool))

    def fit(self, values: Tensor) -> None:
        """Take mean, standard deviation and the binary components from `values` (N, size)."""
        super().fit(values)
        self.binary.copy_(((values == 0.0) | (values == 1.0)).all(0) & (values.std(0) > 0))

    def inverse(self, x: Tensor) -> Tensor:
        """Standardised to raw, over the last axis."""
        raw = super().inverse(x)
        return torch.where(self.binary, (raw > 0.5).to(raw.dtype), raw)
