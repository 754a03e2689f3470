"""The simulated arm: it moves, holds, goes home, resets by seed, and can be broken; the driver notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from glam_core.errors import ConfigurationError
from glam_core.gen3 import TOOL_OFFSET_M
from glam_core.kinematics import link_poses
from glam_core.limits import SafetyLimits
from glam_core.pose import tool_down
from glam_core.safety import SafetyFilter
from glam_core.tool import ToolCommand
from kinova_driver.actuation import PoseActuation
from kinova_driver.arm import ArmError
from kinova_driver.cameras import CameraView, Frame, Mirror, Photographer
from kinova_driver.cell_clock import CellClock, Failures
from kinova_driver.driver import Driver, DriverLimits, Mode, Request
from kinova_driver.episode import Episode
from kinova_driver.simulated_arm import SimulatedArm
from kinova_driver.watchdog import Watchdog, WatchdogLimits

pytestmark = pytest.mark.sim
AWAIT_S = 20.0
LIMITS = SafetyLimits(workspace_min=(0.2, -0.35, 0.005), workspace_max=(0.75, 0.35, 0.5))


def wait_for(condition: Callable[[], object]) -> None:
    """Waits until the condition holds; fails after `AWAIT_S`."""
    deadline = time.monotonic() + AWAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def let_pass(clock: CellClock, simulated_s: float) -> None:
    """Waits until that much simulated time has passed."""
    start = clock.snapshot().elapsed_s
    wait_for(lambda: clock.snapshot().elapsed_s > start + simulated_s)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return []


@pytest.fixture(scope="module")
def running(frames: list[Frame]) -> Iterator[CellClock]:
    views = [CameraView("front", 64, 64), CameraView("wrist", 48, 64)]
    photographer = Photographer("gen3", "lift", views, frames.append)
    clock = CellClock("gen3", "lift", 0, on_measured=photographer.offer)
    photographer.start()
    clock.start()
    yield clock
    clock.close()
    photographer.close()


@pytest.fixture
def clock(running: CellClock, frames: list[Frame]) -> Iterator[CellClock]:
    running.inject(Failures())
    running.goals.deaf = False
    running.reset(0, "lift")
    frames.clear()
    yield running
    running.inject(Failures())


def position(arm: SimulatedArm) -> np.ndarray:
    return arm.read().tool.T_base_tool[:3, 3]


def test_moves_closes_holds_and_goes_home(clock: CellClock) -> None:
    arm = SimulatedArm(clock, "arm")
    arm.connect()
    start = position(arm)
    goal = start + np.array([0.0, 0.0, 0.04])
    arm.command(ToolCommand(tool_down(goal, 0.0), 1.0))
    wait_for(lambda: np.linalg.norm(position(arm) - goal) < 2e-3 and arm.read().tool.gripper > 0.9)
    arm.command(ToolCommand(tool_down(goal + np.array([0.1, 0.0, 0.0]), 0.0), 1.0))
    arm.hold()
    wait_for(lambda: float(np.abs(arm.read().velocities).max()) < 0.01)
    assert position(arm)[0] < start[0] + 0.09
    assert arm.read().tool.gripper > 0.9
    arm.home()
    assert arm.read().homing
    wait_for(lambda: not arm.read().homing and np.linalg.norm(position(arm) - start) < 0.02)


def test_states_are_fresh_and_frames_share_the_capture_grid(clock: CellClock, frames: list[Frame]) -> None:
    wait_for(lambda: len(frames) >= 8)
    assert time.monotonic() - clock.snapshot().stamp < 5.0
    seen = list(frames)  # it may begin and end in the middle of a capture
    first, last = seen[0].stamp, seen[-1].stamp
    inner = [frame for frame in seen if first < frame.stamp < last]
    fronts = [frame.stamp for frame in inner if frame.camera == "front"]
    assert fronts == [frame.stamp for frame in inner if frame.camera == "wrist"]
    assert len(fronts) >= 2
    assert frames[0].image.shape == (64, 64, 3)
    assert frames[0].image.dtype == np.uint8
    assert {frame.image.shape for frame in frames if frame.camera == "wrist"} == {(48, 64, 3)}
    assert 0.0 < clock.statistics().real_time_factor < 1.5


def test_the_seed_decides_the_episode(clock: CellClock) -> None:
    first = clock.snapshot()
    clock.reset(7)
    other = clock.snapshot()
    clock.reset(0)
    again = clock.snapshot()
    np.testing.assert_allclose(first.objects["red_cube"][:2, 3], again.objects["red_cube"][:2, 3], atol=1e-6)
    assert np.abs(first.objects["red_cube"][:2, 3] - other.objects["red_cube"][:2, 3]).max() > 1e-3
    assert again.episode == other.episode + 1 == first.episode + 2
    clock.reset(0, "stack_two")
    assert clock.snapshot().task == "stack_two"
    assert set(clock.snapshot().objects) > {"red_cube"}


def test_unknown_names_and_seeds_are_errors_that_help(clock: CellClock) -> None:
    with pytest.raises(
        ConfigurationError, match=r"unknown task 'lfit'; legal: lift, stack_two, .*; did you mean 'lift'"
    ):
        clock.reset(0, "lfit")
    with pytest.raises(ConfigurationError, match="not -1"):
        clock.reset(-1)
    with pytest.raises(ArmError, match=r"unknown arm 'left'; legal: arm"):
        SimulatedArm(clock, "left").connect()
    with pytest.raises(ConfigurationError, match="unknown embodiment"):
        CellClock("gen4", "lift", 0).start()


def test_emergency_stop_refuses_commands_until_faults_are_cleared(clock: CellClock) -> None:
    arm = SimulatedArm(clock, "arm")
    arm.emergency_stop()
    assert arm.read().faults == ("EMERGENCY_STOP",)
    with pytest.raises(ArmError, match="clear_faults"):
        arm.command(ToolCommand(arm.read().tool.T_base_tool, 0.0))
    arm.clear_faults()
    arm.command(ToolCommand(arm.read().tool.T_base_tool, 0.0))


def test_a_closed_cell_says_so() -> None:
    clock = CellClock("gen3", "lift", 0)
    with pytest.raises(ArmError, match="not running"):
        SimulatedArm(clock, "arm").read()


@pytest.mark.parametrize(
    ("failures", "reason"),
    [(Failures(frozen=True), "s old"), (Failures(nan_state=True), "not finite"), (Failures(), "follow")],
)
def test_the_driver_stops_a_broken_arm_and_it_stays_where_it_is(
    clock: CellClock, failures: Failures, reason: str
) -> None:
    arm = SimulatedArm(clock, "arm")
    watchdog, limits = Watchdog(WatchdogLimits(0.1, 0.25)), DriverLimits(max_state_age_s=0.2)
    driver = Driver(arm, PoseActuation(arm), SafetyFilter(LIMITS), watchdog, limits)

    def send_and_tick() -> Mode:
        now = time.monotonic()
        if driver.mode in (Mode.HELD, Mode.ENABLED):
            goal = ToolCommand(tool_down((0.3, -0.3, 0.3), 0.0), 0.0)
            driver.accept(Request(goal, 0, now, now, now + 1.0), now)
        return driver.tick(now).mode

    wait_for(lambda: time.monotonic() - clock.snapshot().stamp < 0.03)
    driver.enable(time.monotonic())
    assert send_and_tick() is Mode.ENABLED
    clock.inject(failures)
    clock.goals.deaf = failures == Failures()
    wait_for(lambda: send_and_tick() is Mode.STOPPED)
    assert reason in driver.reason
    clock.inject(Failures())
    clock.goals.deaf = False
    let_pass(clock, 0.3)
    rest = position(arm)
    let_pass(clock, 0.2)
    assert send_and_tick() is Mode.STOPPED
    np.testing.assert_allclose(position(arm), rest, atol=2e-3)


def test_repeating_a_goal_changes_nothing() -> None:
    ends = []
    for repeats in (False, True):
        episode = Episode("gen3", "lift", 3)
        start = episode.snapshot(0.0).tools["arm"].T_base_tool
        for tick in range(12):
            goal = ToolCommand(tool_down(start[:3, 3] + (0.02 * (1 + tick // 4), 0.0, -0.01), 0.0), 0.0)
            if repeats or tick % 4 == 0:
                episode.command("arm", goal)
            episode.advance()
        ends.append(episode.snapshot(0.0).tools["arm"].T_base_tool)
        episode.close()
    np.testing.assert_array_equal(*ends)


def test_the_links_of_tf_end_where_the_simulated_tool_is() -> None:
    episode = Episode("gen3", "lift", 1)
    snapshot = episode.snapshot(0.0)
    episode.close()
    T = np.eye(4)
    for _, T_parent_link in link_poses(snapshot.joints["arm"].positions):
        T = T @ T_parent_link
    tool = snapshot.tools["arm"].T_base_tool
    np.testing.assert_allclose(T[:3, 3] + TOOL_OFFSET_M * T[:3, 2], tool[:3, 3], atol=1e-6)
    np.testing.assert_allclose(T[:3, 2], tool[:3, 2], atol=1e-6)


def test_the_cameras_show_what_the_cell_shows() -> None:
    views = [CameraView("front", 96, 96), CameraView("wrist", 96, 96)]
    for task in ("stack_two", "stack_three"):
        episode = Episode("gen3", task, 2)
        cameras = [views[0], replace(views[1], name=episode.cameras[2])]
        snapshot = episode.snapshot(0.0)
        mirror = Mirror("gen3", task, cameras)
        mirror.show(snapshot)
        for camera in cameras:
            expected = episode.render(camera.name, 96, 96)
            np.testing.assert_allclose(mirror.image(camera.name), expected, atol=2)
        mirror.close()
        episode.close()


def test_the_cameras_follow_a_change_of_task_and_settle() -> None:
    seen: list[Frame] = []
    photographer = Photographer("gen3", "lift", [CameraView("overview", 60, 80, rate_hz=20.0)], seen.append)
    photographer.start()
    episodes = [Episode("gen3", task, 1) for task in ("lift", "stack_two")]
    try:
        for number, episode in enumerate(episodes):
            photographer.offer(episode.snapshot(float(number)))
            photographer.settle()
        episodes[0].advance()
        photographer.offer(episodes[0].snapshot(2.0))  # between two frames
        photographer.settle()
    finally:
        photographer.close()
        for episode in episodes:
            episode.close()
    assert [frame.stamp for frame in seen] == [0.0, 1.0]
    assert np.abs(seen[0].image.astype(int) - seen[1].image.astype(int)).max() > 50


def test_a_camera_that_can_not_start_says_so() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        Photographer("gen3", "lift", [CameraView("nowhere", 60, 80)], print).start()
