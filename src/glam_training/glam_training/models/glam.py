"""GLAM stage 1: two coupled generative models that share one latent action space.

Source: "Imitation from Heterogeneous Demonstrations using Grounded Latent-Action World Models" (arXiv 2606.21672). The
    exact losses and sizes
are not public; this is a reconstruction that keeps to everything that is.

Symbols, as in the paper: o mask moments of the observation now, o' k steps later, s robot state, u robot actions over
those k steps, z latent action.
    heterogeneous model   p(z) p_th(o' | o, z),               posterior q_phi(z | o, o'): the inverse dynamics model
    (IDM)
    target model          p(z) p_th(o' | o, z) p_om(u | s, z), posterior q_psi(z | s, u): the action encoder
The forward model p_th is shared, and neither it nor the IDM is ever told the source of a transition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from glam_core.errors import ConfigurationError
from glam_training.models.affine import AffineDecoder
from glam_training.models.blocks import MLP, STATE_FLOOR, ActionScale, Standardizer
from glam_training.models.latent import (
    CHANGE_LIMIT,
    DROPOUT,
    OBSERVATION_NOISE,
    STATE_NOISE,
    TARGET_WEIGHT,
    forward_loss,
)


@dataclass(frozen=True)
class GlamConfig:
    """Sizes of stage 1 and weights of its loss."""

    latent_size: int = 16
    """d, the size of a latent action."""
    step: int = 1
    """k, how many observation steps one latent action spans."""
    width: int = 256
    """Hidden size of every network."""
    depth: int = 1
    """Residual blocks of every network."""
    beta: float = 1e-4
    """Weight of the KL terms. 1e-3 and more starve the latent."""
    action_weight: float = 1.0
    """l_a, weight of the action likelihood under the action encoder's latents."""
    target_weight: float = TARGET_WEIGHT
    """Weight of target transitions in what the forward model and the IDM learn, where auxiliary ones have the rest."""
    cross_weight: float = 1.0
    """l_x, weight of the action likelihood under the IDM's latents: the decoder must read both."""
    alignment_weight: float = 0.1
    """g, weight of the posterior alignment after its warm-up."""
    alignment_balance: float = 0.8
    """al: 1 moves only the IDM towards the action encoder, 0 only the other way."""
    alignment_warmup: float = 0.2
    """Fraction of the training over which g rises from 0."""
    observation_noise: float = OBSERVATION_NOISE
    """Noise on o while training, in standard deviations; the change from o to o' stays as it is."""
    state_noise: float = STATE_NOISE
    """The same for s."""
    dropout: float = DROPOUT
    """Probability of dropping a hidden unit of any network while training."""
    affine: bool = False
    """The decoder is affine in the latent (`AffineDecoder`) instead of a perceptron of it."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigurationError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if not 0.0 <= self.target_weight <= 1.0:
            raise ConfigurationError(f"target_weight must be between 0 and 1, got {self.target_weight}")
        for name in ("observation_noise", "state_noise"):
            if getattr(self, name) < 0.0:
                raise ConfigurationError(f"{name} must not be negative, got {getattr(self, name)}")


UNREGULARISED = GlamConfig(target_weight=0.5, observation_noise=0.0, state_noise=0.0, dropout=0.0)
"""Stage 1 without what keeps it from learning few demonstrations by heart."""


class GlamWeights(NamedTuple):
    """Weights of the terms of the loss as tensors, so that runs that differ in nothing else can be trained together;
    names as in `GlamConfig`."""

    beta: Tensor
    action_weight: Tensor
    target_weight: Tensor
    cross_weight: Tensor
    alignment_balance: Tensor


class Gaussian(NamedTuple):
    """Diagonal Gaussian: mean and log variance, both (B, d)."""

    mean: Tensor
    log_var: Tensor

    def sample(self) -> Tensor:
        """A reparameterised draw."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_var).exp()

    def detach(self) -> Gaussian:
        """sg[.]: the same distribution without a gradient."""
        return Gaussian(self.mean.detach(), self.log_var.detach())


def kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) of diagonal Gaussians, summed over dimensions and averaged over the batch, in nats."""
    ratio = (q.log_var - p.log_var).exp()
    distance = (q.mean - p.mean).square() / p.log_var.exp()
    return 0.5 * (ratio + distance - 1.0 - (q.log_var - p.log_var)).sum(-1).mean()


def kl_to_prior(q: Gaussian) -> Tensor:
    """KL(q || N(0, I)), summed over dimensions and averaged over the batch, in nats."""
    return 0.5 * (q.log_var.exp() + q.mean.square() - 1.0 - q.log_var).sum(-1).mean()


class Glam(nn.Module):
    """IDM q_phi, action encoder q_psi, shared forward model p_th and action decoder p_om.

    Observations are the moments of object masks and nothing else: glimpses would show the IDM which embodiment it
    looks at, and its
    latents would come apart by source.

    Args:
        moment_size: M, length of the moment vector.
        moment_floor: Least standard deviation of a moment that counts; for changes of moments, a tenth of it.
        state_size: Length of s.
        action_size: Length of u.
        config: Sizes.
        moves_joints: Whether actions are turns of joints: then the gain of an affine decoder follows the robot state.
    """

    def __init__(
        self,
        moment_size: int,
        moment_floor: float,
        state_size: int,
        action_size: int,
        config: GlamConfig,
        moves_joints: bool = False,
    ) -> None:
        super().__init__()
        d, size = config.latent_size, (config.width, config.depth, config.dropout)
        self.observation = Standardizer(moment_size, minimum_std=moment_floor, noise=config.observation_noise)
        self.change = Standardizer(moment_size, minimum_std=0.1 * moment_floor)
        self.state = Standardizer(state_size, minimum_std=STATE_FLOOR, noise=config.state_noise)
        self.action = ActionScale(action_size)
        self.latent = Standardizer(d)  # fitted when the data are relabelled
        self.idm = MLP(2 * moment_size, 2 * d, *size)
        self.action_encoder = MLP(state_size + action_size, 2 * d, *size)
        self.forward_model = MLP(moment_size + d, moment_size, *size)
        if config.affine:
            self.decoder: nn.Module = AffineDecoder(state_size, d, action_size, *size, moves_joints)
        else:
            self.decoder = MLP(state_size + d, action_size, *size)

    def normalised_change(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """o' - o in standard deviations, clipped: the forward model's target. Absolute targets would leave z unused."""
        return self.change(next_moments - moments).clamp(-CHANGE_LIMIT, CHANGE_LIMIT)

    def infer(self, moments: Tensor, next_moments: Tensor) -> Gaussian:
        """q_phi(z | o, o') from moments (B, M) now and k steps later."""
        change = self.normalised_change(moments, next_moments)
        return _gaussian(self.idm(torch.cat([self.observation(moments), change], -1)))

    def infer_mean(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """Mean of q_phi(z | o, o'), (B, d): what data are labelled with."""
        return self.infer(moments, next_moments).mean

    def encode_action(self, s: Tensor, u: Tensor) -> Gaussian:
        """q_psi(z | s, u) from raw state (B, S) and raw actions (B, A)."""
        return _gaussian(self.action_encoder(torch.cat([self.state(s), self.action(u)], -1)))

    def predict_change(self, moments: Tensor, z: Tensor) -> Tensor:
        """Mean of p_th(o' | o, z): the normalised change (B, M) that z (B, d) makes to a scene with these moments (B,
        M)."""
        return self.forward_model(torch.cat([self.observation(moments), z], -1))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Mean of p_om(u | s, z), standardised, from raw state (B, S) and latents (B, d)."""
        return self.decoder(torch.cat([self.state(s), z], -1))


class Transitions(NamedTuple):
    """A batch: moments (B, M) now and k steps later; state and actions where they are known (target data), else
    None."""

    moments: Tensor
    next_moments: Tensor
    state: Tensor | None
    action: Tensor | None


def glam_loss(
    model: Glam,
    target: Transitions,
    auxiliary: Transitions | None,
    weights: GlamConfig | GlamWeights,
    alignment: float | Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of stage 1; likelihoods are unit-variance Gaussians on normalised quantities, so -log p is a squared error
    up to a constant.

    Args:
        model: The two coupled models.
        target: Transitions of the target robot, with states and actions.
        auxiliary: Transitions of any other source, without; None trains on target data alone.
        weights: Weights of the terms.
        alignment: g(step), the present weight of the alignment.

    Returns:
        The scalar loss and its terms by name, detached.
    """
    s, u = target.state, target.action
    assert s is not None and u is not None, "target transitions carry states and actions"
    both = [target] if auxiliary is None else [target, auxiliary]
    o, o_next = torch.cat([t.moments for t in both]), torch.cat([t.next_moments for t in both])
    change = model.normalised_change(o, o_next)
    q_phi_all = model.infer(o, o_next)
    size = s.shape[0]
    q_phi = Gaussian(q_phi_all.mean[:size], q_phi_all.log_var[:size])
    q_psi = model.encode_action(s, u)
    z_all, z_psi = q_phi_all.sample(), q_psi.sample()
    z_phi = z_all[:size]
    u_normalised = model.action(u)

    # Each network is asked once, for both kinds of latents.
    predicted = model.predict_change(torch.cat([o, o[:size]]), torch.cat([z_all, z_psi]))
    decoded_psi, decoded_phi = model.decode(torch.cat([s, s]), torch.cat([z_psi, z_phi])).chunk(2)
    forward_phi = forward_loss(predicted[: len(o)], change, size, weights.target_weight)
    forward_psi = forward_loss(predicted[len(o) :], change[:size], size)
    action_psi = (decoded_psi - u_normalised).square().mean()
    action_phi = (decoded_phi - u_normalised).square().mean()
    heterogeneous = forward_phi + weights.beta * kl_to_prior(q_phi_all)
    own = 1.0 if auxiliary is None else weights.target_weight  # the same, whichever latent tells of the motion
    grounded = own * forward_psi + weights.action_weight * action_psi + weights.beta * kl_to_prior(q_psi)
    al = weights.alignment_balance
    # Per dimension, so that the weight means the same for every latent size.
    aligned = (al * kl(q_psi.detach(), q_phi) + (1 - al) * kl(q_psi, q_phi.detach())) / q_psi.mean.shape[-1]
    loss = heterogeneous + grounded + weights.cross_weight * action_phi + alignment * aligned
    terms = {
        "loss": loss, "forward_idm": forward_phi, "forward_action_encoder": forward_psi, "action_own": action_psi,
        "action_cross": action_phi, "alignment_kl": aligned, "kl_prior": kl_to_prior(q_phi_all),
    }  # fmt: skip
    return loss, {name: value.detach() for name, value in terms.items()}


def _gaussian(parameters: Tensor) -> Gaussian:
    mean, log_var = parameters.chunk(2, dim=-1)
    return Gaussian(mean, log_var.clamp(-8.0, 4.0))
