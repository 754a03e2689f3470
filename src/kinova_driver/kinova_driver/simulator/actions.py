"""Actions: those that are stored in the arm, and what any of them does when it is executed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glam_core.gen3 import HOME_RAD
from kinova_driver.kortex.definitions import Base
from kinova_driver.simulator import convert
from kinova_driver.simulator.chain import Array
from kinova_driver.simulator.limits import SPEED_RAD_S, SoftLimits, shortest
from kinova_driver.simulator.motions import JointPath, PosePath, Wait
from kinova_driver.simulator.robot import ActionName, Axes, Refusal, Robot, Stage

PERMISSION = 7
FIRST_USER_ACTION = 10000
_REACH_JOINT_ANGLES = Base.ActionType.Value("REACH_JOINT_ANGLES")
_STORED = {
    1: ("Retract", np.radians([0.0, 340.0, 180.0, 214.0, 0.0, 310.0, 90.0])),
    2: ("Home", np.radians([0.0, 15.0, 180.0, 230.0, 0.0, 55.0, 90.0])),
    3: ("Zero", np.zeros(7)),
    FIRST_USER_ACTION: ("Over the table", HOME_RAD),
}
_AXES = {0: Axes.MIXED, 1: Axes.MIXED, 2: Axes.TOOL, 3: Axes.BASE}


def stored_actions() -> dict[int, Any]:
    """The actions that every arm has, and one user's, by identifier."""
    actions = {}
    for identifier, (name, joints) in _STORED.items():
        handle = Base.ActionHandle(identifier=identifier, action_type=_REACH_JOINT_ANGLES, permission=PERMISSION)
        reach = Base.ConstrainedJointAngles(joint_angles=convert.joint_angles_message(joints))
        actions[identifier] = Base.Action(handle=handle, name=name, reach_joint_angles=reach)
    return actions


def execute(robot: Robot, action: Any, stored: dict[int, Any], session: int) -> None:
    """Starts a `Base.Action`.

    Raises:
        Refusal: The arm can not move now, or knows no such action.
    """
    kind = action.WhichOneof("action_parameters")
    name = ActionName(action.handle.identifier, action.handle.action_type or _kind(kind))
    if kind == "execute_action":
        execute(robot, find(stored, action.execute_action.identifier), stored, session)
    elif kind in _PATHS:
        robot.run(name, _PATHS[kind](robot, getattr(action, kind)), session)
    elif kind in _INSTANT:
        if kind in _MOVING:
            robot.run(name, (), session)
        _INSTANT[kind](robot, getattr(action, kind), session)
    else:
        raise Refusal("UNSUPPORTED_ACTION", f"Failed to execute action: {kind or 'an empty action'} is not supported")


def find(stored: dict[int, Any], identifier: int) -> Any:
    """A stored action; raises Refusal where there is none."""
    if identifier not in stored:
        raise Refusal("ENTITY_NOT_FOUND", f"Failed to execute action: there is no action {identifier}")
    return stored[identifier]


def send_twist(robot: Robot, command: Any, session: int) -> None:
    """A `Base.TwistCommand`; the duration is not implemented, as in the arm."""
    axes = _AXES.get(command.reference_frame)
    if axes is None:
        raise Refusal("INVALID_PARAM", "Failed to execute twist command: unknown reference frame")
    robot.send_twist(convert.twist_from(command.twist), axes, session)


def send_joint_speeds(robot: Robot, command: Any, session: int) -> None:
    """A `Base.JointSpeeds`; the durations are not implemented, as in the arm."""
    robot.send_joint_speeds(convert.joint_values(command.joint_speeds, "joint speeds"), session)


def send_gripper(robot: Robot, command: Any, session: int) -> None:
    """A `Base.GripperCommand` for its one finger."""
    if len(command.gripper.finger) != 1:
        raise Refusal("INVALID_PARAM", "Failed to execute gripper command: Argument Invalid")
    value = command.gripper.finger[0].value
    if command.mode == Base.GRIPPER_POSITION:
        robot.send_gripper(lambda gripper: gripper.go_to(value), session)
    elif command.mode == Base.GRIPPER_SPEED:
        robot.send_gripper(lambda gripper: gripper.move(value), session)
    else:
        raise Refusal("INVALID_PARAM", "Failed to execute gripper command: Argument Invalid")


def waypoints(robot: Robot, command: Any) -> list[Stage]:
    """One path per waypoint of a `Base.WaypointList`, each with a stop at its end: nothing is blended."""
    stages: list[Stage] = []
    for waypoint in command.waypoints:
        kind = waypoint.WhichOneof("type_of_waypoint")
        if kind == "angular_waypoint":
            stages.append(_angular(robot, waypoint.angular_waypoint))
        elif kind == "cartesian_waypoint":
            stages.append(_cartesian(robot, waypoint.cartesian_waypoint))
        else:
            raise Refusal("INVALID_PARAM", f"the waypoint '{waypoint.name}' is neither angular nor Cartesian")
    if not stages:
        raise Refusal("INVALID_PARAM", "a trajectory has at least one waypoint")
    return stages


def reach_joints(robot: Robot, reach: Any) -> list[Stage]:
    """To a `Base.ConstrainedJointAngles`."""
    goal = convert.joint_values(reach.joint_angles.joint_angles, "joint angles")
    value, duration_s, speeds = reach.constraint.value, 0.0, robot.soft_limits.speeds
    if reach.constraint.type == Base.JOINT_CONSTRAINT_DURATION:
        duration_s = _positive(value, "duration")
    elif reach.constraint.type == Base.JOINT_CONSTRAINT_SPEED:
        speeds = np.minimum(speeds, math.radians(_positive(value, "speed")))
    return [_joint_stage(goal, SoftLimits(speeds, robot.soft_limits.accelerations), duration_s)]


def reach_pose(robot: Robot, reach: Any) -> list[Stage]:
    """To a `Base.ConstrainedPose`."""
    goal, kind = convert.pose_from(reach.target_pose), reach.constraint.WhichOneof("type")
    speed_m_s = speed_rad_s = duration_s = 0.0
    if kind == "duration":
        duration_s = _positive(reach.constraint.duration, "duration")
    elif kind == "speed":
        speed_m_s = reach.constraint.speed.translation
        speed_rad_s = math.radians(reach.constraint.speed.orientation)
    return [lambda start: PosePath(robot.chain, start, goal, speed_m_s, speed_rad_s, duration_s)]


def _angular(robot: Robot, waypoint: Any) -> Stage:
    if len(waypoint.angles) != len(SPEED_RAD_S):
        text = f"an angular waypoint has {len(SPEED_RAD_S)} angles, not {len(waypoint.angles)}"
        raise Refusal("CONTROL_ACTUATOR_COUNT_MISMATCH", text)
    speeds = robot.soft_limits.speeds
    if len(waypoint.maximum_velocities) == len(speeds):
        wished = np.radians(np.array(waypoint.maximum_velocities))
        speeds = np.where(wished > 0.0, np.minimum(speeds, wished), speeds)
    limits = SoftLimits(speeds, robot.soft_limits.accelerations)
    return _joint_stage(np.radians(np.array(waypoint.angles)), limits, waypoint.duration)


def _cartesian(robot: Robot, waypoint: Any) -> Stage:
    goal, speed = convert.pose_from(waypoint.pose), waypoint.maximum_linear_velocity
    turn = math.radians(waypoint.maximum_angular_velocity)
    return lambda start: PosePath(robot.chain, start, goal, speed, turn)


def _joint_stage(goal: Array, limits: SoftLimits, duration_s: float) -> Stage:
    return lambda start: JointPath(start, shortest(goal, start), limits, duration_s)


def _positive(value: float, what: str) -> float:
    if not (math.isfinite(value) and value > 0.0):
        raise Refusal("CONTROL_INVALID_DURATION", f"the {what} of a constraint is a positive number, not {value}")
    return value


def _kind(parameters: str | None) -> int:
    """The action type that belongs to what an action carries."""
    names = {"delay": "TIME_DELAY", "send_twist_command": "SEND_TWIST_COMMAND"}
    name = names.get(parameters or "", (parameters or "").upper())
    return Base.ActionType.Value(name) if name in Base.ActionType.keys() else 0  # noqa: SIM118


_PATHS = {
    "reach_pose": reach_pose,
    "reach_joint_angles": reach_joints,
    "execute_waypoint_list": waypoints,
    "delay": lambda robot, delay: [lambda start: Wait(float(delay.duration))],
}
_INSTANT = {
    "send_twist_command": send_twist,
    "send_joint_speeds": send_joint_speeds,
    "send_gripper_command": send_gripper,
    "stop_action": lambda robot, message, session: robot.stop_action(),
    "clear_faults": lambda robot, message, session: robot.clear_faults(),
    "apply_emergency_stop": lambda robot, message, session: robot.emergency_stop(session),
}
_MOVING = ("send_twist_command", "send_joint_speeds", "send_gripper_command")
"""Actions that are over as soon as they have begun; what they set in motion goes on."""
