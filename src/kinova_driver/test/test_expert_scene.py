"""The scene that the expert reads off the wire is the one in the cell."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from glam_core.errors import ConfigurationError
from glam_core.pose import wrap_angle
from glam_sim.cell import Cell
from glam_sim.tasks import TASKS
from kinova_driver.expert_node import scene_from_vector

pytestmark = [pytest.mark.ros, pytest.mark.sim]


@pytest.mark.parametrize("task", TASKS)
def test_the_scene_of_a_vector_is_that_of_the_cell(task: str) -> None:
    with Cell(task, "gen3") as cell:
        cell.reset(4)
        scene = scene_from_vector(cell.scene_vector(), task, "arm")
        assert list(scene.cubes) == list(cell.cubes)
        np.testing.assert_allclose(scene.tools["arm"].T_base_tool, cell.tools["arm"].T_base_tool, atol=5e-3)
        for name, cube in cell.cubes.items():
            np.testing.assert_allclose(scene.cubes[name].position, cube.position, atol=1e-6)
            assert wrap_angle(4.0 * (scene.cubes[name].yaw - cube.yaw)) == pytest.approx(0.0, abs=1e-4)


def test_a_scene_of_another_size_or_task_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown task 'lfit'; legal: lift, stack_two"):
        scene_from_vector(np.zeros(11, np.float32), "lfit", "arm")
    with pytest.raises(ConfigurationError, match=r"'lift' with one arm has 11 numbers, not \(16,\)"):
        scene_from_vector(np.zeros(16, np.float32), "lift", "arm")
