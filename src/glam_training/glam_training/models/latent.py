"""What every latent action model of the bench consists of besides its own networks.

Each model maps a pair of observations to a latent (`infer_mean`) and a latent with the robot state to an action
(`decode`), and holds the same standardisers under the same names, so that relabelling, policy and export treat all of
them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from glam_training.models.blocks import STATE_FLOOR, ActionScale, Standardizer

CHANGE_LIMIT = 5.0  # standard deviations; an object that appears or vanishes is an outlier, not a motion
OBSERVATION_NOISE = 0.3
"""Noise on observations while a model of stage 1 trains, in standard deviations: a few target demonstrations are learnt
by heart otherwise, and latents of unseen motions mean nothing to the decoder."""
STATE_NOISE = 0.5
"""The same for robot states."""
DROPOUT = 0.2
"""Probability of dropping a hidden unit, for the same reason."""
TARGET_WEIGHT = 0.1
"""Weight of target transitions in what a forward model learns, where others have 0.9: a batch holds as many of both, so
each of the few target transitions is drawn far more often."""


@dataclass(frozen=True)
class LatentSizes:
    """Sizes of a latent action model."""

    moments: int
    """M, length of an observation."""
    moment_floor: float
    """Least standard deviation of an observation's component that counts; a tenth of it for changes."""
    state: int
    """Length of s."""
    action: int
    """Length of u."""
    latent: int
    """d."""
    width: int = 256
    """Hidden size of every network."""
    depth: int = 1
    """Residual blocks of every network."""
    dropout: float = DROPOUT
    """Probability of dropping a hidden unit of any network while training."""


class LatentModel(Protocol):
    """A latent action model."""

    observation: Standardizer
    change: Standardizer
    state: Standardizer
    action: ActionScale
    latent: Standardizer
    decoder: nn.Module

    def infer_mean(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """Observations (B, M) now and k steps later to latents (B, d)."""
        ...

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Raw states (B, S) and latents (B, d) to standardised actions (B, A)."""
        ...


def add_standardizers(model: nn.Module, sizes: LatentSizes) -> None:
    """Give a model the standardisers of `LatentModel`, not yet fitted, with the same noise as GLAM's."""
    model.observation = Standardizer(sizes.moments, minimum_std=sizes.moment_floor, noise=OBSERVATION_NOISE)
    model.change = Standardizer(sizes.moments, minimum_std=0.1 * sizes.moment_floor)
    model.state = Standardizer(sizes.state, minimum_std=STATE_FLOOR, noise=STATE_NOISE)
    model.action = ActionScale(sizes.action)
    model.latent = Standardizer(sizes.latent)


def fit_standardizers(
    model: LatentModel, moments: Tensor, changes: Sequence[Tensor], state: Tensor, action: Tensor
) -> None:
    """Fit all standardisers but that of the latents.

    Args:
        model: whose standardisers are fitted.
        moments: (N, M) observations of all sources.
        changes: per source (N_i, M) changes over k steps.
        state: (N_T, S) target states.
        action: (N_T, A) target actions.
    """
    model.observation.fit(moments)
    model.change.fit(torch.cat(list(changes)))
    model.change.mean.zero_()
    model.state.fit(state)
    model.action.fit(action)


def normalised_change(model: LatentModel, moments: Tensor, next_moments: Tensor) -> Tensor:
    """o' - o in standard deviations, clipped: what forward models predict; absolute targets would leave z unused."""
    return model.change(next_moments - moments).clamp(-CHANGE_LIMIT, CHANGE_LIMIT)


def forward_loss(predicted: Tensor, wanted: Tensor, targets: int, weight: float | Tensor = TARGET_WEIGHT) -> Tensor:
    """Squared error of a forward model over both sources.

    Args:
        predicted: (B, M), target transitions first.
        wanted: (B, M).
        targets: how many target transitions there are; if all are, they count in full.
        weight: of the target transitions.

    Returns:
        Scalar.
    """
    error = (predicted - wanted).square()
    if targets == len(error):
        return error.mean()
    return weight * error[:targets].mean() + (1.0 - weight) * error[targets:].mean()
