"""The cell with two arms is its own mirror image: what the left arm does on its side, the right one could do on its.

At the plane between the arms, y = 0 of the world, the arms change places; in the world and in each arm's base frame the
sign of y changes, and that of every turn about z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from glam_core.errors import ConfigurationError
from glam_training.contract import Contract
from glam_training.slots import Slots

_CHANGES = ("y", "yaw", "sin_yaw", "sin_4yaw", "r10", "r01", "r21")
_STAYS = ("x", "z", "gripper", "cos_yaw", "cos_4yaw", "r00", "r20", "r11", "red", "green", "blue")


def with_mirror_image(slots: Slots, contract: Contract) -> Slots:
    """A source followed by its mirror image, twice as many episodes; from state, with two arms and tool actions.

    Raises:
        ConfigurationError: observations, states or actions whose mirror image is not known.
    """
    first, second = contract.action_spec["arms"]
    actions = [f"{arm}.{name}" for arm in (first, second) for name in contract.action_spec["components"]]
    look = _mirror(contract.obs_spec["vectors"][0]["components"], first, second)
    state = _mirror(contract.state_spec["components"], first, second)
    action = _mirror(actions, first, second)
    ends = slots.episode_ends
    return replace(
        slots,
        moments=torch.cat([slots.moments, look(slots.moments)]),
        glimpses=torch.cat([slots.glimpses, slots.glimpses]),
        episode_ends=np.concatenate([ends, ends[-1] + ends]),
        state=None if slots.state is None else torch.cat([slots.state, state(slots.state)]),
        action=None if slots.action is None else torch.cat([slots.action, action(slots.action)]),
    )


def _mirror(components: Sequence[str], first: str, second: str) -> Callable[[Tensor], Tensor]:
    """The mirror image of vectors (N, D) with these components."""
    partner = {first: second, second: first}
    sources, signs = [], []
    for component in components:
        owner, _, quantity = component.rpartition(".")
        if quantity not in (*_CHANGES, *_STAYS):
            raise ConfigurationError(f"the mirror image of {component} is not known")
        sources.append(components.index(f"{partner.get(owner, owner)}.{quantity}"))
        signs.append(-1.0 if quantity in _CHANGES else 1.0)
    columns, sign = torch.tensor(sources), torch.tensor(signs)
    return lambda values: values[:, columns] * sign
