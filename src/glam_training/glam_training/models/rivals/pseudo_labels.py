"""Pseudo-labels: an inverse dynamics model, supervised on the target, labels the auxiliary data with robot actions.

Sources: "Behavioral Cloning from Observation" (arXiv 1805.01954), "Video PreTraining" (arXiv 2206.11795).

    L = || h(o, o') - u ||^2        on labelled data; then MIP on the target's actions and on h's for the others

The same network, inputs and budget as GLAM's inverse model; what it lacks is what unlabelled data could teach it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glam_training.models.blocks import MLP
from glam_training.models.latent import LatentSizes, add_standardizers, normalised_change


class ActionLabeller(nn.Module):
    """Inverse dynamics h."""

    def __init__(self, sizes: LatentSizes) -> None:
        super().__init__()
        add_standardizers(self, sizes)
        self.idm = MLP(2 * sizes.moments, sizes.action, sizes.width, sizes.depth, sizes.dropout)

    def label(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """h(o, o'), standardised actions (B, A)."""
        change = normalised_change(self, moments, next_moments)
        return self.idm(torch.cat([self.observation(moments), change], -1))


def labeller_loss(
    model: ActionLabeller, target: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss above on o, o', s, u of labelled transitions; the state is not looked at, other sources have none."""
    o, o_next, _, u = target
    loss = (model.label(o, o_next) - model.action(u)).square().mean()
    return loss, {"loss": loss}
