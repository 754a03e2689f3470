"""Target motions at double tempo, for stage 1.

An auxiliary source may be faster than any target demonstration, and nothing else tells the decoder what its motions
are: they come out too small. Two steps of the target, shown as one, are such a motion, and its action is known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glam_core.spec import ActionSpec
from glam_training.contract import Contract

BRISK_SHARE = 1 / 3
"""Share of the target transitions that are shown at double speed."""


def brisk_action(steps: Tensor, gripper: Tensor) -> Tensor:
    """One action that does what several do: their motions add up, each gripper does what it does last.

    Args:
        steps: (..., n, A) actions in order; motions are relative to where the robot is when they begin.
        gripper: (A,) bool, which components are grippers.

    Returns:
        (..., A).
    """
    return torch.where(gripper, steps[..., -1, :], steps.sum(-2))


def gripper_columns(contract: Contract) -> Tensor:
    """Which components of an action are grippers, (A,) bool: positions, where all others are motions."""
    spec = ActionSpec.model_validate(contract.action_spec)
    return torch.tensor([name == "gripper" for name in spec.components] * len(spec.arms))
