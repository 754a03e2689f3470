"""Experts and rollouts: they succeed, repeat themselves bit by bit, and record what the contract says."""

import numpy as np
import pytest

from glam_core.errors import ConfigurationError
from glam_core.observation import Observation
from glam_core.spec import ImageSpec, ObsSpec, VectorSpec
from glam_core.tool import ToolCommand
from glam_sim.cell import Cell
from glam_sim.experts import Expert, Noise
from glam_sim.model import EMBODIMENTS
from glam_sim.rollout import AFTER_SUCCESS_STEPS, ExpertController, Recording, rollout
from glam_sim.tasks import TASKS


class _Idle:
    """Keeps the tool where it is, and remembers what it was shown."""

    def __init__(self, obs_spec: ObsSpec):
        self.obs_spec = obs_spec
        self.seen: list[Observation] = []

    def reset(self, cell, seed):
        self.seed = seed

    def act(self, observation, tools, now):
        self.seen.append(observation)
        return {arm: ToolCommand(tool.T_base_tool, 0.0) for arm, tool in tools.items()}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("embodiment", EMBODIMENTS)
def test_experts_succeed_with_small_steps(task: str, embodiment: str):
    with Cell(task, embodiment) as cell:
        episodes = [rollout(cell, ExpertController(task, embodiment), seed) for seed in range(500, 512)]
    assert sum(episode.success for episode in episodes) >= 11
    assert max(episode.steps for episode in episodes) < TASKS[task].horizon
    actions = np.concatenate([episode.action for episode in episodes])
    assert np.linalg.norm(actions[:, :3], axis=1).max() < 0.045
    assert np.abs(actions[:, 3]).max() < 0.2


def test_experts_without_noise_succeed_too():
    with Cell("stack_two", "gen3") as cell:
        calm = Noise(speed=0, grasp_m=0, place_m=0, tremble=0, detour_m=0, detour_chance=0)
        assert rollout(cell, ExpertController("stack_two", "gen3", calm), 3).success


def test_the_hand_held_gripper_is_quicker():
    speeds = {}
    for embodiment in EMBODIMENTS:
        with Cell("stack_two", embodiment) as cell:
            episodes = [rollout(cell, ExpertController("stack_two", embodiment), seed) for seed in range(6)]
        moves = np.concatenate([np.diff(episode.state[:, :3], axis=0) for episode in episodes])
        speeds[embodiment] = np.percentile(np.linalg.norm(moves, axis=1), 90)
    assert 1.15 < speeds["umi"] / speeds["gen3"] < 1.45


def test_an_expert_recovers_when_the_cube_is_taken_away():
    with Cell("lift", "gen3") as cell:
        cell.reset(5)
        expert = Expert("lift", "gen3", seed=5)
        expert.reset(cell)
        for step in range(100):
            if step == 20:
                pose = np.eye(4)
                pose[:3, 3] = [0.4, -0.15, 0.02]
                cell.move_object("red_cube", pose)
            cell.command(expert.act(cell, cell.time))
            cell.advance(0.1)
        assert cell.success()


@pytest.mark.parametrize("embodiment", EMBODIMENTS)
def test_the_same_seed_gives_the_same_bits(embodiment: str):
    record = Recording(cameras=("front",), masks=("side",))
    episodes = []
    for other_seed in (1, 2):
        with Cell("stack_two", embodiment) as cell:
            rollout(cell, ExpertController("stack_two", embodiment), other_seed, max_steps=5)
            episodes.append(rollout(cell, ExpertController("stack_two", embodiment), 77, record=record))
    first, second = episodes
    for name in ("state", "action", "scene"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.array_equal(first.images["front"], second.images["front"])
    assert np.array_equal(first.masks["side"], second.masks["side"])


def test_an_episode_has_one_row_per_step():
    with Cell("lift", "umi", image_size=(32, 48)) as cell:
        record = Recording(cameras=("front", "wrist"), masks=("front",))
        episode = rollout(cell, ExpertController("lift", "umi"), 2, record=record)
        spec = cell.scene_spec()
    steps = episode.steps
    assert episode.success
    assert episode.seed == 2
    assert set(episode.images) == {"front", "wrist"}
    assert episode.images["wrist"].shape == (steps, 32, 48, 3)
    assert episode.masks["front"].shape == (steps, 32, 48)
    assert episode.state.shape == (steps, 10)
    assert episode.action.shape == (steps, 5)
    assert episode.scene.shape == (steps, spec.size)
    assert {episode.state.dtype, episode.action.dtype, episode.scene.dtype} == {np.dtype(np.float32)}


def test_an_episode_ends_shortly_after_success_or_at_the_horizon():
    with Cell("lift", "gen3") as cell:
        episode = rollout(cell, ExpertController("lift", "gen3"), 2)
        assert episode.steps < TASKS["lift"].horizon
        shorter = rollout(cell, ExpertController("lift", "gen3"), 2, max_steps=episode.steps - AFTER_SUCCESS_STEPS)
        assert shorter.success
        failed = rollout(cell, _Idle(ObsSpec()), 2, max_steps=7)
    assert not failed.success
    assert failed.steps == 7


def test_a_controller_sees_what_its_spec_asks_for():
    with Cell("stack_two", "gen3", image_size=(96, 96)) as cell:
        spec = ObsSpec(
            images=(ImageSpec(name="front", height=96, width=96), ImageSpec(name="side", height=32, width=64)),
            vectors=(cell.scene_spec(),),
            history=3,
        )
        idle = _Idle(spec)
        episode = rollout(cell, idle, 9, max_steps=4, record=Recording(cameras=("front",)))
    assert idle.seed == 9
    first, last = idle.seen[0], idle.seen[-1]
    assert last.images["front"].shape == (3, 96, 96, 3)
    assert last.images["side"].shape == (3, 32, 64, 3)
    assert last.vectors["scene"].shape == (3, cell.scene_spec().size)
    assert np.array_equal(first.vectors["scene"][0], first.vectors["scene"][2])
    np.testing.assert_array_equal(last.vectors["scene"], episode.scene[1:4])
    np.testing.assert_array_equal(last.images["front"], episode.images["front"][1:4])
    assert last.stamp == pytest.approx(0.3)


def test_an_idle_action_is_zero():
    with Cell("lift", "gen3") as cell:
        episode = rollout(cell, _Idle(ObsSpec()), 1, max_steps=3)
    np.testing.assert_allclose(episode.action, 0.0, atol=1e-6)


def test_unknown_names_list_the_legal_ones():
    with pytest.raises(ConfigurationError, match="lift, stack_two"):
        ExpertController("lft", "gen3")
    with pytest.raises(ConfigurationError, match="gen3, umi"):
        Expert("lift", "gen33", seed=0)
    unknown = VectorSpec(name="secene", components=("x",), units=("m",))
    with Cell("lift", "umi") as cell, pytest.raises(ConfigurationError, match="did you mean 'scene'"):
        rollout(cell, _Idle(ObsSpec(vectors=(unknown,))), 0)
    with Cell("lift", "umi") as cell, pytest.raises(ConfigurationError, match="did you mean 'front'"):
        rollout(cell, _Idle(ObsSpec()), 0, max_steps=1, record=Recording(cameras=("fronta",)))
