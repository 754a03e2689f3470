"""What the driver decides at every tick; time is a number here, and the arm a fake."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from fake_arm import START, FakeArm

from glam_core.deadman import Deadman
from glam_core.errors import SafetyError
from glam_core.limits import SafetyLimits
from glam_core.pose import tool_down
from glam_core.safety import SafetyFilter
from glam_core.tool import ToolCommand, ToolState
from kinova_driver.actuation import PoseActuation
from kinova_driver.driver import Driver, DriverLimits, Mode, Request, Tick
from kinova_driver.watchdog import Watchdog, WatchdogLimits

TICK_S = 0.025
LIMITS = SafetyLimits(workspace_min=(0.2, -0.35, 0.005), workspace_max=(0.75, 0.35, 0.5))


class Bench:
    """A driver on a fake arm, and the time of both."""

    def __init__(self, deadman: bool = False) -> None:
        self.arm, self.now, self.sequence = FakeArm(), 0.0, 0
        watchdog = Watchdog(WatchdogLimits(LIMITS.command_timeout_s, LIMITS.stop_timeout_s))
        self.deadman = Deadman(deadman, LIMITS.command_timeout_s)
        actuation = PoseActuation(self.arm)
        self.driver = Driver(self.arm, actuation, SafetyFilter(LIMITS), watchdog, DriverLimits(), self.deadman)

    def enabled(self) -> Bench:
        self.driver.enable(self.now)
        return self

    def send(self, position: tuple[float, float, float] = START, **changes: object) -> None:
        request = Request(
            command=ToolCommand(tool_down(position, 0.0), 0.0),
            sequence=self.sequence,
            issued_at=self.now,
            observed_at=self.now - 0.05,
            expires=self.now + 0.1,
        )
        self.sequence += 1
        self.driver.accept(replace(request, **changes), self.now)

    def tick(self, measure: bool = True) -> Tick:
        self.now += TICK_S
        if measure:
            self.arm.at(self.now)
        return self.driver.tick(self.now)


def test_nothing_moves_before_a_person_enables() -> None:
    bench = Bench()
    with pytest.raises(SafetyError, match="disabled"):
        bench.send()
    assert bench.tick().mode is Mode.DISABLED
    assert bench.arm.commands == []


def test_sends_the_newest_command_and_reports_it() -> None:
    bench = Bench().enabled()
    bench.send((0.45, 0.0, 0.21))
    bench.send((0.45, 0.0, 0.205))
    tick = bench.tick()
    assert tick.mode is Mode.ENABLED
    assert tick.sent is not None
    assert (tick.sent.hold, tick.sent.clamps) == (False, ())
    assert tick.sent.request.sequence == 1
    np.testing.assert_allclose(bench.arm.commands[-1].T_base_tool[:3, 3], (0.45, 0.0, 0.205))


def test_a_clamp_slides_and_is_reported() -> None:
    bench = Bench().enabled()
    bench.arm.state = replace(bench.arm.state, tool=ToolState(tool_down((0.45, 0.0, 0.01), 0.0), 0.0))
    for step in range(8):
        bench.send((0.45 + 0.005 * step, 0.0, -0.05))
        sent = bench.tick().sent
        assert sent is not None
        assert "workspace_min.z" in [clamp.name for clamp in sent.clamps]
    position = bench.arm.commands[-1].T_base_tool[:3, 3]
    assert position[2] == pytest.approx(0.005)
    assert position[0] > 0.46
    assert bench.driver.clamp_counts["workspace_min.z"] == 8


def test_silence_holds_after_100_ms_and_stops_after_250_ms_until_enabled_again() -> None:
    bench = Bench().enabled()
    bench.send((0.45, 0.0, 0.21), expires=10.0)
    for at, mode in ((0.025, Mode.ENABLED), (0.09, Mode.ENABLED), (0.101, Mode.HELD), (0.24, Mode.HELD)):
        bench.now = at - TICK_S
        assert bench.tick().mode is mode
    sent = len(bench.arm.commands)
    assert sent == 2
    bench.now = 0.251 - TICK_S
    assert bench.tick().mode is Mode.STOPPED
    assert bench.arm.calls == ["hold", "stop"]
    with pytest.raises(SafetyError, match=r"no motion commanded for 0\.25 s"):
        bench.send()
    bench.tick()
    assert len(bench.arm.commands) == sent
    bench.enabled().send()
    assert bench.tick().mode is Mode.ENABLED


def test_a_hold_command_holds_at_once_and_motion_resumes() -> None:
    bench = Bench().enabled()
    bench.send()
    bench.tick()
    for _ in range(5):
        bench.send(hold=True)
        tick = bench.tick()
        assert tick.mode is Mode.HELD
        assert tick.sent is not None
        assert tick.sent.hold
    assert len(bench.arm.commands) == 1
    assert bench.arm.calls == ["hold"]
    bench.send()
    assert bench.tick().mode is Mode.ENABLED


def test_a_commander_that_has_run_out_of_plans_is_as_good_as_silent() -> None:
    bench = Bench().enabled()
    for _ in range(40):  # nothing has moved yet: one may hold for as long as one likes
        bench.send(hold=True)
        assert bench.tick().mode is Mode.HELD
    bench.send()
    bench.tick()
    start = bench.now
    while bench.driver.mode is not Mode.STOPPED:
        bench.send(hold=True)
        bench.tick()
    assert bench.now - start <= LIMITS.stop_timeout_s
    assert bench.arm.calls == ["hold", "stop"]


def test_without_the_deadman_switch_commands_are_rejected() -> None:
    bench = Bench(deadman=True).enabled()
    with pytest.raises(SafetyError, match="deadman switch has not been heard"):
        bench.send()
    with pytest.raises(SafetyError, match="deadman"):
        bench.driver.home(bench.now)
    bench.deadman.hear(True, bench.now)
    bench.send()
    assert bench.tick().mode is Mode.ENABLED


@pytest.mark.parametrize("how", ["released", "silent"])
def test_letting_the_deadman_switch_go_holds_then_stops(how: str) -> None:
    bench = Bench(deadman=True).enabled()
    bench.deadman.hear(True, bench.now)
    bench.send((0.45, 0.0, 0.21))
    bench.tick()
    start = bench.now
    if how == "released":
        bench.deadman.hear(False, bench.now)
    times: dict[Mode, float] = {}
    while bench.driver.mode is not Mode.STOPPED:
        with contextlib.suppress(SafetyError):
            bench.send((0.45, 0.0, 0.22))
        times.setdefault(bench.tick().mode, bench.now - start)
    assert times[Mode.HELD] <= (TICK_S if how == "released" else LIMITS.command_timeout_s) + 1e-9
    # The countdown to the stop began with the last command that counted.
    assert times[Mode.STOPPED] <= LIMITS.command_timeout_s + LIMITS.stop_timeout_s
    assert bench.arm.calls == ["hold", "stop"]
    with pytest.raises(SafetyError, match="stopped"):
        bench.send()


def test_the_gripper_is_moved_by_hand_only_while_no_command_has_it() -> None:
    bench = Bench()
    with pytest.raises(SafetyError, match="enable"):
        bench.driver.move_gripper(1.0, bench.now)
    bench.enabled().driver.move_gripper(1.0, bench.now)
    assert bench.arm.gripper == 1.0
    bench.send()
    bench.tick()
    with pytest.raises(SafetyError, match="they have the gripper"):
        bench.driver.move_gripper(0.0, bench.now)


def test_expired_commands_are_rejected_and_not_executed() -> None:
    bench = Bench().enabled()
    with pytest.raises(SafetyError, match=r"expired 0\.010 s ago"):
        bench.send(expires=bench.now - 0.01)
    assert bench.driver.rejected == 1
    bench.send(expires=bench.now + 0.01)  # expires before the next tick
    tick = bench.tick()
    assert tick.mode is Mode.HELD
    assert bench.arm.commands == []


@pytest.mark.parametrize(
    ("pose", "gripper", "reason"),
    [
        (np.full((4, 4), np.nan), 0.0, "not finite"),
        (tool_down(START, 0.0), float("nan"), "not finite"),
        (tool_down(START, 0.0), 1.2, "gripper"),
        (2.0 * np.eye(4), 0.0, "rotation"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), 0.0, "rotation"),
    ],
)
def test_unusable_commands_are_rejected_with_a_reason(pose: np.ndarray, gripper: float, reason: str) -> None:
    bench = Bench().enabled()
    with pytest.raises(SafetyError, match=reason):
        bench.send(command=ToolCommand(pose, gripper))
    assert bench.tick().sent is None
    assert bench.arm.commands == []


def test_a_measurement_that_stays_nan_holds_at_once_and_stops() -> None:
    bench = Bench().enabled()
    bench.send()
    bench.tick()
    bench.arm.state = replace(bench.arm.state, tool=ToolState(np.full((4, 4), np.nan), 0.0))
    bench.send()
    tick = bench.tick()
    assert (tick.mode, tick.state, tick.sent) == (Mode.HELD, None, None)
    assert "not finite" in tick.reason
    start = bench.now
    while bench.tick().mode is Mode.HELD:
        bench.send()
    assert bench.driver.mode is Mode.STOPPED
    assert bench.now - start <= 0.25
    assert bench.arm.calls == ["hold", "stop"]


def test_a_frozen_arm_is_held_within_100_ms_and_stopped_within_250_ms_more() -> None:
    bench = Bench().enabled()
    bench.tick()
    times: dict[Mode, float] = {}
    start = bench.now
    while bench.driver.mode is not Mode.STOPPED:
        bench.send()
        tick = bench.tick(measure=False)
        times.setdefault(tick.mode, bench.now - start)
    assert times[Mode.HELD] <= 0.1 + TICK_S + 1e-9
    assert times[Mode.STOPPED] <= 0.1 + 0.25
    with pytest.raises(SafetyError, match="s old"):
        bench.driver.enable(bench.now)


def test_an_arm_that_does_not_follow_is_stopped() -> None:
    bench = Bench().enabled()
    bench.arm.follows = False
    for _ in range(60):
        if bench.driver.mode is Mode.STOPPED:
            break
        bench.send((0.45, 0.25, 0.2))
        bench.tick()
    assert bench.driver.mode is Mode.STOPPED
    assert "does not follow" in bench.driver.reason
    assert bench.now < 1.5


def test_emergency_stop_is_latched_until_reset() -> None:
    bench = Bench().enabled()
    bench.send()
    bench.tick()
    bench.driver.emergency_stop()
    assert bench.tick().mode is Mode.EMERGENCY
    for forbidden in (lambda: bench.driver.enable(bench.now), bench.driver.clear_faults, bench.send):
        with pytest.raises(SafetyError, match="emergency"):
            forbidden()
    bench.driver.stop()
    bench.driver.disable()
    assert bench.driver.mode is Mode.EMERGENCY
    bench.driver.reset()
    assert bench.driver.mode is Mode.DISABLED
    assert bench.arm.state.faults == ()
    bench.enabled().send()
    assert bench.tick().mode is Mode.ENABLED


def test_faults_of_the_arm_stop_it_and_must_be_cleared_first() -> None:
    bench = Bench().enabled()
    bench.arm.state = replace(bench.arm.state, faults=("JOINT_LIMIT_HIGH",))
    assert bench.tick().mode is Mode.STOPPED
    assert "JOINT_LIMIT_HIGH" in bench.driver.reason
    with pytest.raises(SafetyError, match="clear_faults"):
        bench.driver.enable(bench.now)
    bench.driver.clear_faults()
    bench.driver.enable(bench.now)
    assert bench.driver.mode is Mode.HELD


def test_on_the_way_home_commands_are_rejected() -> None:
    bench = Bench()
    with pytest.raises(SafetyError, match="enable"):
        bench.driver.home(bench.now)
    bench = bench.enabled()
    bench.driver.home(bench.now)
    with pytest.raises(SafetyError, match="homing"):
        bench.send()
    for _ in range(20):
        assert bench.tick().mode is Mode.HOMING
    bench.arm.state = replace(bench.arm.state, homing=False)
    assert bench.tick().mode is Mode.HELD
    bench.send()
    assert bench.tick().mode is Mode.ENABLED


def test_a_stop_by_the_watchdogs_thread_wins_over_a_command_on_its_way() -> None:
    bench = Bench().enabled()
    bench.send()
    send = bench.arm.command_pose

    def slow_command(T_base_tool: np.ndarray) -> None:
        send(T_base_tool)
        bench.driver.watchdog.inhibit()

    bench.arm.command_pose = slow_command
    tick = bench.tick()
    assert (tick.mode, tick.sent) == (Mode.STOPPED, None)
    assert bench.arm.calls == ["stop"]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_limits_are_rejected(value: float) -> None:
    with pytest.raises(SafetyError, match="max_state_age_s"):
        DriverLimits(max_state_age_s=value)
