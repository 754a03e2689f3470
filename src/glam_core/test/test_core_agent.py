"""The agent: when it plans, what it decodes, how latency and the safety filter show."""

import numpy as np
import pytest

from glam_core.agent import Agent
from glam_core.errors import ConfigurationError, SpecError
from glam_core.kinematics import forward
from glam_core.limits import SafetyLimits
from glam_core.observation import Observation
from glam_core.pose import tool_down
from glam_core.spec import ActionSpec, joint_action_spec
from glam_core.tool import ToolState

STEP = 0.1
LIMITS = SafetyLimits(workspace_min=(0, -1, 0), workspace_max=(1, 1, 1))


class Policy:
    """A chunk's latents are (number of the call, index); the decoder moves x by the index in mm and keeps a diary."""

    def __init__(self, size=5):
        self.calls = 0
        self.decoded = []
        self.size = size

    def predict(self, observation):
        self.calls += 1
        return np.stack([np.full(8, self.calls), np.arange(8)], axis=1)

    def decode(self, latent, state):
        self.decoded.append((int(latent[0]), int(latent[1]), float(state[0])))
        action = np.zeros(self.size)
        action[0], action[4] = latent[1] / 1000.0, 0.5
        return action


def make(policy, execute_length=4, **options):
    return Agent(policy.predict, policy.decode, ActionSpec(), 8, execute_length, **options)


def run(agent, steps, start=0.0):
    x, results = 0.4, []
    for index in range(steps):
        now = start + index * STEP
        result = agent.act(Observation(now), {"arm": ToolState(tool_down([x, 0, 0.2], 0), 0.0)}, now)
        x = result.commands["arm"].T_base_tool[0, 3]
        results.append(result)
    return results


def test_it_plans_every_execute_length_steps():
    policy = Policy()
    results = run(make(policy), 10)
    assert [index for index, result in enumerate(results) if result.replanned] == [0, 4, 8]
    assert [entry[:2] for entry in policy.decoded] == [(1 + i // 4, i % 4) for i in range(10)]


def test_it_decodes_with_the_live_state():
    policy = Policy()
    results = run(make(policy), 4)
    xs = [entry[2] for entry in policy.decoded]
    np.testing.assert_allclose(xs, [0.4, 0.4, 0.401, 0.403], atol=1e-6)
    assert results[3].action[0] == pytest.approx(0.003)
    assert results[3].commands["arm"].gripper == pytest.approx(0.5)


def test_latency_skips_steps_and_holds_before_the_first_chunk():
    policy = Policy()
    results = run(make(policy, latency_s=0.15), 12)
    assert [result.held for result in results[:3]] == [True, True, False]
    assert results[0].action is None
    np.testing.assert_allclose(results[0].commands["arm"].T_base_tool[:3, 3], [0.4, 0, 0.2])
    executed = [entry[:2] for entry in policy.decoded]
    assert executed == [(1, 2), (1, 3), (1, 4), (1, 5), (2, 2), (2, 3), (2, 4), (2, 5), (3, 2), (3, 3)]


def test_a_hold_keeps_the_last_grip():
    chunks = iter([[[0.0] * 5] * 2])
    agent = Agent(lambda o: next(chunks), lambda z, s: [0, 0, 0, 0, 1.0], ActionSpec(), 2, 2, latency_s=0.1)
    tools = {"arm": ToolState(tool_down(np.array([0.4, 0.0, 0.2]), 0.0), 0.4)}
    observation = Observation(0.0, {}, {})
    assert agent.act(observation, tools, 0.0).commands["arm"].gripper == pytest.approx(0.4)
    assert agent.act(observation, tools, 0.1).commands["arm"].gripper == 1.0
    agent._steps = 1  # no second prediction: the chunk runs out
    held = agent.act(observation, tools, 0.2)
    assert held.held
    assert held.commands["arm"].gripper == 1.0


def test_reset_starts_over():
    policy = Policy()
    agent = make(policy)
    run(agent, 3, start=50.0)
    agent.reset()
    assert run(agent, 1)[0].replanned
    assert policy.decoded[-1][:2] == (2, 0)


def test_commands_pass_the_safety_filter():
    policy = Policy()
    agent = Agent(policy.predict, lambda z, s: [0.5, 0, 0, 0, 2.0], ActionSpec(), 8, 4, safety_limits=LIMITS)
    (result,) = run(agent, 1)
    assert result.commands["arm"].T_base_tool[0, 3] == pytest.approx(0.4 + LIMITS.approach_speed_m_s * STEP)
    assert result.commands["arm"].gripper == 1.0
    assert [clamp.name for clamp in result.clamps] == ["max_jump_m", "approach_speed_m_s", "gripper"]
    assert result.action[0] == pytest.approx(0.5)


def test_two_arms():
    spec = ActionSpec(arms=("left", "right"))
    action = [0.01, 0, 0, 0, 0, 0.5, 0, 0, 0, 1]
    agent = Agent(lambda o: np.zeros((4, 10)), lambda z, s: action, spec, 4, 2, safety_limits=LIMITS)
    tools = {arm: ToolState(tool_down([0.4, 0, 0.2], 0), 0.0) for arm in spec.arms}
    result = agent.act(Observation(0.0), tools, 0.0)
    assert set(result.commands) == {"left", "right"}
    assert {clamp.arm for clamp in result.clamps} == {"right"}


def test_bad_settings_and_bad_models_are_refused():
    policy = Policy()
    with pytest.raises(ConfigurationError, match="execute_length is 9; expected 1 to 8"):
        make(policy, execute_length=9)
    with pytest.raises(ConfigurationError, match=r"latency_s is 0\.8"):
        make(policy, latency_s=0.8)
    with pytest.raises(SpecError, match=r"chunk of shape \(3, 2\); expected \(8, latent size\)"):
        run(Agent(lambda o: np.zeros((3, 2)), policy.decode, ActionSpec(), 8, 4), 1)
    with pytest.raises(SpecError, match=r"action of shape \(7,\); expected \(5,\)"):
        run(make(Policy(size=7)), 1)


def test_joint_actions_reach_the_arm_as_joints_unless_a_limit_moves_the_pose():
    spec, joints = joint_action_spec(), np.array([0.0, 0.427, np.pi, -1.644, 0.0, -1.071, np.pi / 2])
    tools = {"arm": ToolState(forward(joints).pose("tool"), 0.0, joints)}
    agent = Agent(
        lambda observation: np.tile(np.float32([*([0.01] * 7), 1.0]), (4, 1)),
        lambda latent, state: latent if state.shape == (24,) else None,
        spec,
        chunk_length=4,
        execute_length=4,
        safety_limits=SafetyLimits(workspace_min=(-2.0, -2.0, -2.0), workspace_max=(2.0, 2.0, 2.0)),
    )
    command = agent.act(Observation(stamp=0.0), tools, 0.0).commands["arm"]
    np.testing.assert_allclose(command.joints, joints + 0.01, atol=1e-6)
    np.testing.assert_allclose(command.T_base_tool, forward(joints + 0.01).pose("tool"), atol=1e-6)

    x, y, z = tools["arm"].T_base_tool[:3, 3]
    agent = Agent(
        lambda observation: np.tile(np.float32([*([0.1] * 7), 1.0]), (4, 1)),
        lambda latent, state: latent,
        spec,
        chunk_length=4,
        execute_length=4,
        safety_limits=SafetyLimits(workspace_min=(x, y, z), workspace_max=(x, y, z)),
    )
    step = agent.act(Observation(stamp=0.0), tools, 0.0)
    assert step.clamps
    assert step.commands["arm"].joints is None
    np.testing.assert_allclose(step.commands["arm"].T_base_tool[:3, 3], [x, y, z], atol=1e-9)
