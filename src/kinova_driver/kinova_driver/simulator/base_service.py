"""The calls of the Kortex service Base: what the simulated arm does in answer to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from glam_core.errors import GlamError
from kinova_driver.kortex.definitions import Base, Common, ProductConfiguration
from kinova_driver.simulator import actions, convert
from kinova_driver.simulator.limits import JOINT_COUNT, POSITION_RAD, shortest
from kinova_driver.simulator.robot import NOBODY, Refusal, Robot, ServoingMode

SERIAL_NUMBER = "SIMULATED"


class Call(NamedTuple):
    """Who calls: session, device, time (monotonic, s)."""

    session: int
    device: int
    now: float


Handler = Callable[[Any, Call], Any]
"""From the request to the response; None stands for an empty one."""

_CONTROL_MODES = {False: "ANGULAR_JOYSTICK", True: "ANGULAR_TRAJECTORY"}


class BaseService:
    """Commands and questions to the base."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._actions = actions.stored_actions()
        self.handlers: dict[str, Handler] = {
            "ReadAllActions": self._read_all_actions,
            "ExecuteActionFromReference": self._execute_stored,
            "ExecuteAction": lambda m, c: actions.execute(robot, m, self._actions, c.session),
            "PauseAction": lambda m, c: robot.pause(),
            "StopAction": lambda m, c: robot.stop_action(),
            "ResumeAction": lambda m, c: robot.resume(),
            "PlayCartesianTrajectory": self._play_cartesian,
            "PlayJointTrajectory": self._play_joints,
            "Stop": lambda m, c: robot.stop(),
            "GetMeasuredCartesianPose": self._measured_pose,
            "SendTwistJoystickCommand": lambda m, c: actions.send_twist(robot, m, c.session),
            "SendTwistCommand": lambda m, c: actions.send_twist(robot, m, c.session),
            "GetMeasuredJointAngles": lambda m, c: convert.joint_angles_message(robot.measured.positions),
            "SendJointSpeedsCommand": lambda m, c: actions.send_joint_speeds(robot, m, c.session),
            "SendSelectedJointSpeedCommand": self._send_joint_speed,
            "SendGripperCommand": lambda m, c: actions.send_gripper(robot, m, c.session),
            "GetMeasuredGripperMovement": self._measured_gripper,
            "ApplyEmergencyStop": lambda m, c: robot.emergency_stop(c.session),
            "ClearFaults": lambda m, c: robot.clear_faults(),
            "SetServoingMode": self._set_servoing_mode,
            "GetServoingMode": lambda m, c: Base.ServoingModeInformation(servoing_mode=int(robot.mode)),
            "GetActuatorCount": lambda m, c: Base.ActuatorInformation(count=JOINT_COUNT),
            "GetArmState": self._arm_state,
            "SetOperatingMode": self._set_operating_mode,
            "GetOperatingMode": lambda m, c: Base.OperatingModeInformation(operating_mode=Base.RUN_MODE),
            "GetProductConfiguration": lambda m, c: product_configuration(),
            "ValidateWaypointList": self._validate_waypoints,
            "ExecuteWaypointTrajectory": self._execute_waypoints,
            "ComputeForwardKinematics": self._forward_kinematics,
            "ComputeInverseKinematics": self._inverse_kinematics,
            "GetControlMode": self._control_mode,
        }

    def _read_all_actions(self, message: Any, call: Call) -> Any:
        wanted = message.action_type
        chosen = [a for a in self._actions.values() if wanted in (0, a.handle.action_type)]
        return Base.ActionList(action_list=chosen)

    def _execute_stored(self, message: Any, call: Call) -> None:
        action = actions.find(self._actions, message.identifier)
        actions.execute(self._robot, action, self._actions, call.session)

    def _play_cartesian(self, message: Any, call: Call) -> None:
        action = Base.Action(handle=Base.ActionHandle(action_type=Base.REACH_POSE), reach_pose=message)
        actions.execute(self._robot, action, self._actions, call.session)

    def _play_joints(self, message: Any, call: Call) -> None:
        handle = Base.ActionHandle(action_type=Base.REACH_JOINT_ANGLES)
        action = Base.Action(handle=handle, reach_joint_angles=message)
        actions.execute(self._robot, action, self._actions, call.session)

    def _execute_waypoints(self, message: Any, call: Call) -> None:
        handle = Base.ActionHandle(action_type=Base.EXECUTE_WAYPOINT_LIST)
        action = Base.Action(handle=handle, execute_waypoint_list=message)
        actions.execute(self._robot, action, self._actions, call.session)

    def _validate_waypoints(self, message: Any, call: Call) -> Any:
        """What would be wrong with a list: only that which the simulated arm itself would trip over."""
        report = Base.WaypointValidationReport(optimal_waypoint_list=message)
        errors = report.trajectory_error_report.trajectory_error_elements
        if not message.waypoints:
            errors.add(error_type=Base.TRAJECTORY_ERROR_TYPE_INVALID_TRAJECTORY_SIZE, message="there is no waypoint")
        guess = self._robot.set_point
        for index, waypoint in enumerate(message.waypoints):
            problem = 0
            if waypoint.WhichOneof("type_of_waypoint") == "angular_waypoint":
                angles = np.radians(np.array(waypoint.angular_waypoint.angles))
                if angles.shape != (JOINT_COUNT,):
                    problem = Base.TRAJECTORY_ERROR_TYPE_ACTUATOR_COUNT_MISMATCH
                elif (np.abs(shortest(angles, guess)) > POSITION_RAD).any():
                    problem = Base.TRAJECTORY_ERROR_TYPE_JOINT_POSITION_LIMIT
            elif not self._reachable(convert.pose_from(waypoint.cartesian_waypoint.pose), guess):
                problem = Base.TRAJECTORY_ERROR_TYPE_OUTSIDE_WORKSPACE
            if problem:
                errors.add(error_type=problem, waypoint_index=index, message=f"waypoint {index} '{waypoint.name}'")
        return report

    def _reachable(self, T_base_tool: np.ndarray, guess: np.ndarray) -> bool:
        try:
            self._robot.chain.solve(T_base_tool, guess)
        except GlamError:
            return False
        return True

    def _send_joint_speed(self, message: Any, call: Call) -> None:
        self._robot.send_joint_speed(message.joint_identifier, float(np.radians(message.value)), call.session)

    def _measured_pose(self, message: Any, call: Call) -> Any:
        self._robot.chain.update(self._robot.measured.positions)
        return convert.pose_message(self._robot.chain.pose())

    def _measured_gripper(self, message: Any, call: Call) -> Any:
        gripper = self._robot.gripper
        if message.mode == Base.GRIPPER_POSITION:
            value = gripper.measured
        elif message.mode == Base.GRIPPER_SPEED:
            value = -gripper.measured_speed  # opening is positive
        else:
            raise Refusal("INVALID_PARAM", "Failed to get gripper movement: Argument Invalid")
        return Base.Gripper(finger=[Base.Finger(finger_identifier=1, value=value)])

    def _set_servoing_mode(self, message: Any, call: Call) -> None:
        if message.servoing_mode not in tuple(ServoingMode):
            raise Refusal("INVALID_PARAM", "Failed to set servoing mode: Argument Invalid")
        self._robot.set_servoing_mode(ServoingMode(message.servoing_mode), call.session)

    def _arm_state(self, message: Any, call: Call) -> Any:
        return Base.ArmStateInformation(active_state=int(self._robot.state), connection=connection(self._robot))

    def _set_operating_mode(self, message: Any, call: Call) -> None:
        if message.operating_mode != Base.RUN_MODE:
            raise Refusal("UNIMPLEMENTED", "the simulated arm knows no other operating mode than RUN_MODE")

    def _forward_kinematics(self, message: Any, call: Call) -> Any:
        self._robot.chain.update(convert.joint_values(message.joint_angles, "joint angles"))
        return convert.pose_message(self._robot.chain.pose())

    def _inverse_kinematics(self, message: Any, call: Call) -> Any:
        guess = convert.joint_values(message.guess.joint_angles, "guess")
        guess = shortest(guess, np.zeros(JOINT_COUNT))
        try:
            return convert.joint_angles_message(
                self._robot.chain.solve(convert.pose_from(message.cartesian_pose), guess)
            )
        except GlamError as error:
            raise Refusal("METHOD_FAILED", f"Failed to compute inverse kinematics: {error}") from error

    def _control_mode(self, message: Any, call: Call) -> Any:
        playing = self._robot.state.name == "SERVOING_PLAYING_SEQUENCE"
        return Base.ControlModeInformation(mode=Base.ControlMode.Value(_CONTROL_MODES[playing]))


def connection(robot: Robot) -> Any:
    """Whose hands the arm is in, as a `Common.Connection`."""
    controller = robot.controller
    if controller == NOBODY:
        return Common.Connection()
    return Common.Connection(connection_identifier=controller, connection_information="session")


def product_configuration() -> Any:
    """A Gen3 with seven joints, the two-finger gripper and the vision module."""
    return ProductConfiguration.CompleteProductConfiguration(
        kin=SERIAL_NUMBER,
        model=ProductConfiguration.MODEL_ID_L53,
        assembly_plant="simulated",
        model_year="2021",
        degree_of_freedom=JOINT_COUNT,
        base_type=ProductConfiguration.BASE_TYPE_L53_QUICK_CONNECT,
        end_effector_type=ProductConfiguration.END_EFFECTOR_TYPE_ROBOTIQ_2F_85,
        vision_module_type=ProductConfiguration.VISION_MODULE_TYPE_L53_2D3D,
        interface_module_type=ProductConfiguration.INTERFACE_MODULE_TYPE_L53,
        arm_laterality=ProductConfiguration.ARM_LATERALITY_NOT_APPLICABLE,
        wrist_type=ProductConfiguration.WRIST_TYPE_SPHERICAL,
        brake_type=ProductConfiguration.BRAKE_TYPE_CLUTCH,
    )
