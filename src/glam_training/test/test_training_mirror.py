"""A demonstration of two arms and its mirror image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from glam_core.errors import ConfigurationError
from glam_core.spec import ActionSpec
from glam_core.tool import ToolState, commands_from_action
from glam_sim.layout import PAIR
from glam_training.contract import Contract, make_contract
from glam_training.demos import DemosConfig, record_demos
from glam_training.mirror import with_mirror_image
from glam_training.slots import Slots

MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
OTHER = {"left": "right", "right": "left"}


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory) -> tuple[Contract, Slots]:
    path = tmp_path_factory.mktemp("mirror") / "target"
    store = record_demos(DemosConfig(path, "stack_three", source="gen3", episodes=1, workers=1)).store
    arrays = {key: torch.from_numpy(values) for key, values in store.load(("scene", "state", "action")).items()}
    none = torch.zeros(len(arrays["scene"]), 0, 3, 1, 1, dtype=torch.uint8)
    slots = Slots(arrays["scene"], none, store.episode_ends, arrays["state"], arrays["action"])
    return make_contract(store, "scene", ()), slots


def _tools(state: np.ndarray) -> dict[str, ToolState]:
    """What a robot state (20,) says."""
    tools = {}
    for arm, (*position, r00, r10, r20, r01, r11, r21, gripper) in zip(OTHER, state.reshape(2, 10), strict=True):
        pose = np.eye(4)
        x, y = np.array([r00, r10, r20]), np.array([r01, r11, r21])
        pose[:3] = np.column_stack([x, y, np.cross(x, y), position])
        tools[arm] = ToolState(pose, gripper)
    return tools


def test_the_second_half_is_the_first_one_with_the_arms_exchanged(demonstration):
    contract, slots = demonstration
    both = with_mirror_image(slots, contract)
    n = len(slots.moments)
    assert both.episode_ends.tolist() == [n, 2 * n]
    for name in ("moments", "state", "action", "glimpses"):
        torch.testing.assert_close(getattr(both, name)[:n], getattr(slots, name))
        assert len(getattr(both, name)) == 2 * n
    again = with_mirror_image(
        Slots(*(x[n:] for x in (both.moments, both.glimpses)), slots.episode_ends, both.state[n:], both.action[n:]),
        contract,
    )
    torch.testing.assert_close(again.moments[n:], slots.moments)


def test_what_the_arms_are_told_is_mirrored(demonstration):
    contract, slots = demonstration
    both, n = with_mirror_image(slots, contract), len(slots.moments)
    spec = ActionSpec.model_validate(contract.action_spec)
    for t in (0, n // 3, n // 2):
        plain, mirrored = (
            commands_from_action(both.action[i].numpy(), _tools(both.state[i].numpy()), spec) for i in (t, n + t)
        )
        for arm, command in plain.items():
            image = mirrored[OTHER[arm]]
            # The tool's own y axis changes as well: a left hand's mirror image is no left hand.
            np.testing.assert_allclose(image.T_base_tool, MIRROR @ command.T_base_tool @ MIRROR, atol=1e-5)
            assert image.gripper == command.gripper


def test_states_and_scenes_stay_of_one_world(demonstration):
    contract, slots = demonstration
    both, n = with_mirror_image(slots, contract), len(slots.moments)
    components = contract.obs_spec["vectors"][0]["components"]
    for place in PAIR.arms:
        columns = [components.index(f"{place.name}.{axis}") for axis in "xyz"]
        for i in (0, n, 2 * n - 1):
            T_base_tool = _tools(both.state[i].numpy())[place.name].T_base_tool
            seen = both.moments[i, columns].numpy()
            np.testing.assert_allclose((place.T_world_base @ T_base_tool)[:3, 3], seen, atol=1e-5)


def test_what_has_no_known_mirror_image_is_refused(demonstration):
    contract, slots = demonstration
    joints = {**contract.state_spec, "components": ["left.joint_1", "right.joint_1"]}
    with pytest.raises(ConfigurationError, match=r"mirror image of left\.joint_1"):
        with_mirror_image(slots, Contract(**{**contract.__dict__, "state_spec": joints}))
