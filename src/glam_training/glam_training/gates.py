"""What `glam probe` measures of a latent space: each gate of training a policy is a function of transitions.

Every number is taken on demonstrations that stage 1 has not seen. z: latent mean of the IDM.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glam_training.latent_space import View
from glam_training.models.glam import Gaussian, Glam

PAIRED_CHOICES = 64
"""Transitions among which the partner of a paired one is to be found."""
PAIRED_DRAWS = 50
TILT_RAD = 0.01
"""How far the tool is turned, about a random axis, to see whether the decoder bears it."""


@dataclass(frozen=True)
class Gate:
    """One measurement and what is wanted of it; `passed` is None where it is reported only."""

    name: str
    value: float
    wanted: str
    passed: bool | None


def gate(name: str, value: float | Tensor, wanted: str, passed: bool | None) -> Gate:
    """A gate with plain numbers."""
    return Gate(name, float(value), wanted, passed)


@dataclass(frozen=True)
class ForwardLosses:
    """Mean squared errors of the forward model on one source.

    Attributes:
        true: with the transition's own latent.
        shuffled: with the latent of any other transition of the source.
        zero: with z = 0.
        swapped: with the latent of the transition of another source whose tool motion is nearest.
    """

    true: float
    shuffled: float
    zero: float
    swapped: float


def forward_losses(glam: Glam, view: View, other: View) -> ForwardLosses:
    """What the forward model makes of right and wrong latents."""

    def loss(z: Tensor) -> float:
        return float((glam.predict_change(view.o, z) - view.change).square().mean())

    return ForwardLosses(
        loss(view.z), loss(shuffled(view.z)), loss(torch.zeros_like(view.z)), loss(swapped(view, other))
    )


def shuffled(z: Tensor) -> Tensor:
    """The same latents (M, d) in another order, always the same one."""
    return z[torch.randperm(len(z), generator=torch.Generator().manual_seed(0))]


def swapped(view: View, other: View, most: int = 4000) -> Tensor:
    """For each transition of `view` the latent of that of `other` with the nearest tool motion: (M, d)."""
    scale = tool_motion(view).std(0).clamp_min(1e-6)
    wanted, given = tool_motion(view) / scale, tool_motion(other)[:most] / scale
    nearest = torch.cat([torch.cdist(part, given).argmin(1) for part in wanted.split(2000)])
    return other.z[nearest]


def forward_gates(losses: ForwardLosses, name: str) -> list[Gate]:
    """The forward model needs the latent, and the right one."""
    gain = 1.0 - losses.true / losses.shuffled
    return [
        gate(f"forward loss with the true z, share below shuffled z ({name})", gain, ">= 0.3", gain >= 0.3),
        gate(
            f"forward loss with the true z, share below z = 0 ({name})",
            1.0 - losses.true / losses.zero,
            "reported",
            None,
        ),
        gate(
            f"forward loss with z of the nearest motion of another source, share below shuffled z ({name})",
            1.0 - losses.swapped / losses.shuffled,
            "reported",
            None,
        ),
    ]


def posteriors(glam: Glam, target: View) -> tuple[Gaussian, Gaussian]:
    """q_phi (IDM) and q_psi (action encoder) on target transitions."""
    q_psi = glam.encode_action(target.state, target.action)
    # The view keeps means alone; the observation's change stands for the next observation.
    change = target.change
    mean, log_var = glam.idm(torch.cat([glam.observation(target.o), change], -1)).chunk(2, -1)
    return Gaussian(mean, log_var.clamp(-8.0, 4.0)), q_psi


def kl_per_dimension(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) of diagonal Gaussians by dimension, averaged over transitions: (d,) nats."""
    ratio = (q.log_var - p.log_var).exp()
    distance = (q.mean - p.mean).square() / p.log_var.exp()
    return 0.5 * (ratio + distance - 1.0 - (q.log_var - p.log_var)).mean(0)


def kl_to_prior_per_dimension(q: Gaussian) -> Tensor:
    """KL(q || N(0, I)) by dimension: (d,) nats. Dimensions near zero are not in use."""
    return kl_per_dimension(q, Gaussian(torch.zeros_like(q.mean), torch.zeros_like(q.log_var)))


def grounding_gates(glam: Glam, target: View) -> list[Gate]:
    """IDM and action encoder agree, and the decoder reads both."""
    q_phi, q_psi = posteriors(glam, target)
    cosine = torch.cosine_similarity(q_phi.mean, q_psi.mean, dim=-1).mean()
    u = glam.action(target.action)
    own = (glam.decode(target.state, q_psi.mean) - u).square().mean()
    cross = (glam.decode(target.state, q_phi.mean) - u).square().mean()
    ratio = float((cross / own).sqrt())
    kl = kl_per_dimension(q_psi, q_phi)
    return [
        gate("posterior gap: cosine of IDM and action-encoder means", cosine, "> 0.9", bool(cosine > 0.9)),
        gate("posterior gap: KL of action encoder to IDM, mean over dimensions (nats)", kl.mean(), "reported", None),
        gate("posterior gap: the same, largest dimension", kl.max(), "reported", None),
        gate("action error, IDM latents over action-encoder latents", ratio, "< 1.5", ratio < 1.5),
        gate("action error of IDM latents, share of the actions' deviation", cross.sqrt(), "reported", None),
    ]


def tilt_gate(glam: Glam, target: View) -> Gate:
    """An arm that is late tilts its tool by more than any demonstration does: what the decoder makes of that."""
    generator = torch.Generator().manual_seed(0)
    states = target.state.unflatten(1, (target.arms, -1)).clone()
    axis = TILT_RAD * torch.nn.functional.normalize(torch.randn(*states.shape[:2], 3, generator=generator), dim=-1)
    for column in (slice(3, 6), slice(6, 9)):  # a small turn moves a direction by its cross product
        states[..., column] += torch.cross(axis, states[..., column], dim=-1)
    change = glam.decode(states.flatten(1), target.z) - glam.decode(target.state, target.z)
    share = float(change.detach().square().mean().sqrt())
    name = f"change of action with a tool turned by {1e3 * TILT_RAD:g} mrad, share of the actions' deviation"
    return gate(name, share, "< 0.1", share < 0.1)


def motion_gates(target: View, auxiliary: View) -> list[Gate]:
    """The same latent means the same motion in every source, and does not give the source away."""
    weights = ridge(target.z, tool_motion(target))
    on_target, on_auxiliary = (r_squared(predict(weights, view.z), tool_motion(view)) for view in (target, auxiliary))
    drop = on_target - on_auxiliary
    accuracy = source_accuracy(target, auxiliary)
    name = auxiliary.name
    return [
        gate("linear probe z to tool motion: R2 on the target", on_target, "reported", None),
        gate(f"linear probe z to tool motion: drop of R2 ({name})", drop, "< 0.1", drop < 0.1),
        gate(f"source classifier on motion-matched latents ({name})", accuracy, "near 0.5 (< 0.65)", accuracy < 0.65),
    ]


def paired_gate(first: View, second: View) -> Gate:
    """One motion seen with two embodiments: is the partner's latent the nearest?

    Args:
        first: transitions of one embodiment.
        second: the same transitions, row by row, of the other.
    """
    generator = torch.Generator().manual_seed(0)
    hits, count = 0, min(PAIRED_CHOICES, len(first.z))
    for _ in range(PAIRED_DRAWS):
        rows = torch.randperm(len(first.z), generator=generator)[:count]
        nearest = torch.cdist(first.z[rows], second.z[rows]).argmin(1)
        hits += int((nearest == torch.arange(count)).sum())
    share = hits / (PAIRED_DRAWS * count)
    return gate(f"paired renders: nearest latent is the partner's, among {count}", share, "> 0.8", share > 0.8)


def tool_motion(view: View) -> Tensor:
    """Displacement of each tool (m) and change of each gripper over one latent: (M, 4 * arms)."""
    moved = (view.next_state - view.state).unflatten(1, (view.arms, -1))
    return torch.cat([moved[..., :3], moved[..., 9:10]], -1).flatten(1)


def ridge(x: Tensor, y: Tensor, strength: float = 1e-3) -> Tensor:
    """Weights of a linear map with a constant, lightly regularised."""
    x = torch.cat([x, torch.ones(len(x), 1)], -1).double()
    return torch.linalg.solve(x.T @ x + strength * len(x) * torch.eye(x.shape[1]), x.T @ y.double())


def predict(weights: Tensor, x: Tensor) -> Tensor:
    """The linear map applied."""
    return torch.cat([x, torch.ones(len(x), 1)], -1).double() @ weights


def r_squared(predicted: Tensor, true: Tensor) -> float:
    """Mean over the components of the share of variance that is explained."""
    residual = (predicted - true).square().sum(0)
    return float((1.0 - residual / (true - true.mean(0)).double().square().sum(0)).mean())


def source_accuracy(target: View, auxiliary: View) -> float:
    """Held-out accuracy of a linear source classifier on pairs of latents with the nearest motion."""
    motion = tool_motion(target), tool_motion(auxiliary)
    scale = motion[0].std(0).clamp_min(1e-6)
    a, b = motion[0][:2000] / scale, motion[1][:4000] / scale
    distance, partner = torch.cdist(a, b).min(1)
    keep = distance <= distance.quantile(0.5)
    x = torch.cat([target.z[:2000][keep], auxiliary.z[:4000][partner[keep]]])
    n = int(keep.sum())
    y = torch.cat([-torch.ones(n), torch.ones(n)])[:, None]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    train = torch.cat([order[: n // 2], order[: n // 2] + n])
    test = torch.cat([order[n // 2 :], order[n // 2 :] + n])
    weights = ridge(x[train], y[train])
    return float((predict(weights, x[test]).sign() == y[test]).double().mean())
