"""Pose co-training: the auxiliary tool's own measured poses stand in for actions, beside the target's actions.

Source: what users of hand-held grippers do, "Universal Manipulation Interface" (arXiv 2402.10329). It needs the pose of
the auxiliary tool in the target's frame at every step, which GLAM does not.

    u_t = (p_{t+1} - p_t, yaw_{t+1} - yaw_t, grip)        per arm; then MIP on both sources

A hand has no gripper command. Fingers that close or hold something count as closed, those that open or stand open as
open: the best that a measured width can say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from glam_core.errors import ConfigurationError
from glam_core.spec import ARM_STATE_COMPONENTS, ActionSpec
from glam_core.tool import ARM_ACTION_COMPONENTS

_OPEN = 0.12
"""Fingers less closed than this stand open."""
_STILL = 0.02
"""Smaller changes of the fingers in a step are none."""


def poses_as_actions(state: Tensor, next_rows: Tensor, spec: ActionSpec) -> Tensor:
    """Tool motions as actions.

    Args:
        state: (N, S) robot states, per arm position (m, base), rotation 6D, gripper.
        next_rows: (N,) row of the next frame in the episode; the last one repeats.
        spec: of the actions wanted.

    Returns:
        (N, A) actions: per arm x y z (m), yaw (rad), gripper 0 or 1.

    Raises:
        ConfigurationError: `spec` is not of relative tool motions.
    """
    if spec.components != ARM_ACTION_COMPONENTS:
        raise ConfigurationError("poses stand in for relative tool motions only, not for " + ", ".join(spec.components))
    parts = []
    for now in state.unflatten(1, (len(spec.arms), len(ARM_STATE_COMPONENTS))).unbind(1):
        later = now[next_rows]
        yaw, later_yaw = (torch.atan2(x[:, 4], x[:, 3]) for x in (now, later))
        turn = torch.remainder(later_yaw - yaw + torch.pi, 2 * torch.pi) - torch.pi
        closed = (later[:, 9] > _OPEN) & (later[:, 9] > now[:, 9] - _STILL)
        parts.append(torch.cat([later[:, :3] - now[:, :3], turn[:, None], closed[:, None].float()], 1))
    return torch.cat(parts, 1)
