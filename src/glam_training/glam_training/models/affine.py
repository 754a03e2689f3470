"""A decoder that commutes with averaging.

A policy regresses latents, so where demonstrations disagree (some still wait, some already lift) it answers with their
mean. A perceptron that was fitted to demonstrations with pauses decodes the mean of "wait" and "lift" to hardly any
motion, and the robot waits for good. An action that is affine in the latent is decoded to the mean action:

    u = (A_0 + A(s)) z + b

Nothing in it depends on the robot state alone, so the decoder cannot learn the target's few demonstrations by heart
and play them back.
"""

from __future__ import annotations

from torch import Tensor, nn

from glam_training.models.blocks import MLP


class AffineDecoder(nn.Module):
    """Actions affine in the latent, with a gain that the robot state changes.

    Args:
        state: Length of s.
        latent: d.
        action: Length of u.
        width: Hidden size of the gain's perceptron.
        depth: Residual blocks of it.
        dropout: Probability of dropping a hidden unit while training.
    """

    def __init__(self, state: int, latent: int, action: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.sizes = (state, latent)
        self.constant = nn.Linear(latent, action)
        self.gain = MLP(state, action * latent, width, depth, dropout)
        nn.init.zeros_(self.gain.read_out[-1].weight)  # untrained, the gain is the same in all states
        nn.init.zeros_(self.gain.read_out[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardised states next to latents, (B, S + d), to standardised actions (B, A)."""
        s, z = x.split(self.sizes, dim=-1)
        return self.constant(z) + (self._change(s) * z[..., None, :]).sum(-1)

    def gain_at(self, s: Tensor) -> Tensor:
        """A_0 + A(s) of standardised states (B, S): (B, A, d)."""
        return self.constant.weight + self._change(s)

    def _change(self, s: Tensor) -> Tensor:
        return self.gain(s).unflatten(-1, (-1, self.sizes[1]))
