"""Sources: each can be told apart by images and scene vectors, and people recover from what goes wrong."""

import numpy as np
import pytest

from glam_core.errors import ConfigurationError, SafetyError
from glam_core.pose import tool_down
from glam_core.spec import joint_action_spec
from glam_core.tool import ToolCommand, commands_from_action
from glam_sim.cell import Cell
from glam_sim.noise import Noise
from glam_sim.rollout import ExpertController, Recording, rollout
from glam_sim.sources import GEN3, SOURCES, TWIN, UMI, Source

CALM = {"speed": 0.0, "grasp_m": 0.0, "place_m": 0.0, "tremble": 0.0, "detour_m": 0.0, "detour_chance": 0.0}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("task", ["stack_two", "knock_down"])
def test_people_of_every_source_succeed(task: str, source: str):
    with Cell.of(task, source) as cell:
        controller = ExpertController.of(task, cell.source)
        assert sum(rollout(cell, controller, seed).success for seed in range(700, 708)) >= 7


def test_a_seed_decides_look_and_motion_of_a_source():
    episodes = []
    for other in (1, 2):
        with Cell.of("lift", "twin") as cell:
            rollout(cell, ExpertController.of("lift", TWIN), other, max_steps=3)
            episodes.append(
                rollout(cell, ExpertController.of("lift", TWIN), 9, record=Recording(cameras=("front", "wrist")))
            )
    first, second = episodes
    assert np.array_equal(first.scene, second.scene)
    assert np.array_equal(first.images["front"], second.images["front"])
    assert np.array_equal(first.images["wrist"], second.images["wrist"])


def test_sources_differ_in_images_and_in_scene_vectors():
    frames, scenes = {}, {}
    for name in SOURCES:
        with Cell.of("stack_two", name) as cell:
            spec = cell.scene_spec()
            scenes[name], images = [], []
            for seed in range(6):
                cell.reset(seed)
                scenes[name].append(dict(zip(spec.components, cell.scene_vector(), strict=True)))
                images.append(cell.render("front").mean(axis=(0, 1)))
            frames[name] = np.array(images)
    for first, second in (("gen3", "umi"), ("gen3", "twin"), ("umi", "twin")):
        gap = np.abs(frames[first].mean(0) - frames[second].mean(0)).max()
        assert gap > 3 * max(frames[first].std(0).max(), frames[second].std(0).max())
        look = [np.mean([scene["look.blue"] for scene in scenes[name]]) for name in (first, second)]
        assert abs(look[0] - look[1]) > 0.08
    assert scenes["gen3"][0]["red_cube.x"] == pytest.approx(scenes["umi"][0]["red_cube.x"], abs=1e-3)
    assert scenes["gen3"][0]["arm.gripper"] == pytest.approx(0.0, abs=0.01)
    assert scenes["umi"][0]["arm.gripper"] == pytest.approx(0.05, abs=0.01)


def test_a_tool_offset_is_in_what_is_measured_and_in_what_is_commanded():
    with Cell.of("lift", "umi") as cell:
        cell.reset(0)
        goal = tool_down([0.45, 0.05, 0.2], 0.4)
        for _ in range(25):
            cell.command({"arm": ToolCommand(goal, 0.0)})
            cell.advance(0.1)
        np.testing.assert_allclose(cell.tools["arm"].T_base_tool, goal, atol=2e-3)
        off = cell.hands["arm"].T_world_tool[:3, 3] - goal[:3, 3]
        assert np.linalg.norm(off) == pytest.approx(np.linalg.norm(UMI.readings.tool_offset_m), abs=2e-3)


def test_the_twin_is_late_and_its_cameras_stand_elsewhere():
    with Cell.of("lift", "gen3") as target, Cell.of("lift", "twin") as twin:
        for cell in (target, twin):
            cell.reset(4)
            pose = cell.tools["arm"].T_base_tool.copy()
            pose[0, 3] += 0.02
            cell.command({"arm": ToolCommand(pose, 0.0)})
            start = cell.hands["arm"].T_world_tool[0, 3]
            cell.advance(TWIN.dynamics.latency_s)
            moved = cell.hands["arm"].T_world_tool[0, 3] - start
            assert bool(moved < 0.001) is (cell is twin)
        masks = [cell.render_mask("front") == 1 for cell in (target, twin)]
        assert not np.array_equal(*masks)


@pytest.mark.parametrize("mishap", ["miss_chance", "slip_chance", "retry_chance", "pause_chance"])
def test_people_recover(mishap: str):
    clumsy = Noise(**CALM, **{mishap: 0.1 if mishap == "pause_chance" else 1.0})
    with Cell("stack_two", "gen3") as cell:
        calm, troubled = (
            [rollout(cell, ExpertController("stack_two", "gen3", noise), seed) for seed in range(4)]
            for noise in (Noise(**CALM), clumsy)
        )
    assert all(episode.success for episode in troubled)
    assert np.mean([e.steps for e in troubled]) > np.mean([e.steps for e in calm]) + 1


def test_actions_of_joints_replay():
    spec = joint_action_spec()
    with Cell("lift", "gen3") as cell:
        episode = rollout(cell, ExpertController("lift", "gen3"), 3, record=Recording(action_space="joint"))
        assert episode.success
        assert episode.action.shape == (episode.steps, 8)
        assert episode.state.shape == (episode.steps, 24)
        cell.reset(3)
        for action in episode.action:
            cell.command(commands_from_action(action, cell.tools, spec))
            cell.advance(0.1)
        assert cell.success()


def test_joints_go_where_they_are_sent():
    with Cell("lift", "gen3") as cell:
        cell.reset(2)
        tool = cell.tools["arm"]
        goal = tool.joints + np.array([0.1, -0.05, 0.02, 0.06, -0.1, 0.04, 0.2])
        for _ in range(10):
            cell.command({"arm": ToolCommand(tool.T_base_tool, 0.0, goal)})
            cell.advance(0.1)
        np.testing.assert_allclose(cell.tools["arm"].joints, goal, atol=5e-3)


def test_bad_names_and_values_are_errors_that_help():
    with pytest.raises(ConfigurationError, match="legal: gen3, umi, twin"):
        Cell.of("lift", "twn")
    with pytest.raises(ConfigurationError, match="the source 'umi' is of umi, not gen3"):
        Cell("lift", "gen3", source=SOURCES["umi"])
    with Cell("lift", "umi") as cell, pytest.raises(ConfigurationError, match="has no joints"):
        rollout(cell, ExpertController("lift", "umi"), 0, record=Recording(action_space="joint"))
    with Cell("lift", "gen3") as cell, pytest.raises(SafetyError, match="joints for 'arm' are not finite"):
        cell.command({"arm": ToolCommand(np.eye(4), 0.0, np.full(7, np.nan))})


def test_the_target_looks_as_the_plain_cell_but_for_its_light():
    assert isinstance(GEN3, Source)
    with Cell("lift", "gen3") as plain, Cell.of("lift", "gen3") as target:
        for cell in (plain, target):
            cell.reset(8)
        difference = plain.render("front").astype(int) - target.render("front").astype(int)
        assert np.array_equal(plain.render_mask("front"), target.render_mask("front"))
        assert 0 < np.abs(difference).max() < 40
