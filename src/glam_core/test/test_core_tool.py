"""Tools, state vectors and actions: round trips for one arm and two, and bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glam_core.errors import SpecError
from glam_core.kinematics import forward
from glam_core.pose import exp_so3, tool_down, transform, yaw_of
from glam_core.spec import ActionSpec, joint_action_spec, robot_state_spec
from glam_core.tool import (
    ToolCommand,
    ToolState,
    action_from_commands,
    commands_from_action,
    state_vector,
    tools_from_state_vector,
)

ARMS = ("left", "right")
positions = arrays(np.float64, 3, elements=st.floats(-1, 1))
yaws = st.floats(-3.1, 3.1)


@st.composite
def down_tools(draw):
    return {arm: ToolState(tool_down(draw(positions), draw(yaws)), draw(st.floats(0, 1))) for arm in ARMS}


@given(arrays(np.float64, (2, 3), elements=st.floats(-3, 3)), positions, st.floats(0, 1))
def test_state_round_trip(vectors, position, gripper):
    tools = {arm: ToolState(transform(exp_so3(v), position), gripper) for arm, v in zip(ARMS, vectors, strict=True)}
    state = state_vector(tools, ARMS)
    assert state.shape == (20,)
    assert state.dtype == np.float32
    back = tools_from_state_vector(state, ARMS)
    for arm in ARMS:
        np.testing.assert_allclose(back[arm].T_base_tool, tools[arm].T_base_tool, atol=1e-5)
        assert back[arm].gripper == pytest.approx(gripper, abs=1e-6)


def test_state_layout():
    state = state_vector({"arm": ToolState(tool_down([0.1, 0.2, 0.3], 0.0), 0.5)}, ("arm",))
    np.testing.assert_allclose(state, [0.1, 0.2, 0.3, 1, 0, 0, 0, -1, 0, 0.5], atol=1e-7)


@given(down_tools(), arrays(np.float64, 10, elements=st.floats(-0.5, 0.5)))
def test_action_round_trip(tools, action):
    spec = ActionSpec(arms=ARMS)
    back = action_from_commands(commands_from_action(action, tools, spec), tools, spec)
    np.testing.assert_allclose(back, action, atol=1e-6)


@given(down_tools(), arrays(np.float64, 10, elements=st.floats(-0.5, 0.5)))
def test_commands_point_down_and_are_relative_to_the_measured_tool(tools, action):
    commands = commands_from_action(action, tools, ActionSpec(arms=ARMS))
    for arm, part in zip(ARMS, action.reshape(2, 5), strict=True):
        moved = commands[arm].T_base_tool
        np.testing.assert_allclose(moved[:3, 3], tools[arm].T_base_tool[:3, 3] + part[:3], atol=1e-9)
        np.testing.assert_allclose(moved[:3, 2], [0, 0, -1], atol=1e-9)
        assert commands[arm].gripper == pytest.approx(part[4])


def test_a_tilted_tool_is_told_to_point_down_again():
    tilted = transform(exp_so3([0.2, 0, 0]) @ tool_down([0, 0, 0], 0.7)[:3, :3], [0.4, 0, 0.2])
    command = commands_from_action(np.zeros(5), {"arm": ToolState(tilted, 0)}, ActionSpec())["arm"]
    np.testing.assert_allclose(command.T_base_tool[:3, 2], [0, 0, -1], atol=1e-12)
    assert yaw_of(command.T_base_tool) == pytest.approx(yaw_of(tilted))


def test_tools_keep_a_copy_of_their_pose():
    pose = tool_down([0, 0, 0], 0)
    tool = ToolState(pose, 0)
    pose[0, 3] = 9.0
    assert tool.T_base_tool[0, 3] == 0.0


def test_bad_input_says_what_is_wrong():
    tools = {"arm": ToolState(np.eye(4), 0.0)}
    with pytest.raises(SpecError, match=r"the action of 1 arm\(s\) has shape \(5,\), not \(7,\)"):
        commands_from_action(np.zeros(7), tools, ActionSpec())
    with pytest.raises(SpecError, match=r"the state of 1 arm\(s\) has shape \(10,\)"):
        tools_from_state_vector(np.zeros(20), ("arm",))
    with pytest.raises(SpecError, match="unknown arm 'left'; legal: arm"):
        state_vector(tools, ("left",))
    with pytest.raises(SpecError, match="command"):
        action_from_commands({}, tools, ActionSpec())
    with pytest.raises(SpecError, match=r"\(4, 4\), not \(3, 3\)"):
        ToolCommand(np.eye(3), 0.0)
    joints = ActionSpec(components=("j1", "j2"), units=("rad", "rad"))
    with pytest.raises(SpecError, match="j1, j2 can not be turned into commands"):
        commands_from_action(np.zeros(2), tools, joints)


def test_actions_that_move_joints_round_trip_and_lead_where_kinematics_say():
    spec = joint_action_spec(ARMS)
    rng = np.random.default_rng(4)
    tools = {}
    for arm in ARMS:
        joints = rng.uniform(-1.0, 1.0, size=7)
        tools[arm] = ToolState(forward(joints).pose("tool"), 0.3, joints)
    action = rng.uniform(-0.1, 0.1, size=spec.size).astype(np.float32)
    commands = commands_from_action(action, tools, spec)
    for arm in ARMS:
        np.testing.assert_allclose(commands[arm].T_base_tool, forward(commands[arm].joints).pose("tool"))
    np.testing.assert_allclose(action_from_commands(commands, tools, spec), action, atol=1e-6)
    assert state_vector(tools, ARMS, with_joints=True).shape == (robot_state_spec(ARMS, with_joints=True).size,)


def test_actions_that_move_joints_need_measured_joints():
    tools = {"arm": ToolState(tool_down([0.4, 0.0, 0.2], 0.0), 0.0)}
    with pytest.raises(SpecError, match="joints of 'arm' are not known"):
        commands_from_action(np.zeros(8), tools, joint_action_spec())
    with pytest.raises(SpecError, match=r"joints \(7,\), not \(6,\)"):
        ToolState(np.eye(4), 0.0, np.zeros(6))
