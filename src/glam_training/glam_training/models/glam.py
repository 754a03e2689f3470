"""GLAM stage 1: two coupled generative models that share one latent action space.

Source: "Imitation from Heterogeneous Demonstrations using Grounded Latent-Action World Models" (arXiv 2606.21672). The exact losses and sizes
are not public; this is a reconstruction that keeps to everything that is.

Symbols, as in the paper: o observation features now, o' features k steps later, s robot state, u robot actions over those k steps, z latent action.
    heterogeneous model   p(z) p_th(o' | o, z),               posterior q_phi(z | o, o'): the inverse dynamics model (IDM)
    target model          p(z) p_th(o' | o, z) p_om(u | s, z), posterior q_psi(z | s, u): the action encoder
The forward model p_th is shared, and neither it nor the IDM is ever told the source of a transition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from glam_training.models.blocks import MLP, Standardizer
from glam_training.models.perception import FeatureNet

CHANGE_LIMIT = 5.0  # standard deviations; a slot that appears or vanishes is an outlier, not a motion


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
    cross_weight: float = 1.0
    """l_x, weight of the action likelihood under the IDM's latents: the decoder must read both."""
    alignment_weight: float = 0.1
    """g, weight of the posterior alignment after its warm-up."""
    alignment_balance: float = 0.8
    """al: 1 moves only the IDM towards the action encoder, 0 only the other way."""
    alignment_warmup: float = 0.2
    """Fraction of the training over which g rises from 0."""


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
    """Feature net, IDM q_phi, action encoder q_psi, shared forward model p_th and action decoder p_om.

    Args:
        features: Turns perceived slots into features.
        state_size: Length of s.
        action_size: Length of u.
        config: Sizes.
    """

    def __init__(self, features: FeatureNet, state_size: int, action_size: int, config: GlamConfig) -> None:
        super().__init__()
        d, width, depth = config.latent_size, config.width, config.depth
        moments = features.standardize.mean.numel()
        self.features = features
        self.change = Standardizer(moments, minimum_std=1e-5)
        self.state = Standardizer(state_size)
        self.action = Standardizer(action_size, minimum_std=1e-5)
        self.latent = Standardizer(d)  # fitted when the data are relabelled: what the policy predicts has unit variance
        self.idm = MLP(2 * features.size + moments, 2 * d, width, depth)
        self.action_encoder = MLP(state_size + action_size, 2 * d, width, depth)
        self.forward_model = MLP(features.size + d, moments, width, depth)
        self.decoder = MLP(state_size + d, action_size, width, depth)

    def normalised_change(self, moments: Tensor, next_moments: Tensor) -> Tensor:
        """o' - o in standard deviations, clipped: the forward model's target. Absolute targets would leave z unused."""
        return self.change(next_moments - moments).clamp(-CHANGE_LIMIT, CHANGE_LIMIT)

    def infer(self, slots: tuple[Tensor, Tensor], next_slots: tuple[Tensor, Tensor]) -> Gaussian:
        """q_phi(z | o, o'). Slots are (moments (B, M), glimpses (B, G, 3, P, P))."""
        return self.infer_from_features(self.features(*slots), self.features(*next_slots), slots[0], next_slots[0])

    def infer_from_features(self, o: Tensor, o_next: Tensor, moments: Tensor, next_moments: Tensor) -> Gaussian:
        """q_phi(z | o, o') from features that are already computed; the change of the moments is given to it outright."""
        change = self.normalised_change(moments, next_moments)
        return _gaussian(self.idm(torch.cat([o, o_next, change], -1)))

    def encode_action(self, s: Tensor, u: Tensor) -> Gaussian:
        """q_psi(z | s, u) from raw state (B, S) and raw actions (B, A)."""
        return _gaussian(self.action_encoder(torch.cat([self.state(s), self.action(u)], -1)))

    def predict_change(self, o: Tensor, z: Tensor) -> Tensor:
        """Mean of p_th(o' | o, z): the normalised change (B, M) that z makes to the scene with features `o`."""
        return self.forward_model(torch.cat([o, z], -1))

    def decode(self, s: Tensor, z: Tensor) -> Tensor:
        """Mean of p_om(u | s, z), standardised, from raw state (B, S) and latents (B, d)."""
        return self.decoder(torch.cat([self.state(s), z], -1))


class Transitions(NamedTuple):
    """A batch: slots now and k steps later; state and actions where they are known (target data), else None."""

    slots: tuple[Tensor, Tensor]
    next_slots: tuple[Tensor, Tensor]
    state: Tensor | None
    action: Tensor | None


def glam_loss(
    model: Glam, target: Transitions, auxiliary: Transitions | None, config: GlamConfig, alignment: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of stage 1; likelihoods are unit-variance Gaussians on normalised quantities, so -log p is a squared error up to a constant.

    Args:
        model: The two coupled models.
        target: Transitions of the target robot, with states and actions.
        auxiliary: Transitions of any other source, without; None trains on target data alone.
        config: Weights.
        alignment: g(step), the present weight of the alignment.

    Returns:
        The scalar loss and its terms by name, detached.
    """
    s, u = target.state, target.action
    assert s is not None and u is not None, "target transitions carry states and actions"
    observed = [_observed(model, target)] + ([_observed(model, auxiliary)] if auxiliary is not None else [])
    o, change, q_phi_all = (
        torch.cat(parts) for parts in zip(*[(t.o, t.change, torch.cat(t.q, -1)) for t in observed], strict=True)
    )
    q_phi_all = Gaussian(*q_phi_all.chunk(2, -1))
    size = s.shape[0]
    q_phi = Gaussian(q_phi_all.mean[:size], q_phi_all.log_var[:size])
    q_psi = model.encode_action(s, u)
    z_all, z_psi = q_phi_all.sample(), q_psi.sample()
    z_phi = z_all[:size]
    u_normalised = model.action(u)

    forward_phi = (model.predict_change(o, z_all) - change).square().mean()
    forward_psi = (model.predict_change(o[:size], z_psi) - change[:size]).square().mean()
    action_psi = (model.decode(s, z_psi) - u_normalised).square().mean()
    action_phi = (model.decode(s, z_phi) - u_normalised).square().mean()
    heterogeneous = forward_phi + config.beta * kl_to_prior(q_phi_all)
    grounded = forward_psi + config.action_weight * action_psi + config.beta * kl_to_prior(q_psi)
    al = config.alignment_balance
    # Per dimension, so that the weight means the same for every latent size.
    aligned = (al * kl(q_psi.detach(), q_phi) + (1 - al) * kl(q_psi, q_phi.detach())) / config.latent_size
    loss = heterogeneous + grounded + config.cross_weight * action_phi + alignment * aligned
    terms = {
        "loss": loss, "forward_idm": forward_phi, "forward_action_encoder": forward_psi, "action_own": action_psi,
        "action_cross": action_phi, "alignment_kl": aligned, "kl_prior": kl_to_prior(q_phi_all),
    }  # fmt: skip
    return loss, {name: value.detach() for name, value in terms.items()}


class _Observed(NamedTuple):
    o: Tensor
    change: Tensor
    q: Gaussian


def _observed(model: Glam, transitions: Transitions) -> _Observed:
    o, o_next = model.features(*transitions.slots), model.features(*transitions.next_slots)
    q = model.infer_from_features(o, o_next, transitions.slots[0], transitions.next_slots[0])
    return _Observed(o, model.normalised_change(transitions.slots[0], transitions.next_slots[0]), q)


def _gaussian(parameters: Tensor) -> Gaussian:
    mean, log_var = parameters.chunk(2, dim=-1)
    return Gaussian(mean, log_var.clamp(-8.0, 4.0))
