"""The calls of the Kortex service BaseCyclic: feedback, and low-level servoing."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinova_driver.kortex.definitions import BaseCyclic
from kinova_driver.simulator import convert
from kinova_driver.simulator.base_service import Call, Handler
from kinova_driver.simulator.devices import GRIPPER, INTERCONNECT, bank
from kinova_driver.simulator.limits import JOINT_COUNT
from kinova_driver.simulator.robot import JointCommand, Refusal, Robot

_VOLTAGE_V = 24.0
_IDLE_A, _A_PER_NM = 0.6, np.array([0.09, 0.09, 0.09, 0.09, 0.14, 0.14, 0.14])
_MOTOR_C, _CORE_C, _CPU_C, _AMBIENT_C, _C_PER_A2 = 33.0, 38.0, 52.0, 36.0, 0.5
_GRAVITY_M_S2 = 9.81


class CyclicService:
    """Feedback as it is at the newest step of the arm."""

    def __init__(self, robot: Robot, refresh_command: bool = False) -> None:
        """Serves one arm.

        Args:
            robot: The arm.
            refresh_command: Whether its firmware knows RefreshCommand.
        """
        self._robot = robot
        self._feedback: tuple[tuple[object, ...], Any] | None = None
        self.handlers: dict[str, Handler] = {
            "Refresh": self._refresh,
            "RefreshFeedback": lambda message, call: self.feedback(),
            "RefreshCustomData": self._custom_data,
        }
        if refresh_command:
            self.handlers["RefreshCommand"] = self._command

    def feedback(self, frame_id: int = 0) -> Any:
        """A `BaseCyclic.Feedback`; the same one as before where the arm has not moved on since."""
        key = (self._robot.steps, self._robot.state, self._robot.faults)
        if self._feedback is None or self._feedback[0] != key:
            self._feedback = key, self._build()
        message = self._feedback[1]
        message.frame_id = frame_id
        return message

    def _refresh(self, message: Any, call: Call) -> Any:
        self._command(message, call)
        return self.feedback(message.frame_id)

    def _command(self, message: Any, call: Call) -> None:
        commands = [
            JointCommand(float(np.radians(a.position)), float(np.radians(a.velocity)), a.torque_joint)
            for a in message.actuators
        ]
        self._robot.refresh(commands, call.session, call.now)
        motors = message.interconnect.gripper_command.motor_cmd
        if motors:
            position, speed = motors[0].position / 100.0, motors[0].velocity / 100.0
            try:
                self._robot.gripper.go_to(position, speed)
            except ValueError as error:
                raise Refusal("INVALID_PARAM", str(error)) from error

    def _custom_data(self, message: Any, call: Call) -> Any:
        data = BaseCyclic.CustomData(frame_id=message.frame_id)
        for _ in range(JOINT_COUNT):
            data.actuators_custom_data.add()
        return data

    def _build(self) -> Any:
        robot, measured = self._robot, self._robot.measured
        faults = robot.faults
        feedback = BaseCyclic.Feedback()
        currents = np.abs(measured.torques) * _A_PER_NM
        columns = (
            convert.degrees_of(measured.positions),
            np.degrees(measured.speeds),
            -measured.torques,  # what the arm reports has the opposite sign
            currents,
            _MOTOR_C + _C_PER_A2 * currents**2,
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for number, (position, velocity, torque, current, temperature) in enumerate(rows, start=1):
            actuator = feedback.actuators.add()
            actuator.position, actuator.velocity, actuator.torque = position, velocity, torque
            actuator.current_motor, actuator.temperature_motor = current, temperature
            actuator.voltage, actuator.temperature_core = _VOLTAGE_V, _CORE_C
            if faults:
                actuator.fault_bank_a = bank(number, faults)
        self._fill_base(feedback.base, float(currents.sum()))
        tool = feedback.interconnect
        tool.voltage, tool.temperature_core, tool.imu_acceleration_z = _VOLTAGE_V, _CORE_C, _GRAVITY_M_S2
        tool.fault_bank_a = bank(INTERCONNECT, faults)
        tool.gripper_feedback.fault_bank_a = bank(GRIPPER, faults)
        tool.gripper_feedback.motor.add(
            motor_id=1,
            position=100.0 * robot.gripper.measured,
            velocity=100.0 * abs(robot.gripper.measured_speed),
            voltage=_VOLTAGE_V,
            temperature_motor=_MOTOR_C,
        )
        return feedback

    def _fill_base(self, base: Any, current: float) -> None:
        robot, measured, chain = self._robot, self._robot.measured, self._robot.chain
        base.active_state_connection_identifier, base.active_state = robot.controller, int(robot.state)
        base.arm_voltage, base.arm_current = _VOLTAGE_V, _IDLE_A + current
        base.temperature_cpu, base.temperature_ambient = _CPU_C, _AMBIENT_C
        base.imu_acceleration_z = _GRAVITY_M_S2
        base.fault_bank_a = bank(0, robot.faults)
        chain.update(robot.set_point)
        T = chain.pose()
        base.commanded_tool_pose_x, base.commanded_tool_pose_y, base.commanded_tool_pose_z = T[:3, 3].tolist()
        (
            base.commanded_tool_pose_theta_x,
            base.commanded_tool_pose_theta_y,
            base.commanded_tool_pose_theta_z,
        ) = convert.angles_of(T)
        chain.update(measured.positions)
        T, twist = chain.pose(), chain.jacobian() @ measured.speeds
        base.tool_pose_x, base.tool_pose_y, base.tool_pose_z = T[:3, 3].tolist()
        base.tool_pose_theta_x, base.tool_pose_theta_y, base.tool_pose_theta_z = convert.angles_of(T)
        base.tool_twist_linear_x, base.tool_twist_linear_y, base.tool_twist_linear_z = twist[:3].tolist()
        angular = np.degrees(twist[3:]).tolist()
        base.tool_twist_angular_x, base.tool_twist_angular_y, base.tool_twist_angular_z = angular
        (
            base.tool_external_wrench_force_x,
            base.tool_external_wrench_force_y,
            base.tool_external_wrench_force_z,
            base.tool_external_wrench_torque_x,
            base.tool_external_wrench_torque_y,
            base.tool_external_wrench_torque_z,
        ) = measured.wrench.tolist()
