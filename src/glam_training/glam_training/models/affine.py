"""A decoder that commutes with averaging.

A policy regresses latents, so where demonstrations disagree (some still wait, some already lift) it answers with their
mean. A perceptron that was fitted to demonstrations with pauses decodes the mean of "wait" and "lift" to hardly any
motion, and the robot waits for good. An action that is affine in the latent is decoded to the mean action:

    u = A z + b                 actions that are motions of a tool
    u = (A_0 + A(s)) z + b      actions that are turns of joints

Which joints turn for a motion depends on where they are, so there a perceptron of the robot state changes the gain.
Elsewhere the gain must not follow the state: fitted to a few demonstrations, such a perceptron read the same latent as
an open or a closed gripper depending on where the robot was. Nothing ever depends on the
state alone, so the decoder cannot learn the target's few demonstrations by heart and play them back.
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
        if self.gain is None:
            return action
        return action + (self.gain(s).unflatten(-1, (-1, self.sizes[1])) * z[..., None, :]).sum(-1)
