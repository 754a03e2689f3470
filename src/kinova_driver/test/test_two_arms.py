"""Two arms in one cell: what happens to one leaves the other alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from glam_core.gen3 import CONTROL_STEP_S
from kinova_driver.episode import Episode
from kinova_driver.movers import Controllers
from kinova_driver.simulator.arm import ArmOptions, SimulatedGen3
from kinova_driver.simulator.robot import Robot
from kinova_driver.simulator.server import Address

TICKS, FAILS_AT = 60, 30
SESSION = 1

FAILURES: dict[str, Callable[[Robot], None]] = {
    "stop": lambda robot: robot.stop(),
    "emergency stop": lambda robot: robot.emergency_stop(SESSION),
    "silence": lambda robot: robot.silence(SESSION),
    "another session takes it": lambda robot: robot.steal(stolen=True),
    "a joint that follows no more": lambda robot: setattr(robot, "lost_joints", frozenset([1])),
}


def right_arm(failure: Callable[[Robot], None] | None) -> tuple[np.ndarray, np.ndarray]:
    """Moves both arms; returns the speeds of the right arm's joints, (TICKS, 7), and those of the left."""
    episode = Episode("gen3", "stack_three", 0)
    options = ArmOptions(Address(tcp_port=0, udp_port=0))
    arms = {name: SimulatedGen3(episode.joint_state(name), options) for name in episode.arms}
    try:
        controllers = Controllers(arms)
        speeds = {name: [] for name in arms}
        for tick in range(TICKS):
            wave = np.full(7, 0.2 * np.sin(4.0 * tick * CONTROL_STEP_S))
            if failure is not None and tick == FAILS_AT:
                failure(arms["left"].robot)
            arms["right"].robot.send_joint_speeds(wave, SESSION)
            if failure is None or tick < FAILS_AT:
                arms["left"].robot.send_joint_speeds(wave, SESSION)
            controllers.pass_tick(episode, tick * CONTROL_STEP_S, lambda moment: None)
            for name in arms:
                speeds[name].append(episode.joint_state(name).velocities)
        return np.array(speeds["right"]), np.array(speeds["left"])
    finally:
        for arm in arms.values():
            arm.close()
        episode.close()


@pytest.fixture(scope="module")
def undisturbed() -> tuple[np.ndarray, np.ndarray]:
    return right_arm(None)


@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_stops_one_arm_does_not_touch_the_other(failure: str, undisturbed: tuple) -> None:
    right, left = right_arm(FAILURES[failure])
    assert np.abs(left[FAILS_AT + 10 :] - undisturbed[1][FAILS_AT + 10 :]).max() > 0.05, (
        "the left arm was not disturbed"
    )
    np.testing.assert_allclose(right, undisturbed[0], atol=1e-6)
