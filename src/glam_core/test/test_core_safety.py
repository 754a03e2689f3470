"""The safety filter: limits that are never left, whatever is asked; good commands that are left alone."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glam_core.errors import SafetyError
from glam_core.limits import KeepOut, SafetyLimits
from glam_core.pose import exp_so3, log_so3, tool_down, transform
from glam_core.safety import CommandStatus, SafetyFilter
from glam_core.tool import ToolCommand, ToolState

LOW, HIGH = np.array([0.2, -0.3, 0.0]), np.array([0.7, 0.3, 0.5])
CENTRE = np.array([0.45, 0.0, 0.2])
EPSILON = 1e-6


def limits(**changes):
    return SafetyLimits(workspace_min=tuple(LOW), workspace_max=tuple(HIGH), **changes)


def relaxed(**changes):
    """Limits that allow everything but what `changes` forbid."""
    wide = {
        "max_speed_m_s": 1e3,
        "max_rotation_speed_rad_s": 1e3,
        "max_acceleration_m_s2": 1e6,
        "max_jump_m": 1e3,
        "max_jump_rad": math.pi / 2,
        "approach_s": 0.0,
    }
    return limits(**(wide | changes))


def command(position, yaw=0.0, gripper=0.0):
    return ToolCommand(tool_down(position, yaw), gripper)


def measured(position=CENTRE, yaw=0.0, gripper=0.0):
    return ToolState(tool_down(position, yaw), gripper)


def position_of(filtered):
    return filtered.command.T_base_tool[:3, 3]


def angle_between(T_a, T_b):
    return float(np.linalg.norm(log_so3(T_a[:3, :3].T @ T_b[:3, :3])))


def names_of(filtered):
    return [clamp.name for clamp in filtered.clamps]


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_never_leave_the_limits(seed):
    """10 000 wild commands in all, at random times, with an arm that follows badly."""
    rng = np.random.default_rng(seed)
    bounds = limits(max_speed_m_s=0.4, max_acceleration_m_s2=3.0, max_jump_m=0.1, approach_s=0.5)
    safety = SafetyFilter(bounds)
    position, rotation = CENTRE.copy(), tool_down(CENTRE, 0.0)[:3, :3]
    now, last, track = 0.0, None, []
    for _ in range(2500):
        now += rng.choice([0.025, 0.1, rng.uniform(0.001, 0.3)])
        asked_position = CENTRE + rng.normal(size=3) * rng.choice([0.01, 0.1, 1.0])
        asked_rotation = rotation @ exp_so3(rng.normal(size=3) * rng.choice([0.01, 0.3, 2.0]))
        asked = ToolCommand(transform(asked_rotation, asked_position), rng.normal())
        arm = ToolState(transform(rotation, position), rng.uniform())
        filtered = safety.filter(asked, arm, now)
        given, given_position = filtered.command.T_base_tool, position_of(filtered)

        assert np.all(given_position >= LOW - EPSILON)
        assert np.all(given_position <= HIGH + EPSILON)
        assert np.linalg.norm(given_position - position) <= bounds.max_jump_m + EPSILON
        assert angle_between(arm.T_base_tool, given) <= bounds.max_jump_rad + EPSILON
        assert 0.0 <= filtered.command.gripper <= 1.0
        np.testing.assert_allclose(given[:3, :3].T @ given[:3, :3], np.eye(3), atol=1e-9)
        if last is not None:
            moved = np.linalg.norm(given_position - position_of(last))
            assert moved <= bounds.max_speed_m_s * bounds.command_period_s + EPSILON
            turned = angle_between(last.command.T_base_tool, given)
            assert turned <= bounds.max_rotation_speed_rad_s * bounds.command_period_s + EPSILON
        assert bool(filtered.clamps) == (
            not np.allclose(given, asked.T_base_tool, atol=1e-8) or filtered.command.gripper != asked.gripper
        )
        track.append((now, given_position))
        last = filtered
        # The arm covers a part of the way, and never leaves the command behind by more than the jump limit.
        position = position + rng.uniform(0.3, 1.0) * (given_position - position)
        rotation = rotation @ exp_so3(rng.uniform(0.3, 1.0) * log_so3(rotation.T @ given[:3, :3]))

    times = np.array([time for time, _ in track])
    steps = np.linalg.norm(np.diff([p for _, p in track], axis=0), axis=1)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    for window in (1, 5, 50):  # the speed limit holds over any stretch of time
        assert np.all(
            path[window:] - path[:-window] <= bounds.max_speed_m_s * (times[window:] - times[:-window]) + EPSILON
        )
    assert np.all(path[times < 0.5] <= bounds.approach_speed_m_s * (times[times < 0.5] - times[0] + 0.1) + EPSILON)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=3, max_size=30), st.floats(0.05, 5))
@settings(max_examples=50)
def test_a_change_of_velocity_is_limited_and_braking_is_free(targets, acceleration):
    period = 0.1
    safety = SafetyFilter(relaxed(max_acceleration_m_s2=acceleration))
    before, velocity = CENTRE, np.zeros(3)
    for index, target in enumerate(targets):
        given = position_of(safety.filter(command(target), measured(), index * period))
        new_velocity = (given - before) / period
        # Distance of the new velocity to the segment between rest and the old one.
        share = np.clip(new_velocity @ velocity / max(velocity @ velocity, 1e-12), 0.0, 1.0)
        assert np.linalg.norm(new_velocity - share * velocity) <= acceleration * period + EPSILON
        before, velocity = given, new_velocity


def test_acceleration_reaches_a_far_target_without_overshoot():
    safety = SafetyFilter(relaxed(max_acceleration_m_s2=1.0))
    target = CENTRE + np.array([0.2, 0.0, 0.0])
    track = [position_of(safety.filter(command(target), measured(), index * 0.1))[0] for index in range(20)]
    assert np.all(np.diff(track) >= -EPSILON)
    assert track[0] == pytest.approx(CENTRE[0] + 0.01)  # 1 m/s2 for 0.1 s, for 0.1 s
    assert track[-1] == pytest.approx(target[0])
    assert max(track) <= target[0] + EPSILON


@pytest.mark.parametrize("rate_hz", [10, 40])
def test_default_limits_leave_an_expert_alone(rate_hz):
    """Targets 3 cm ahead of the tool at 10 Hz, sent again and again at the control rate."""
    safety = SafetyFilter(limits())
    rng = np.random.default_rng(0)
    position, yaw = CENTRE.copy(), 0.0
    repeats = rate_hz // 10
    for step in range(100):
        direction = rng.normal(size=3) + (CENTRE - position) * 20
        target = np.clip(position + 0.03 * direction / np.linalg.norm(direction), LOW + 0.01, HIGH - 0.01)
        turned = yaw + rng.uniform(-0.1, 0.1)
        for repeat in range(repeats):
            start = position + (target - position) * repeat / repeats
            filtered = safety.filter(command(target, turned, 1.0), measured(start, yaw), step * 0.1 + repeat / rate_hz)
            assert filtered.clamps == ()
            np.testing.assert_allclose(position_of(filtered), target, atol=1e-12)
        position, yaw = target, turned


def test_the_arm_slides_along_the_workspace():
    safety = SafetyFilter(relaxed())
    near_wall = np.array([HIGH[0] - 0.01, 0.0, 0.2])
    filtered = safety.filter(command([HIGH[0] + 0.1, 0.05, 0.2]), measured(near_wall), 0.0)
    np.testing.assert_allclose(position_of(filtered), [HIGH[0], 0.05, 0.2])
    (clamp,) = filtered.clamps
    assert (clamp.name, clamp.asked, clamp.given) == ("workspace_max.x", pytest.approx(HIGH[0] + 0.1), HIGH[0])


def test_an_arm_outside_of_its_workspace_is_led_back():
    safety = SafetyFilter(limits())
    position = np.array([0.45, 0.0, -0.3])
    for step in range(100):
        position = position_of(safety.filter(command(position), measured(position), step * 0.1))
    np.testing.assert_allclose(position, [0.45, 0.0, 0.0], atol=1e-9)


def test_an_arm_that_was_pushed_away_does_not_jump_back():
    bounds = limits()
    safety = SafetyFilter(bounds)
    safety.filter(command(CENTRE), measured(CENTRE), 0.0)
    pushed = CENTRE + np.array([0.2, 0.0, 0.0])
    filtered = safety.filter(command(CENTRE), measured(pushed), 0.1)
    assert np.linalg.norm(position_of(filtered) - pushed) <= bounds.max_jump_m + EPSILON
    assert "max_jump_m" in names_of(filtered)


def test_the_speed_limit_scales_and_says_so():
    safety = SafetyFilter(relaxed(max_speed_m_s=0.5))
    filtered = safety.filter(command(CENTRE + np.array([0.1, 0.0, 0.0])), measured(), 0.0)
    np.testing.assert_allclose(position_of(filtered), CENTRE + np.array([0.05, 0.0, 0.0]))
    (clamp,) = filtered.clamps
    assert (clamp.name, clamp.arm) == ("max_speed_m_s", "arm")
    assert clamp.asked == pytest.approx(1.0)
    assert clamp.given == pytest.approx(0.5)
    # The same target again, a tick later: another tick's worth of the way.
    filtered = safety.filter(command(CENTRE + np.array([0.1, 0.0, 0.0])), measured(), 0.025)
    np.testing.assert_allclose(position_of(filtered), CENTRE + np.array([0.0625, 0.0, 0.0]))


def test_a_long_silence_allows_no_leap():
    safety = SafetyFilter(relaxed(max_speed_m_s=0.5, max_rotation_speed_rad_s=1.0))
    safety.filter(command(CENTRE), measured(), 0.0)
    filtered = safety.filter(command(CENTRE + np.array([0.2, 0, 0]), yaw=1.0), measured(), 60.0)
    assert np.linalg.norm(position_of(filtered) - CENTRE) == pytest.approx(0.05)
    assert angle_between(filtered.command.T_base_tool, measured().T_base_tool) == pytest.approx(0.1)
    assert names_of(filtered) == ["max_speed_m_s", "max_rotation_speed_rad_s"]


def test_two_commands_at_one_moment_move_once():
    safety = SafetyFilter(relaxed(max_speed_m_s=0.5))
    first = safety.filter(command(CENTRE + np.array([0.1, 0, 0])), measured(), 1.0)
    second = safety.filter(command(CENTRE + np.array([0.1, 0, 0])), measured(), 1.0)
    np.testing.assert_array_equal(position_of(first), position_of(second))


def test_the_first_action_is_approached_slowly_again_after_a_reset():
    safety = SafetyFilter(relaxed(max_speed_m_s=1.0, approach_speed_m_s=0.1, approach_s=0.5))
    target = command(CENTRE + np.array([0.25, 0.0, 0.0]))

    def travelled(start, steps):
        points = [position_of(safety.filter(target, measured(), start + 0.1 * step)) for step in range(steps)]
        return np.linalg.norm(points[-1] - CENTRE)

    assert travelled(0.0, 5) == pytest.approx(0.05)
    assert travelled(0.5, 1) == pytest.approx(0.15)
    safety.reset()
    assert travelled(9.0, 1) == pytest.approx(0.01)
    assert names_of(safety.filter(target, measured(), 9.1)) == ["approach_speed_m_s"]


def test_jumps_of_the_angle_are_limited():
    safety = SafetyFilter(relaxed(max_jump_rad=0.3))
    filtered = safety.filter(command(CENTRE, yaw=1.0), measured(), 0.0)
    assert angle_between(filtered.command.T_base_tool, measured().T_base_tool) == pytest.approx(0.3)
    assert names_of(filtered) == ["max_jump_rad"]


@pytest.mark.parametrize(("asked", "given"), [(-0.2, 0.0), (0.0, 0.0), (0.4, 0.4), (1.0, 1.0), (1.3, 1.0)])
def test_the_gripper_stays_between_open_and_closed(asked, given):
    filtered = SafetyFilter(limits(), arm="left").filter(command(CENTRE, gripper=asked), measured(), 0.0)
    assert filtered.command.gripper == given
    assert [(clamp.name, clamp.arm) for clamp in filtered.clamps] == ([("gripper", "left")] if asked != given else [])


@pytest.mark.parametrize("name", ["max_speed_m_s", "max_acceleration_m_s2", "max_jump_m", "approach_speed_m_s"])
def test_a_limit_of_zero_is_a_limit(name):
    safety = SafetyFilter(limits(**{name: 0.0}))
    for step in range(5):
        filtered = safety.filter(command(CENTRE + np.array([0.02, 0.0, 0.0])), measured(), step * 0.1)
        np.testing.assert_array_equal(position_of(filtered), CENTRE)
        assert names_of(filtered) == [name]


@pytest.mark.parametrize("name", ["max_rotation_speed_rad_s", "max_jump_rad"])
def test_a_limit_of_zero_stops_rotation(name):
    safety = SafetyFilter(limits(**{name: 0.0}))
    filtered = safety.filter(command(CENTRE, yaw=0.05), measured(), 0.0)
    np.testing.assert_allclose(filtered.command.T_base_tool, measured().T_base_tool, atol=1e-12)
    assert names_of(filtered) == [name]


def test_what_is_not_finite_is_refused_and_changes_nothing():
    safety = SafetyFilter(relaxed(max_speed_m_s=0.5))
    safety.filter(command(CENTRE), measured(), 0.0)
    bad_pose = tool_down(CENTRE, 0.0)
    bad_pose[0, 3] = np.nan
    for asked, arm in (
        (ToolCommand(bad_pose, 0.0), measured()),
        (command(CENTRE, gripper=math.inf), measured()),
        (command(CENTRE), ToolState(bad_pose, 0.0)),
    ):
        with pytest.raises(SafetyError, match="not finite"):
            safety.filter(asked, arm, 0.1)
    assert safety.status(0.11) is CommandStatus.HOLD  # none of them counted as a command
    filtered = safety.filter(command(CENTRE + np.array([0.1, 0, 0])), measured(), 0.1)
    np.testing.assert_allclose(position_of(filtered), CENTRE + np.array([0.05, 0, 0]))


def test_what_is_no_rotation_is_refused():
    pose = tool_down(CENTRE, 0.0)
    pose[:3, :3] *= 1.1
    with pytest.raises(SafetyError, match="command has no rotation matrix"):
        SafetyFilter(limits()).filter(ToolCommand(pose, 0.0), measured(), 0.0)
    mirror = transform(np.diag([1.0, 1.0, -1.0]), CENTRE)
    with pytest.raises(SafetyError, match="command has no rotation matrix"):
        SafetyFilter(limits()).filter(ToolCommand(mirror, 0.0), measured(), 0.0)


def test_time_that_runs_backwards_is_refused():
    safety = SafetyFilter(limits())
    safety.filter(command(CENTRE), measured(), 10.0)
    with pytest.raises(SafetyError, match=r"from 10\.0 to 9\.0; reset"):
        safety.filter(command(CENTRE), measured(), 9.0)
    with pytest.raises(SafetyError, match="nan"):
        safety.filter(command(CENTRE), measured(), math.nan)
    safety.reset()
    safety.filter(command(CENTRE), measured(), 9.0)


def test_status_follows_the_age_of_the_command():
    safety = SafetyFilter(limits())
    assert safety.status(0.0) is CommandStatus.HOLD
    safety.filter(command(CENTRE), measured(), 1.0)
    assert safety.status(1.0) is CommandStatus.OK
    assert safety.status(1.099) == "ok"
    assert safety.status(1.11) == "hold"
    assert safety.status(1.26) == "stop"
    assert safety.status(math.nan) == "stop"
    safety.reset()
    assert safety.status(1.0) is CommandStatus.HOLD


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_speed_m_s": None}, "max_speed_m_s"),
        ({"max_speed_m_s": math.nan}, "max_speed_m_s"),
        ({"max_speed_m_s": math.inf}, "max_speed_m_s"),
        ({"max_speed_m_s": -0.1}, "max_speed_m_s"),
        ({"max_jump_rad": 3.0}, "max_jump_rad"),
        ({"workspace_min": (0.8, 0.0, 0.0)}, r"inverted in x: minimum 0\.8 is above maximum 0\.7"),
        ({"workspace_min": (math.nan, 0.0, 0.0)}, "workspace_min"),
        ({"workspace_min": (0.0, 0.0)}, "workspace_min"),
        ({"command_timeout_s": 0.3}, r"stop_timeout_s 0\.25 is below command_timeout_s 0\.3"),
        ({"max_sped_m_s": 1.0}, "unknown key 'max_sped_m_s'.*did you mean 'max_speed_m_s'"),
    ],
)
def test_bad_limits_are_refused(changes, message):
    with pytest.raises(SafetyError, match=message):
        SafetyLimits(**({"workspace_min": tuple(LOW), "workspace_max": tuple(HIGH)} | changes))


def test_a_workspace_must_be_given():
    with pytest.raises(SafetyError, match="workspace_min is missing; workspace_max is missing"):
        SafetyLimits()


POST = KeepOut(name="post", min=(0.5, -0.1, 0.0), max=(0.6, 0.1, 0.3))


def inside(zone, position):
    return bool(np.all(position > np.array(zone.min) + EPSILON) and np.all(position < np.array(zone.max) - EPSILON))


def test_the_tool_slides_along_a_keep_out_zone_and_around_it():
    safety, position = SafetyFilter(relaxed(keep_out=(POST,), max_jump_m=0.2)), np.array([0.45, 0.0, 0.2])
    first = safety.filter(command([0.55, 0.05, 0.2]), measured(position), 0.0)
    np.testing.assert_allclose(position_of(first), [0.5, 0.05, 0.2])
    (clamp,) = first.clamps
    assert (clamp.name, clamp.asked, clamp.given) == ("keep_out.post", pytest.approx(0.55), 0.5)
    position = position_of(first)
    for step, goal in enumerate(([0.5, 0.15, 0.2], [0.65, 0.15, 0.2], [0.65, 0.0, 0.2])):
        filtered = safety.filter(command(goal), measured(position), 0.1 * (step + 1))
        assert filtered.clamps == ()
        position = position_of(filtered)
    np.testing.assert_allclose(position, [0.65, 0.0, 0.2])


def test_a_thin_zone_is_not_leapt_over():
    wall = KeepOut(name="pane", min=(0.5, -0.3, 0.0), max=(0.501, 0.3, 0.5))
    filtered = SafetyFilter(relaxed(keep_out=(wall,))).filter(command([0.6, 0.1, 0.2]), measured(), 0.0)
    np.testing.assert_allclose(position_of(filtered), [0.5, 0.1, 0.2])


def test_a_tool_inside_of_a_zone_may_leave_by_the_nearest_face_alone():
    safety = SafetyFilter(relaxed(keep_out=(POST,)))
    within = np.array([0.52, 0.0, 0.15])
    deeper = safety.filter(command([0.55, 0.02, 0.15]), measured(within), 0.0)
    np.testing.assert_allclose(position_of(deeper), [0.52, 0.02, 0.15])
    out = safety.filter(command([0.45, 0.0, 0.15]), measured(within), 0.1)
    np.testing.assert_allclose(position_of(out), [0.45, 0.0, 0.15])


def test_an_arm_that_was_moved_to_the_other_side_of_a_zone_is_not_led_into_it():
    safety = SafetyFilter(relaxed(keep_out=(POST,), max_jump_m=0.08))
    before = safety.filter(command([0.48, 0.0, 0.2]), measured([0.48, 0.0, 0.2]), 0.0)
    np.testing.assert_allclose(position_of(before), [0.48, 0.0, 0.2])
    # Within the jump of the arm, on the straight way back to the previous command, is the zone.
    after = safety.filter(command([0.48, 0.0, 0.2]), measured([0.64, 0.0, 0.2]), 0.1)
    assert not inside(POST, position_of(after))
    np.testing.assert_allclose(position_of(after), [0.6, 0.0, 0.2])


@pytest.mark.parametrize("seed", range(3))
def test_random_commands_never_enter_a_zone(seed):
    rng = np.random.default_rng(seed)
    corner = KeepOut(name="corner", min=(0.3, 0.05, 0.1), max=(0.5, 0.2, 0.25))
    bounds = limits(keep_out=(POST, corner), max_jump_m=0.1, approach_s=0.0)
    safety, position, previous = SafetyFilter(bounds), np.array([0.4, -0.1, 0.2]), None
    for step in range(800):
        asked = rng.uniform(LOW - 0.2, HIGH + 0.2) if rng.random() < 0.5 else rng.uniform(POST.min, POST.max)
        given = position_of(safety.filter(command(asked), measured(position), 0.1 * step))
        assert not inside(POST, given)
        assert not inside(corner, given)
        assert np.linalg.norm(given - position) <= bounds.max_jump_m + EPSILON
        if previous is not None:
            for share in np.linspace(0.0, 1.0, 9):
                way = previous + share * (given - previous)
                assert not inside(POST, way)
                assert not inside(corner, way)
        position, previous = position + rng.uniform(0.7, 1.0) * (given - position), given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_out": [{"name": "a", "min": [0, 0, 1], "max": [1, 1, 0]}]}, "zone 'a' is inverted in z"),
        ({"keep_out": [{"name": "a", "min": [0, 0, 0]}]}, r"keep_out\.0\.max is missing"),
        ({"keep_out": [{"name": "a", "min": [0, 0, 0], "max": [1, 1, 1]}] * 2}, "names of their own"),
        ({"link_workspace_min": (1.0, 0.0, 0.1)}, "workspace of the links is inverted in x"),
        ({"link_radius_m": math.nan}, "link_radius_m"),
        ({"joint_ranges_rad": {"joint_2": (-3.0, 1.0)}}, r"range of joint_2 is -3\.0 to 1\.0; expected -2\.24"),
        ({"joint_ranges_rad": {"joint_1": (1.0, -1.0)}}, "range of joint_1"),
        ({"joint_ranges_rad": {"joint_1": (None, 1.0)}}, "joint_ranges_rad"),
        ({"max_joint_speeds_rad_s": {"joint_9": 1.0}}, "unknown joint 'joint_9'"),
        ({"max_joint_speeds_rad_s": {"joint_1": 2.0}}, r"speed of joint_1 is limited to 2\.0; the arm allows 1\.3963"),
        ({"max_joint_accelerations_rad_s2": {"joint_1": math.nan}}, "max_joint_accelerations_rad_s2"),
    ],
)
def test_bad_zones_and_joint_limits_are_refused(changes, message):
    with pytest.raises(SafetyError, match=message):
        limits(**changes)


def test_the_description_names_every_limit_that_is_in_force():
    bounds = limits(keep_out=(POST,), max_speed_m_s=0.0, max_joint_speeds_rad_s={"joint_4": 0.5})
    lines = bounds.describe().splitlines()
    assert "max_speed_m_s: 0.0" in lines
    assert "keep_out.post: [0.5, -0.1, 0.0] to [0.6, 0.1, 0.3]" in lines
    assert "joint_4: -2.57 to 2.57 rad, 0.5 rad/s, 5.2 rad/s2" in lines
    assert "joint_1: -inf to inf rad, 1.396 rad/s, 5.2 rad/s2" in lines
    for name in type(bounds).model_fields:
        assert any(line.startswith(name) for line in lines) or "joint" in name
