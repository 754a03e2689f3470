"""From commands of the tool to joint speeds: the way through the waypoints, and what an arm is really sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_arm import FakeArm

from glam_core.errors import ConfigurationError, SafetyError
from glam_core.gen3 import COMMAND_STEP_S, CONTROL_STEP_S, JOINTS
from glam_core.ik import DifferentialIK
from glam_core.kinematics import Gen3Kinematics, forward, jacobian
from glam_core.limits import SafetyLimits
from glam_core.pose import tool_down
from glam_core.tool import ToolCommand, ToolState
from kinova_driver.actuation import JointActuation, Stream
from kinova_driver.arm import ArmState
from kinova_driver.motion import ToolMotion

IK = DifferentialIK(Gen3Kinematics())
START = IK.solve(tool_down((0.45, 0.0, 0.2), 0.0))
LIMITS = SafetyLimits(workspace_min=(0.2, -0.35, 0.005), workspace_max=(0.75, 0.35, 0.5))
LATENCY_TICKS = 1


def at(x: float, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return tool_down((x, y, 0.2), yaw)


def test_a_goal_is_nearly_reached_when_it_is_due_and_then_rested_at() -> None:
    """As policies were taught: seven eighths of the way, slowing down."""
    motion, joints = ToolMotion(), START.copy()
    motion.aim(at(0.47), COMMAND_STEP_S)
    travelled = []
    for tick in range(12):
        now = tick * CONTROL_STEP_S
        joints = joints + CONTROL_STEP_S * motion.joint_speeds(joints, now, now)
        travelled.append(IK.tool_pose(joints)[0, 3] - 0.45)
    assert travelled[3] == pytest.approx(0.0175, abs=3e-4)
    assert travelled[-1] == pytest.approx(0.02, abs=1e-4)
    assert max(travelled) < 0.0201


def test_an_old_measurement_is_met_where_the_arm_is_by_now() -> None:
    fresh, old = ToolMotion(), ToolMotion()
    fresh.aim(at(0.48), COMMAND_STEP_S)
    old.aim(at(0.48), COMMAND_STEP_S)
    first = fresh.joint_speeds(START, 0.0, 0.0)
    np.testing.assert_array_equal(old.joint_speeds(START, 0.0, 0.0), first)
    now = CONTROL_STEP_S
    met = fresh.joint_speeds(START + 0.01 * first, now, now)
    np.testing.assert_allclose(old.joint_speeds(START, now - 0.01, now), met, atol=1e-9)


def test_repeating_a_command_changes_nothing() -> None:
    once, often = ToolMotion(), ToolMotion()
    for tick in range(8):
        now, goal = tick * CONTROL_STEP_S, at(0.45 + 0.01 * (tick // 4))
        if tick % 4 == 0:
            once.aim(goal, now + COMMAND_STEP_S)
        often.aim(goal, now + COMMAND_STEP_S)
        np.testing.assert_array_equal(once.joint_speeds(START, now, now), often.joint_speeds(START, now, now))


class JointArm(FakeArm):
    """Joints that do what they are told, a tick later."""

    def __init__(self) -> None:
        super().__init__()
        self.joints, self.pending = START.copy(), [np.zeros(7)] * LATENCY_TICKS
        self.measure(0.0)

    def measure(self, now: float) -> ArmState:
        tool = ToolState(forward(self.joints).pose("tool"), self.gripper)
        self.state = replace(
            self.state, joint_names=JOINTS, positions=self.joints, velocities=np.zeros(7), tool=tool, stamp=now
        )
        return self.state

    def advance(self) -> None:
        if self.twists:
            tool_jacobian = jacobian(forward(self.joints))
            self.pending.append(np.linalg.pinv(tool_jacobian) @ self.twists[-1])
        else:
            self.pending.append(self.speeds[-1])
        self.joints = self.joints + CONTROL_STEP_S * self.pending.pop(0)


@pytest.mark.parametrize("stream", ["joint_speeds", "twist"])
@pytest.mark.parametrize("rate_hz", [10, 40])
def test_a_circle_is_tracked_within_5_mm(stream: Stream, rate_hz: int) -> None:
    arm = JointArm()
    actuation = JointActuation(arm, LIMITS, "arm", stream)
    speed, radius = 0.2, 0.1

    def circle(time: float) -> np.ndarray:
        angle = speed / radius * max(time, 0.0)
        return at(0.35 + radius * np.cos(angle), radius * np.sin(angle))

    misses = []
    for tick in range(320):
        now = tick * CONTROL_STEP_S
        given = np.floor(now * rate_hz + 1e-9) / rate_hz
        command = ToolCommand(circle(given + COMMAND_STEP_S), 0.5)
        state = arm.measure(now)
        actuation.send(command, given + COMMAND_STEP_S, state, now)
        if now > 2.0:
            misses.append(np.linalg.norm(state.tool.T_base_tool[:3, 3] - circle(now)[:3, 3]))
        arm.advance()
    assert 1e3 * np.sqrt(np.mean(np.square(misses))) < 5.0
    assert arm.gripper == 0.5


def test_the_limits_of_the_joints_hold_for_what_is_sent() -> None:
    arm, tight = JointArm(), LIMITS.model_copy(update={"max_joint_speeds_rad_s": {"joint_1": 0.05}})
    actuation = JointActuation(arm, tight, "left")
    names = set()
    for tick in range(40):
        now = tick * CONTROL_STEP_S
        clamps = actuation.send(ToolCommand(at(0.45, 0.3), 0.0), now + COMMAND_STEP_S, arm.measure(now), now)
        names |= {(clamp.name, clamp.arm) for clamp in clamps}
        assert abs(arm.speeds[-1][0]) <= 0.05 + 1e-9
        arm.advance()
    assert ("joint_speed.joint_1", "left") in names


def test_joint_speeds_pass_the_limiter_too() -> None:
    arm = JointArm()
    actuation = JointActuation(arm, LIMITS, "arm")
    (clamp,) = actuation.send_joint_speeds(np.full(7, 0.3), arm.measure(0.0), 0.0)
    assert clamp.name.startswith("joint_acceleration.")
    assert np.all(arm.speeds[-1] < 0.3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (JOINTS[:6], "the arm has 6 joints .* for a Gen3 with the 7 joints"),
        ((), r"the arm has 0 joints \(none\)"),
        (("hand_x", "hand_y", "hand_z", "hand_yaw"), "hand_yaw"),
    ],
)
def test_an_arm_of_another_kind_is_named(names: tuple[str, ...], message: str) -> None:
    arm = JointArm()
    state = replace(arm.state, joint_names=names, positions=np.zeros(len(names)))
    actuation = JointActuation(arm, LIMITS, "arm")
    with pytest.raises(ConfigurationError, match=message):
        actuation.check(state)
    with pytest.raises(SafetyError, match="measurement rejected: missing"):
        actuation.send(ToolCommand(at(0.45), 0.0), COMMAND_STEP_S, state, 0.0)
    assert arm.speeds == []
