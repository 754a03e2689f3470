"""Actions come back as they were, and a gripper that is only ever open or closed stays so."""

from __future__ import annotations

import torch

from glam_training.models.blocks import ActionScale


def fitted(gripper: torch.Tensor) -> ActionScale:
    motion = torch.linspace(-0.03, 0.03, len(gripper))[:, None].expand(-1, 4)
    scale = ActionScale(5)
    scale.fit(torch.cat([motion, gripper[:, None]], dim=1))
    return scale


def test_round_trip_of_continuous_actions():
    gripper = torch.linspace(0.0, 1.0, 50)
    scale = fitted(gripper)
    actions = torch.cat([torch.full((50, 4), 0.01), gripper[:, None]], dim=1)
    torch.testing.assert_close(scale.inverse(scale(actions)), actions, atol=1e-6, rtol=0.0)
    assert not scale.binary.any()


def test_a_binary_gripper_comes_out_open_or_closed():
    scale = fitted((torch.arange(50) > 20).float())
    assert scale.binary.tolist() == [False, False, False, False, True]
    unsure = scale(torch.tensor([[0.01, 0.0, 0.0, 0.0, 0.3], [0.01, 0.0, 0.0, 0.0, 0.8]]))
    out = scale.inverse(unsure)
    assert out[:, 4].tolist() == [0.0, 1.0]
    torch.testing.assert_close(out[:, 0], torch.full((2,), 0.01), atol=1e-6, rtol=0.0)


def test_a_gripper_that_never_moves_is_not_forced():
    assert not fitted(torch.zeros(50)).binary.any()
