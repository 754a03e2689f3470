"""The joint limiter: nothing outside of a limit comes out, what is inside passes as it is, and walls are slid along."""

import math

import numpy as np
import pytest

from glam_core.bench_safety import EXACT, LIMITS, Findings, _Judge, attack
from glam_core.errors import SafetyError
from glam_core.gen3 import CONTROL_STEP_S, JOINTS
from glam_core.ik import DifferentialIK
from glam_core.joint_safety import JointFilter, JointLimiter, in_order
from glam_core.kinematics import FRAMES, GUARDED, Gen3Kinematics, forward
from glam_core.limits import KeepOut, SafetyLimits
from glam_core.pose import tool_down

BOX = {"workspace_min": (0.2, -0.35, 0.005), "workspace_max": (0.75, 0.35, 0.5)}
IK = DifferentialIK(Gen3Kinematics())
START = IK.solve(tool_down((0.45, 0.0, 0.2), 0.0))
STEP = np.array([CONTROL_STEP_S])


def limits(**changes):
    return SafetyLimits(**(BOX | changes))


def point(joints, name="tool"):
    return forward(joints).origins[..., GUARDED[name], :]


def drive(limits, velocity, seconds, start=START):
    """Moves the tool at a constant velocity (m/s) as long as the limits let it; joints and clamps of every tick."""
    safety, joints, track, clamps = JointFilter(limits), start.copy(), [start], set()
    for tick in range(round(seconds / CONTROL_STEP_S)):
        pose = IK.tool_pose(joints)
        goal = pose.copy()
        goal[:3, 3] += np.asarray(velocity) * 0.1
        goal[:3, :3] = tool_down((0, 0, 0), 0.0)[:3, :3]
        limited = safety.limit(IK.joint_speeds(joints, goal, 0.1), joints, tick * CONTROL_STEP_S)
        joints = joints + CONTROL_STEP_S * limited.speeds
        track.append(joints)
        clamps |= {clamp.name for clamp in limited.clamps}
    return np.array(track), clamps


def test_nothing_outside_of_a_limit_comes_out_of_10_000_commands():
    findings = attack(10_000, seed=1)
    assert +findings.violations == {}
    assert findings.commands >= 10_000
    assert findings.refused > 100
    assert findings.worst_m < EXACT
    reached = " ".join(findings.clamps)
    for wall in ("workspace_min.x.tool", "keep_out.post.tool", "keep_out.post.wrist", "joint_range."):
        assert wall in reached, f"the attack never came to {wall}"


def test_the_judge_of_the_attack_is_not_blind():
    judge, findings = _Judge(LIMITS, 500), Findings()
    wild = np.random.default_rng(0).normal(size=(500, 7)) * 5.0
    judge.judge(wild, wild, np.tile(START, (500, 1)), np.full(500, CONTROL_STEP_S), findings)
    assert {
        "joint speed", "joint acceleration", "tool speed", "joint range", "tool after a step", "wrist on the way",
    } <= set(+findings.violations)  # fmt: skip


def test_speeds_inside_of_all_limits_pass_to_the_bit():
    safety, rng, joints = JointFilter(limits()), np.random.default_rng(0), START.copy()
    speeds = np.zeros(7)
    for tick in range(200):
        speeds = 0.98 * speeds + rng.normal(size=7) * 0.004
        limited = safety.limit(speeds, joints, tick * CONTROL_STEP_S)
        assert limited.clamps == ()
        np.testing.assert_array_equal(limited.speeds, speeds)
        joints = joints + CONTROL_STEP_S * speeds


def test_many_arms_at_once_are_limited_as_each_alone():
    rng = np.random.default_rng(2)
    together = JointLimiter(LIMITS, 20)
    alone = [JointLimiter(LIMITS) for _ in range(20)]
    joints = np.tile(START, (20, 1))
    for _ in range(30):
        asked = rng.normal(size=(20, 7)) * 2.0
        given = together.limit(asked, joints, np.full(20, CONTROL_STEP_S)).speeds
        for index, limiter in enumerate(alone):
            one = limiter.limit(asked[index : index + 1], joints[index : index + 1], STEP).speeds
            np.testing.assert_allclose(one[0], given[index], atol=1e-9)
        joints = joints + CONTROL_STEP_S * given


@pytest.mark.parametrize(
    ("velocity", "wall", "axis", "bound"),
    [((0.2, 0.15, 0), "workspace_max.x.tool", 0, 0.6), ((0.03, 0.15, -0.2), "workspace_min.z.tool", 2, 0.005)],
)
def test_the_tool_slides_along_its_workspace(velocity, wall, axis, bound):
    track, clamps = drive(limits(workspace_max=(0.6, 0.35, 0.5)), velocity, 2.0)
    tool = point(track)
    assert wall in clamps
    assert np.abs(tool[-1, axis] - bound) < 0.005
    assert np.all(np.abs(tool[:, axis] - bound) > -EXACT)
    assert tool[-1, 1] - tool[0, 1] > 0.2  # the free direction goes on


@pytest.mark.parametrize("name", ["tool", "wrist"])
def test_a_keep_out_zone_stops_a_point_in_front_and_lets_it_pass_by(name):
    here = point(START, name)
    wide = KeepOut(name="box", min=tuple(np.add(here, (0.05, -0.3, -0.3))), max=tuple(np.add(here, 0.3)))
    track, clamps = drive(limits(keep_out=(wide,), link_radius_m=0.0), (0.15, 0.0, 0.0), 2.0)
    assert f"keep_out.box.{name}" in clamps
    assert 0.0 <= wide.min[0] - point(track, name)[:, 0].max() + EXACT < 0.01
    # Asked to go on sideways as well, it slides along the face and past the corner.
    low, high = np.add(here, (0.05, -0.05, -0.05)), np.add(here, (0.15, 0.06, 0.05))
    narrow = KeepOut(name="box", min=tuple(low), max=tuple(high))
    track, _ = drive(limits(keep_out=(narrow,), link_radius_m=0.0), (0.1, 0.12, 0.0), 2.4)
    reached = point(track, name)
    inside = np.all((reached > low + EXACT) & (reached < high - EXACT), axis=1)
    assert not inside.any()
    assert reached[-1, 1] > high[1]
    assert reached[-1, 0] > low[0]


def test_the_elbow_stays_over_its_floor_while_the_tool_is_free():
    floor = float(point(START, "elbow")[2]) - 0.02
    safe = limits(link_workspace_min=(-0.8, -0.8, floor))
    sinking = np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    safety, joints, names = JointFilter(safe), START.copy(), set()
    for tick in range(60):
        limited = safety.limit(sinking, joints, tick * CONTROL_STEP_S)
        names |= {clamp.name for clamp in limited.clamps}
        joints = joints + CONTROL_STEP_S * limited.speeds
        assert point(joints, "elbow")[2] >= floor - EXACT
    assert "link_workspace_min.z.elbow" in names


def test_the_thickness_of_the_links_counts_for_elbow_and_wrist_alone():
    wrist = point(START, "wrist")
    low, high = np.add(wrist, (0.08, -0.1, -0.1)), np.add(wrist, (0.2, 0.1, 0.1))
    zone = KeepOut(name="pole", min=tuple(low), max=tuple(high))
    track, _ = drive(limits(keep_out=(zone,), link_radius_m=0.06), (0.1, 0.0, 0.0), 1.5)
    assert point(track, "wrist")[:, 0].max() <= zone.min[0] - 0.06 + EXACT


def test_silence_after_any_command_ends_inside():
    """What is sent last is kept for the time of silence, then braked: that has to end well, too."""
    safe = limits()
    track, _ = drive(safe, (0.3, 0.2, -0.3), 0.8)
    safety = JointFilter(safe)
    for tick, joints in enumerate(track):
        speeds = safety.limit((track[min(tick + 1, len(track) - 1)] - joints) / CONTROL_STEP_S, joints, tick * 0.025)
        for moment in np.linspace(0.0, safe.command_timeout_s, 9):
            tool = point(joints + moment * speeds.speeds)
            assert np.all(tool >= np.array(safe.workspace_min) - 1e-3)
            assert np.all(tool <= np.array(safe.workspace_max) + 1e-3)


def test_an_arm_outside_may_come_back_but_go_no_further():
    outside = IK.solve(tool_down((0.45, 0.0, 0.2), 0.0))
    safe = limits(workspace_max=(0.75, 0.35, 0.1))  # the tool stands 10 cm above it
    for velocity, goes in (((0, 0, 0.1), False), ((0, 0, -0.1), True)):
        track, _ = drive(safe, velocity, 0.5, outside)
        height = point(track)[:, 2]
        assert (height[-1] < height[0] - 0.01) == goes
        assert height.max() <= height[0] + EXACT


def test_joint_ranges_are_approached_and_not_passed():
    safe = limits(joint_ranges_rad={"joint_7": (0.0, float(START[6]) + 0.2)})
    safety, joints = JointFilter(safe), START.copy()
    for tick in range(80):
        joints = joints + CONTROL_STEP_S * safety.limit(np.eye(7)[6] * 0.6, joints, tick * CONTROL_STEP_S).speeds
        assert joints[6] <= safe.joint_ranges[1][6] + EXACT
    assert joints[6] > safe.joint_ranges[1][6] - 0.01


def test_the_growth_of_speeds_is_limited_by_the_time_that_has_passed_and_slowing_down_is_not():
    safety = JointFilter(limits())
    wanted = np.eye(7)[6] * 1.0
    first = safety.limit(wanted, START, 0.0).speeds[6]
    assert first == pytest.approx(10.0 * CONTROL_STEP_S)
    assert safety.limit(wanted, START, 0.01).speeds[6] == pytest.approx(first + 0.1)
    assert safety.limit(wanted, START, 0.01).speeds[6] == pytest.approx(first + 0.1)  # no time, no growth
    assert safety.limit(wanted, START, 9.0).speeds[6] == pytest.approx(1.0)
    stopped = safety.limit(np.zeros(7), START, 9.001)
    np.testing.assert_array_equal(stopped.speeds, np.zeros(7))
    assert stopped.clamps == ()
    safety.limit(wanted, START, 9.1)
    safety.reset()
    assert safety.limit(wanted, START, 9.2).speeds[6] == pytest.approx(first)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_joint_speeds_rad_s": dict.fromkeys(JOINTS, 0.0)},
        {"max_joint_accelerations_rad_s2": dict.fromkeys(JOINTS, 0.0)},
        {"max_speed_m_s": 0.0},
        {"max_acceleration_m_s2": 0.0},
    ],
)
def test_a_limit_of_zero_is_a_limit(changes):
    safety = JointFilter(limits(**changes))
    for tick in range(4):
        limited = safety.limit(np.full(7, 0.2), START, tick * CONTROL_STEP_S)
        np.testing.assert_allclose(limited.speeds, np.zeros(7), atol=1e-9)
        assert limited.clamps


def test_what_is_not_finite_is_refused_and_changes_nothing():
    safety = JointFilter(limits())
    safety.limit(np.full(7, 0.05), START, 0.0)
    for speeds, joints, now in (
        (np.full(7, np.nan), START, 0.1),
        (np.zeros(6), START, 0.1),
        (np.zeros(7), START * np.inf, 0.1),
        (np.zeros(7), START, math.nan),
        (np.zeros(7), START, -1.0),
    ):
        with pytest.raises(SafetyError):
            safety.limit(speeds, joints, now)
    limited = safety.limit(np.full(7, 0.06), START, 0.025)
    np.testing.assert_array_equal(limited.speeds, np.full(7, 0.06))


def test_joints_are_put_in_order_by_name():
    values = np.arange(7.0)
    shuffled = [3, 1, 0, 6, 5, 4, 2]
    names = [JOINTS[index] for index in shuffled]
    np.testing.assert_array_equal(in_order(names, values[shuffled], "command"), values)


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (JOINTS[:-2], np.zeros(5), "command rejected: missing joint_6, joint_7"),
        ((*JOINTS, "joint_8"), np.zeros(8), "unknown joint 'joint_8'"),
        ((*JOINTS, "joint_1"), np.zeros(8), "more than once joint_1"),
        (JOINTS, np.zeros(6), "7 names for values of shape"),
        ((), np.zeros(0), "missing joint_1, joint_2"),
        (JOINTS, [0, 0, math.nan, 0, 0, 0, 0], "not finite for joint_3"),
    ],
)
def test_missing_unknown_and_repeated_joints_are_named(names, values, message):
    with pytest.raises(SafetyError, match=message):
        in_order(names, values, "command")


def test_every_guarded_point_is_a_frame_of_the_arm():
    assert [FRAMES[index] for index in GUARDED.values()] == ["tool", "forearm_link", "spherical_wrist_2_link"]
