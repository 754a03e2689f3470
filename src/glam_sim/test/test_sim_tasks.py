"""What counts as success, and what does not: decided by physics, task by task."""

import numpy as np
import pytest

from glam_core.pose import exp_so3, inverse, tool_down, transform
from glam_core.tool import ToolCommand, ToolState
from glam_sim.cell import HOLD_S, Cell
from glam_sim.experts import Expert
from glam_sim.objects import CUBE_SIZE_M
from glam_sim.scene import scene_from_vector, scene_spec, scene_vector
from glam_sim.tasks import TASKS
from glam_sim.tasks.knock_down import RED

AWAY = tool_down([0.45, 0.0, 0.3], 0.0)
ON_ITS_SIDE = exp_so3([np.pi / 2, 0.0, 0.0])


def _pose(x: float, y: float, z: float, rotation: np.ndarray | None = None) -> np.ndarray:
    return transform(np.eye(3) if rotation is None else rotation, [x, y, z])


def _go(cell: Cell, pose: np.ndarray, gripper: float, seconds: float) -> None:
    for _ in range(round(seconds / 0.1)):
        cell.command({arm: ToolCommand(pose, gripper) for arm in cell.arms})
        cell.advance(0.1)


@pytest.mark.parametrize("task", TASKS)
def test_the_scene_survives_the_way_through_its_vector(task: str):
    with Cell(task, "gen3") as cell:
        cell.reset(7)
        vector = cell.scene_vector()
        scene = scene_from_vector(vector, cell.task)
        tools = {arm: ToolState(inverse(scene.bases[arm]) @ pose, grip) for arm, (pose, grip) in scene.hands.items()}
        again = scene_vector(cell.task, tools, scene.bases, scene.objects)
    assert vector.shape == (scene_spec(cell.task).size,)
    np.testing.assert_allclose(again, vector, atol=1e-5)


def test_a_peg_that_lies_counts_unless_the_other_lies_too():
    with Cell("knock_down", "gen3") as cell:
        for green_stands in (True, False):
            cell.reset(0)
            _go(cell, AWAY, 0.0, 1.0)
            cell.move_object("red_peg", _pose(0.45, 0.1, RED.radius_m, ON_ITS_SIDE))
            if not green_stands:
                cell.move_object("green_peg", _pose(0.45, -0.1, RED.radius_m, ON_ITS_SIDE))
            cell.advance(HOLD_S + 0.5)
            assert cell.success() is green_stands


def test_a_peg_that_was_gripped_does_not_count():
    with Cell("knock_down", "gen3") as cell:
        cell.reset(0)
        _go(cell, tool_down([0.45, 0.0, 0.08], 0.0), 0.0, 2.0)
        cell.move_object("green_peg", _pose(0.45, 0.18, 0.06))
        cell.move_object("red_peg", _pose(0.45, 0.0, 0.06))
        assert not cell.gripped("red_peg")
        _go(cell, tool_down([0.45, 0.0, 0.08], 0.0), 1.0, 1.0)
        assert cell.gripped("red_peg")
        _go(cell, AWAY, 0.0, 2.0)
        cell.move_object("red_peg", _pose(0.45, -0.1, RED.radius_m, ON_ITS_SIDE))
        cell.advance(HOLD_S + 0.5)
        assert not cell.success()


def test_closed_fingers_that_push_grip_nothing():
    with Cell("knock_down", "gen3") as cell:
        cell.reset(0)
        cell.move_object("green_peg", _pose(0.45, 0.18, 0.06))
        _go(cell, tool_down([0.38, 0.0, 0.085], 0.0), 1.0, 2.0)
        cell.move_object("red_peg", _pose(0.45, 0.0, 0.06))
        for x in np.arange(0.38, 0.52, 0.015):
            _go(cell, tool_down([x, 0.0, 0.085], 0.0), 1.0, 0.1)
            assert not cell.gripped("red_peg")
        _go(cell, AWAY, 1.0, 2.0)
        assert cell.success()


def test_a_cube_in_the_bowl_counts_and_one_on_its_rim_does_not():
    with Cell("place", "gen3") as cell:
        for height, inside in ((0.06, True), (0.2, True), (CUBE_SIZE_M / 2, False)):
            cell.reset(1)
            _go(cell, AWAY, 0.0, 1.5)
            bowl = cell.objects["bowl"].position
            assert bowl[2] == 0.0
            aside = 0.0 if inside else 0.11
            cell.move_object("red_cube", _pose(bowl[0], bowl[1] + aside, height))
            cell.advance(1.5)
            assert cell.success() is inside
            np.testing.assert_array_equal(cell.objects["bowl"].position, bowl)


def test_a_cube_that_is_held_in_the_bowl_does_not_count():
    with Cell("place", "gen3") as cell:
        cell.reset(1)
        bowl = cell.objects["bowl"].position
        over = tool_down([bowl[0], bowl[1], 0.045], 0.0)
        _go(cell, over, 0.0, 2.0)
        cell.move_object("red_cube", _pose(bowl[0], bowl[1], 0.03))
        _go(cell, over, 1.0, 1.0)
        assert not cell.success()


def test_three_on_each_other_count_and_in_another_order_do_not():
    orders = {("blue_cube", "green_cube", "red_cube"): True, ("green_cube", "blue_cube", "red_cube"): False}
    with Cell("stack_three", "gen3") as cell:
        for order, counts in orders.items():
            cell.reset(2)
            _go(cell, tool_down([0.35, 0.0, 0.3], 0.0), 0.0, 1.0)
            for level, name in enumerate(order):
                cell.move_object(name, _pose(0.45, 0.0, (level + 0.5) * CUBE_SIZE_M))
            cell.advance(1.0)
            assert cell.success() is counts


def test_two_arms_have_their_own_frames_and_meet_in_the_middle():
    with Cell("stack_three", "gen3") as cell:
        cell.reset(3)
        for arm in cell.arms:
            start = (cell.bases[arm] @ cell.tools[arm].T_base_tool)[:3, 3]
            assert start[1] * {"left": 1.0, "right": -1.0}[arm] > 0.1
        there = {arm: tool_down([0.58, 0.1, 0.1], 0.0) for arm in cell.arms}
        for _ in range(30):
            cell.command({arm: ToolCommand(pose, 0.0) for arm, pose in there.items()})
            cell.advance(0.1)
        for arm, pose in there.items():
            np.testing.assert_allclose(cell.tools[arm].T_base_tool, pose, atol=2e-3)
            assert cell.joints[arm].names == tuple(f"joint_{i}" for i in range(1, 8))
        assert set(cell.cameras) == {"front", "back", "left_wrist", "right_wrist", "overview"}
        assert not np.array_equal(cell.render("left_wrist"), cell.render("right_wrist"))


@pytest.mark.parametrize("embodiment", ["gen3", "umi"])
def test_the_hands_of_two_arms_collide(embodiment: str):
    with Cell("stack_three", embodiment) as cell:
        cell.reset(3)
        for _ in range(40):
            cell.command({arm: ToolCommand(tool_down([0.6, 0.0, 0.15], 0.0), 0.0) for arm in cell.arms})
            cell.advance(0.1)
        left, right = ((cell.bases[arm] @ cell.tools[arm].T_base_tool)[1, 3] for arm in cell.arms)
        assert left - right > 0.01


def test_the_idle_arm_keeps_out_of_the_way_and_a_cube_is_handed_over():
    with Cell("stack_three", "umi") as cell:
        seed = next(s for s in range(50) if _needs_hand_over(cell, s))
        expert = Expert("stack_three", "umi", seed)
        expert.reset(cell)
        seen_in_middle, gap = False, np.inf
        for _ in range(cell.task.horizon):
            cell.command(expert.act(cell, cell.time))
            cell.advance(0.1)
            left, right = ((cell.bases[arm] @ cell.tools[arm].T_base_tool)[:3, 3] for arm in cell.arms)
            gap = min(gap, float(np.linalg.norm(left - right)))
            seen_in_middle |= any(
                cell.touching(name) == {"table"} and abs(cell.objects[name].position[1]) < 0.02
                for name in ("red_cube", "green_cube")
            )
            if cell.success():
                break
        assert cell.success()
        assert seen_in_middle
        assert gap > 0.1


def test_the_expert_leaves_the_tower_of_three_alone():
    with Cell("stack_three", "gen3") as cell:
        cell.reset(4)
        expert = Expert("stack_three", "gen3", 4)
        expert.reset(cell)

        def act() -> None:
            cell.command(expert.act(cell, cell.time))
            cell.advance(0.1)

        while not cell.success():
            assert cell.time < 0.1 * cell.task.horizon
            act()
        for _ in range(30):
            act()
            assert cell.task.holds(cell)


def _needs_hand_over(cell: Cell, seed: int) -> bool:
    cell.reset(seed)
    sides = {name: float(state.position[1]) for name, state in cell.objects.items()}
    return sides["blue_cube"] > 0.1 and sides["red_cube"] < -0.1
