"""A decoder that commutes with averaging.

A policy regresses latents, so where demonstrations disagree (some still wait, some already lift) it answers with their
mean. A perceptron that was fitted to demonstrations with pauses decodes the mean of "wait" and "lift" to hardly any
motion, and the robot waits for good. An action that is affine in the latent is decoded to the mean action:

    u = A z + b                 actions that are motions of a tool
    u = (A_0 + A(s)) z + b      actions that are turns of joints

Which joints turn for a motion depends on where they are, so there a perceptron of the robot state changes the gain.
Where nothing calls for it, it must not: with a few demonstrations it learns when their grippers are closed, and reads
the same latent as "open" or "close" by where the robot is. And nothing depends on the robot state alone, so the decoder
cannot learn the target's few demonstrations by heart and play them back.
"""

from __future__ import annotations

from torch import Tensor, nn

from glam_training.models.blocks import MLP


class AffineDecoder(nn.Module):
    """Actions affine in the latent.

    Args:
        state: Length of s.
        latent: d.
        action: Length of u.
        width: Hidden size of the gain's perceptron.
        depth: Residual blocks of it.
        dropout: Probability of dropping a hidden unit while training.
        follows_state: The robot state changes the gain.
    """

    def __init__(
        self, state: int, latent: int, action: int, width: int, depth: int, dropout: float, follows_state: bool
    ) -> None:
        super().__init__()
        self.sizes = (state, latent)
        self.constant = nn.Linear(latent, action)
        self.gain: MLP | None = None
        if follows_state:
            self.gain = MLP(state, action * latent, width, depth, dropout)
            nn.init.zeros_(self.gain.read_out[-1].weight)  # untrained, the gain is the same in all states
            nn.init.zeros_(self.gain.read_out[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardised states next to latents, (B, S + d), to standardised actions (B, A)."""
        s, z = x.split(self.sizes, dim=-1)
        action = self.constant(z)
        return action if self.gain is None else action + (self._change(self.gain, s) * z[..., None, :]).sum(-1)

    def mean_gain(self, s: Tensor) -> Tensor:
        """A, or the mean of A_0 + A(s) over standardised states (B, S): (A, d)."""
        constant = self.constant.weight
        return constant if self.gain is None else constant + self._change(self.gain, s).mean(0)

    def _change(self, gain: MLP, s: Tensor) -> Tensor:
        return gain(s).unflatten(-1, (-1, self.sizes[1]))
