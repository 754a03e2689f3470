"""The scene that the expert reads off the wire is the one in the cell."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from glam_core.errors import ConfigurationError
from glam_sim.cell import Cell
from glam_sim.tasks import TASKS
from kinova_driver.expert_node import seen_scene

pytestmark = [pytest.mark.ros, pytest.mark.sim]


@pytest.mark.parametrize("task", TASKS)
def test_the_scene_of_a_vector_is_that_of_the_cell(task: str) -> None:
    with Cell(task, "gen3") as cell:
        cell.reset(4)
        scene = seen_scene(cell.scene_vector(), task, cell.arms)
        assert list(scene.objects) == list(cell.objects)
        for arm, hand in cell.hands.items():
            np.testing.assert_allclose(scene.hands[arm].T_world_tool, hand.T_world_tool, atol=5e-3)
            np.testing.assert_array_equal(scene.bases[arm], cell.bases[arm])
        for item in cell.task.objects:
            seen, real = scene.objects[item.name], cell.objects[item.name]
            np.testing.assert_allclose(seen.position, real.position, atol=1e-6)
            np.testing.assert_allclose(item.row(seen), item.row(real), atol=1e-4)


def test_a_scene_of_another_size_or_task_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown task 'lfit'; legal: lift, stack_two"):
        seen_scene(np.zeros(11, np.float32), "lfit", ("arm",))
    with pytest.raises(ConfigurationError, match=r"'lift' with 1 arm\(s\) has 11 numbers, not \(16,\)"):
        seen_scene(np.zeros(16, np.float32), "lift", ("arm",))
    with pytest.raises(ConfigurationError, match="'lift' is for the arms arm; the station has left, right"):
        seen_scene(np.zeros(11, np.float32), "lift", ("left", "right"))
