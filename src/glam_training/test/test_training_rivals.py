"""The rivals: what each loss teaches which network, and how poses become actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from glam_core.errors import ConfigurationError
from glam_core.pose import tool_down, yaw_of
from glam_core.spec import ActionSpec
from glam_core.tool import ToolState, commands_from_action, state_vector
from glam_training.models.latent import LatentSizes
from glam_training.models.mip import MipConfig
from glam_training.models.rivals.bc_mse import Regression, mse_loss
from glam_training.models.rivals.clam import Clam, clam_loss
from glam_training.models.rivals.laom import FOLLOW, Laom, laom_loss
from glam_training.models.rivals.lapa import TOKENS, VOCABULARY, Lapa, lapa_loss
from glam_training.models.rivals.pose_cotraining import poses_as_actions
from glam_training.models.rivals.pseudo_labels import ActionLabeller, labeller_loss

SIZES = LatentSizes(moments=6, moment_floor=1e-3, state=10, action=5, latent=8, width=16)


def batch(seed: int = 0) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    g = torch.Generator().manual_seed(seed)
    o, change = torch.randn(2, 32, 6, generator=g)
    target = (o[:16], (o + change)[:16], torch.randn(16, 10, generator=g), change[:16, :5])
    return target, (o[16:], (o + change)[16:])


def moved(module: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


@pytest.mark.parametrize(
    ("make", "loss", "decodes"), [(Clam, clam_loss, True), (Laom, laom_loss, True), (Lapa, lapa_loss, False)]
)
def test_labels_reach_only_the_rivals_that_use_them(make, loss, decodes):
    torch.manual_seed(0)
    model = make(SIZES)
    target, auxiliary = batch()
    loss(model, target, auxiliary)[0].backward()
    assert moved(model.idm) and moved(model.forward_model)
    assert moved(model.decoder) == decodes
    torch.manual_seed(1)
    before = loss(model, target, auxiliary)[0]
    torch.manual_seed(1)
    after = loss(model, (*target[:3], target[3] + 1.0), auxiliary)[0]
    assert (before != after) == decodes


def test_laom_follows_without_a_gradient():
    torch.manual_seed(0)
    model = Laom(SIZES)
    start = {name: value.clone() for name, value in model.follower.named_buffers()}
    with torch.no_grad():
        model.encoder.lift.bias.add_(1.0)
    loss, terms = laom_loss(model, *batch())
    loss.backward()
    torch.testing.assert_close(model.follower.lift_bias, start["lift_bias"] + FOLLOW)
    assert not model.follower.lift_bias.requires_grad
    assert terms["embedding_std"] > 0


def test_lapa_speaks_in_its_vocabulary():
    torch.manual_seed(0)
    model = Lapa(SIZES)
    target, _ = batch()
    z = model.infer_mean(*target[:2]).unflatten(1, (TOKENS, SIZES.latent // TOKENS))
    for token in range(TOKENS):
        distance = torch.cdist(z[:, token], model.codes[token]).min(1).values.detach()
        assert float(distance.max()) < 1e-6
        assert len(z[:, token].unique(dim=0)) <= VOCABULARY
    encoded = model.encode(*target[:2])
    chosen = (encoded - model.nearest(encoded)).norm(dim=-1)
    others = (encoded[:, :, None] - model.codes).norm(dim=-1).min(-1).values
    torch.testing.assert_close(chosen, others)


def test_pseudo_labels_are_learned_from_pairs():
    torch.manual_seed(0)
    model = ActionLabeller(SIZES)
    target, _ = batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss, _ = labeller_loss(model, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.1 * losses[0]


def test_mse_is_one_regression():
    head = Regression(2, 1, MipConfig(chunk_length=2, width=8, depth=1, dropout=0.0))
    o, a = torch.randn(3, 2), torch.randn(3, 2, 1)
    torch.testing.assert_close(mse_loss(head, o, a, torch.ones(3, 2)), (head(o) - a).square().mean())
    first = mse_loss(head, o, a, torch.tensor([[1.0, 0.0]]).expand(3, 2))
    torch.testing.assert_close(first, (head(o) - a)[:, 0].square().mean())


def test_poses_as_actions_lead_to_the_next_pose():
    rng = np.random.default_rng(0)
    arms = ("left", "right")
    spec = ActionSpec(arms=arms)
    poses = [{arm: tool_down(rng.uniform(-0.5, 0.5, 3), rng.uniform(-3.1, 3.1)) for arm in arms} for _ in range(4)]
    grips = [0.05, 0.3, 0.5, 0.2]  # opens in the last step
    tools = [{arm: ToolState(p[arm], g) for arm in arms} for p, g in zip(poses, grips, strict=True)]
    state = torch.from_numpy(np.stack([state_vector(t, arms) for t in tools]))
    actions = poses_as_actions(state, torch.tensor([1, 2, 3, 3]), spec).numpy()
    for t in range(3):
        commands = commands_from_action(actions[t], tools[t], spec)
        for arm in arms:
            np.testing.assert_allclose(commands[arm].T_base_tool[:3, 3], poses[t + 1][arm][:3, 3], atol=1e-5)
            turn = yaw_of(commands[arm].T_base_tool) - yaw_of(poses[t + 1][arm])
            assert abs(np.sin(turn / 2)) < 1e-5
    assert actions[:, 4].tolist() == actions[:, 9].tolist() == [1.0, 1.0, 0.0, 1.0]
    with pytest.raises(ConfigurationError, match="relative tool motions only"):
        poses_as_actions(state, torch.tensor([1, 2, 3, 3]), ActionSpec(arms=arms, components=("a",), units=("1",)))
