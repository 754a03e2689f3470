"""The simulated arm over real sockets: every call, every error, sessions and their ends, notifications."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from served_arm import Client, ServedArm, wait_for

from kinova_driver.kortex import frame
from kinova_driver.kortex.client import KServerException, RouterClientSendOptions
from kinova_driver.kortex.definitions import (
    ActuatorConfig,
    Base,
    BaseCyclic,
    Common,
    ControlConfig,
    ErrorCodes,
    Session,
    SubErrorCodes,
)
from kinova_driver.kortex.frame import Header
from kinova_driver.kortex.services import METHODS, method
from kinova_driver.simulator.router import Firmware

NOTHING = Common.NotificationOptions()
SLOWLY = Base.JointSpeeds(joint_speeds=[Base.JointSpeed(joint_identifier=i, value=5.0) for i in range(7)])


@pytest.fixture
def served() -> Iterator[ServedArm]:
    with ServedArm() as served:
        yield served


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[str, str, str]:
    """Error code, sub-code and text of a call that fails."""
    with pytest.raises(KServerException) as error:
        call(*arguments, **options)
    exception = error.value
    code, sub_code = exception.get_error_code(), exception.get_error_sub_code()
    return ErrorCodes.Name(code), SubErrorCodes.Name(sub_code), str(exception)


def exchange(address: tuple[str, int], data: bytes, patience_s: float = 2.0) -> bytes | None:
    """What comes back for a datagram; None for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(patience_s)
        endpoint.sendto(data, address)
        try:
            return endpoint.recv(65536)
        except TimeoutError:
            return None


def udp(served: ServedArm) -> tuple[str, int]:
    return served.server.address.host, served.server.address.udp_port


def test_the_bytes_of_a_first_conversation(served: ServedArm) -> None:
    """A recorded login, and the answer that the official client accepted."""
    login = bytes.fromhex("0a140d0000001115010000001d01000110251500000012150a0561646d696e10e0d4031a0561646d696e20d00f")
    assert exchange(udp(served), login) == bytes.fromhex("0a0f0d0000001315010001001d01000110")


def test_an_answer_comes_in_one_piece_with_its_prefix(served: ServedArm) -> None:
    login = frame.encode(
        Header(frame.REQUEST, message_id=7, service_id=1, function_id=1),
        Session.CreateSessionInfo(username="admin", password="admin").SerializeToString(),
    )
    where = served.server.address
    with socket.create_connection((where.host, where.tcp_port), timeout=5.0) as endpoint:
        wrapped = frame.with_prefix(login)
        for piece in (b"garbage", wrapped[:5], wrapped[5:20], wrapped[20:]):  # as a network may split it
            endpoint.sendall(piece)
            time.sleep(0.01)
        answer = endpoint.recv(65536)
    header, payload = frame.decode(answer[frame.PREFIX_SIZE :])
    assert answer == frame.with_prefix(frame.encode(header, payload))
    assert (header.frame_type, header.message_id, header.session_id, header.error_code) == (frame.RESPONSE, 7, 1, 0)


def test_what_is_no_request_is_not_answered(served: ServedArm) -> None:
    answers = [
        exchange(udp(served), data, 0.2)
        for data in (
            b"",
            b"\xff" * 40,
            b"hello",
            frame.encode(Header(frame.RESPONSE, message_id=1, service_id=1, function_id=3)),
        )
    ]
    assert answers == [None] * 4
    with Client(served) as client:
        client.base.GetArmState()


@pytest.mark.parametrize(
    ("service", "function", "error"),
    [
        (2, 4000, "UNSUPPORTED_METHOD"),
        (5, 1, "UNSUPPORTED_METHOD"),
        (3, 2, "UNSUPPORTED_METHOD"),
        (900, 1, "UNSUPPORTED_SERVICE"),
    ],
)
def test_an_unknown_call_is_answered_by_a_header_alone(
    served: ServedArm, service: int, function: int, error: str
) -> None:
    login = bytes.fromhex("0a140d0000001115010000001d01000110251500000012150a0561646d696e10e0d4031a0561646d696e20d00f")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(2.0)
        endpoint.sendto(login, udp(served))
        session = frame.decode(endpoint.recv(65536))[0].session_id
        header = Header(
            frame.REQUEST, device_id=3, session_id=session, message_id=9, service_id=service, function_id=function
        )
        endpoint.sendto(frame.encode(header), udp(served))
        answer, payload = frame.decode(endpoint.recv(65536))
    assert payload == b""
    assert (answer.error_code, answer.error_sub_code) == (1, SubErrorCodes.Value(error))
    assert (answer.message_id, answer.device_id, answer.service_id, answer.function_id) == (9, 3, service, function)


def test_a_payload_that_is_no_message_is_a_protocol_error(served: ServedArm) -> None:
    header = Header(frame.REQUEST, service_id=2, function_id=121, message_id=1)
    answer = exchange(udp(served), frame.encode(header, b"\xff\xff\xff"))
    assert answer is not None
    decoded, payload = frame.decode(answer)
    assert (decoded.error_code, decoded.error_sub_code) == (1, SubErrorCodes.Value("PAYLOAD_DECODING_ERR"))
    assert payload == b""


def _options(timeout_ms: int) -> RouterClientSendOptions:
    return RouterClientSendOptions(timeout_ms=timeout_ms)


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_who_is_not_known_does_not_get_in(served: ServedArm) -> None:
    client = Client(served)
    assert refused(client.log_in, user="root")[:2] == ("ERROR_DEVICE", "USER_NOT_FOUND")
    assert refused(client.log_in, password="12345")[:2] == ("ERROR_DEVICE", "INVALID_PASSWORD")
    assert refused(client.base.Stop)[:2] == ("ERROR_DEVICE", "INVALID_USER_SESSION_ACCESS")
    client.hang_up()


def test_strangers_may_be_left_without_an_answer() -> None:
    with ServedArm(Firmware(answers_strangers=False)) as served:
        client = Client(served)
        with pytest.raises(TimeoutError):
            client.base.Stop(options=_options(200))
        client.hang_up()


def test_a_session_belongs_to_its_connection(served: ServedArm) -> None:
    with Client(served) as client, Client(served, udp=True) as other:
        assert client.router.session_id != other.router.session_id
        listed = [c.connection_identifier for c in client.sessions.GetConnections().connection]
        assert listed == [client.router.session_id, other.router.session_id]
        other.router.session_id = client.router.session_id
        assert refused(other.cyclic.RefreshFeedback)[1] == "INVALID_USER_SESSION_ACCESS"


def test_motion_stops_when_its_client_falls_silent_and_the_session_goes_later(served: ServedArm) -> None:
    client = Client(served, timeouts_ms=(900, 400)).log_in()
    client.base.SendJointSpeedsCommand(SLOWLY)
    wait_for(lambda: served.moving)
    time.sleep(0.6)  # kept alive
    assert served.moving
    client.hang_up()
    wait_for(lambda: not served.moving)
    assert len(served.router.sessions) == 1
    wait_for(lambda: len(served.router.sessions) == 0)


def test_a_killed_client_leaves_its_session_until_it_times_out(served: ServedArm) -> None:
    for _ in range(10):
        Client(served, timeouts_ms=(1000, 500)).log_in().hang_up()
    client = Client(served)
    assert refused(client.log_in)[1] == "INVALID_SESSION"
    wait_for(lambda: len(served.router.sessions) == 0)
    client.log_in()
    client.session.CloseSession()
    assert len(served.router.sessions) == 0
    client.hang_up()


# -- commands ----------------------------------------------------------------------------------------------------------


def test_speeds_twists_and_stop(served: ServedArm) -> None:
    with Client(served) as client:
        client.base.SendJointSpeedsCommand(SLOWLY)
        wait_for(lambda: served.moving)
        np.testing.assert_allclose(np.degrees(served.robot._motion.speeds(served.robot.set_point, 0.01)), 5.0)
        assert client.base.GetArmState().active_state == Common.ARMSTATE_SERVOING_MANUALLY_CONTROLLED
        assert client.base.GetArmState().connection.connection_identifier == client.router.session_id
        twist = Base.TwistCommand(reference_frame=Common.CARTESIAN_REFERENCE_FRAME_BASE)
        twist.twist.linear_x = 0.05
        client.base.SendTwistCommand(twist)
        before = client.base.GetMeasuredCartesianPose()
        wait_for(lambda: client.base.GetMeasuredCartesianPose().x > before.x + 0.01)
        client.base.Stop()
        wait_for(lambda: not served.moving)
        client.base.SendSelectedJointSpeedCommand(Base.JointSpeed(joint_identifier=6, value=-10.0))
        wait_for(lambda: served.measured.speeds[6] < -0.1)
        client.base.Stop()


def test_wrong_arguments_are_refused(served: ServedArm) -> None:
    with Client(served) as client:
        two = Base.JointSpeeds(joint_speeds=[Base.JointSpeed(joint_identifier=0, value=1.0)] * 2)
        assert refused(client.base.SendJointSpeedsCommand, two)[1] == "CONTROL_ACTUATOR_COUNT_MISMATCH"
        fingers = Base.GripperCommand(mode=Base.GRIPPER_POSITION)
        assert refused(client.base.SendGripperCommand, fingers)[1:] == (
            "INVALID_PARAM",
            "ERROR_DEVICE/INVALID_PARAM: Failed to execute gripper command: Argument Invalid",
        )
        mode = Base.ServoingModeInformation(servoing_mode=0)
        assert refused(client.base.SetServoingMode, mode)[1] == "INVALID_PARAM"
        assert (
            refused(client.base.ExecuteActionFromReference, Base.ActionHandle(identifier=77))[1] == "ENTITY_NOT_FOUND"
        )
        assert refused(client.base.ExecuteAction, Base.Action(name="empty"))[1] == "UNSUPPORTED_ACTION"
        assert refused(client.base.PauseAction)[1] == "CONTROL_NO_ACTION"
        assert refused(client.device.GetDeviceType, deviceId=200)[1] == "INVALID_DEVICE"
        torque = ActuatorConfig.ControlModeInformation(control_mode=ActuatorConfig.CUSTOM)
        assert refused(client.actuators.SetControlMode, torque, deviceId=1)[:2] == ("ERROR_DEVICE", "SUB_ERROR_NONE")
        assert refused(client.base.Unsubscribe, Common.NotificationHandle(identifier=5))[1] == "ENTITY_NOT_FOUND"


def test_faults_refuse_motion_with_the_words_of_the_arm(served: ServedArm) -> None:
    with Client(served) as client:
        client.base.ApplyEmergencyStop()
        assert client.base.GetArmState().active_state == Common.ARMSTATE_IN_FAULT
        code, sub_code, text = refused(
            client.base.ExecuteActionFromReference, Base.ActionHandle(identifier=2, action_type=7)
        )
        assert (code, sub_code) == ("ERROR_DEVICE", "ROBOT_IN_FAULT")
        assert "Failed to execute action: Command failed arm is in fault state" in text
        assert client.cyclic.RefreshFeedback().base.fault_bank_a == Base.SafetyIdentifier.Value(
            "EMERGENCY_STOP_ACTIVATED"
        )
        client.base.ClearFaults()
        assert client.base.GetArmState().active_state == Common.ARMSTATE_SERVOING_READY
        served.tell("fault MAXIMUM_TORQUE joint_4")
        assert client.cyclic.RefreshFeedback().actuators[3].fault_bank_a == 0x20
        client.actuators.ClearFaults(deviceId=4)
        assert client.cyclic.RefreshFeedback().actuators[3].fault_bank_a == 0


def test_the_gripper_takes_positions_and_speeds(served: ServedArm) -> None:
    with Client(served) as client:
        command = Base.GripperCommand(mode=Base.GRIPPER_POSITION)
        command.gripper.finger.add(finger_identifier=1, value=0.3)
        client.base.SendGripperCommand(command)
        asked = Base.GripperRequest(mode=Base.GRIPPER_POSITION)
        wait_for(lambda: abs(client.base.GetMeasuredGripperMovement(asked).finger[0].value - 0.3) < 0.01)
        motor = client.cyclic.RefreshFeedback().interconnect.gripper_feedback.motor[0]
        assert motor.position == pytest.approx(30.0, abs=1.0)
        command.mode, command.gripper.finger[0].value = Base.GRIPPER_SPEED, -1.0  # closes
        client.base.SendGripperCommand(command)
        wait_for(lambda: client.base.GetMeasuredGripperMovement(asked).finger[0].value > 0.99)


# -- actions and notifications -----------------------------------------------------------------------------------------


def test_an_action_tells_its_subscribers_how_it_goes(served: ServedArm) -> None:
    events: list[tuple[int, int]] = []
    ended = threading.Event()

    def take(notification: Any) -> None:
        events.append((notification.action_event, notification.handle.identifier))
        if notification.action_event in (Base.ACTION_END, Base.ACTION_ABORT):
            ended.set()

    with Client(served) as client:
        handle = client.base.OnNotificationActionTopic(take, NOTHING)
        assert 1 <= handle.identifier <= 65535
        named = {a.name: a for a in client.base.ReadAllActions(Base.RequestedActionType(action_type=7)).action_list}
        assert set(named) >= {"Home", "Retract", "Zero"}
        assert all(0.0 <= a.value < 360.0 for a in named["Home"].reach_joint_angles.joint_angles.joint_angles)
        client.base.ExecuteActionFromReference(named["Home"].handle)
        assert ended.wait(20.0)
        assert events == [(Base.ACTION_START, 2), (Base.ACTION_END, 2)]
        np.testing.assert_allclose(
            [a.value for a in client.base.GetMeasuredJointAngles().joint_angles], [0, 15, 180, 230, 0, 55, 90], atol=0.5
        )
        client.base.Unsubscribe(handle)
        events.clear()
        client.base.ExecuteActionFromReference(named["Zero"].handle)
        client.base.Stop()
        client.base.GetArmState()
        assert events == []


def test_nothing_is_pushed_before_the_subscriber_can_take_it(served: ServedArm) -> None:
    """Clients register a callback only once they have worked off the answer."""
    pushes: list[float] = []
    with Client(served) as client:
        client.base.OnNotificationActionTopic(lambda n: pushes.append(time.monotonic()), NOTHING)
        subscribed = time.monotonic()
        client.base.ExecuteAction(Base.Action(name="wait", delay=Base.Delay(duration=1)))
        wait_for(lambda: pushes)
        assert pushes[0] - subscribed >= 0.04


def test_identifiers_are_unique_across_topics_and_other_topics_are_pushed(served: ServedArm) -> None:
    states, modes, faults = [], [], []
    with Client(served) as client:
        handles = [
            client.base.OnNotificationArmStateTopic(lambda n: states.append(n.active_state), NOTHING),
            client.base.OnNotificationServoingModeTopic(lambda n: modes.append(n.servoing_mode), NOTHING),
            client.device.OnNotificationSafetyTopic(
                lambda n: faults.append((n.safety_handle.identifier, n.value)), NOTHING
            ),
            client.base.OnNotificationRobotEventTopic(lambda n: None, NOTHING),
        ]
        assert len({handle.identifier for handle in handles}) == 4
        time.sleep(0.06)
        client.base.SetServoingMode(Base.ServoingModeInformation(servoing_mode=Base.LOW_LEVEL_SERVOING))
        served.tell("fault FOLLOWING_ERROR joint_1")
        client.base.ClearFaults()
        wait_for(lambda: len(faults) == 2 and len(states) == 3 and len(modes) == 2)
    assert modes == [Base.LOW_LEVEL_SERVOING, Base.SINGLE_LEVEL_SERVOING]
    assert states == [
        Common.ARMSTATE_SERVOING_LOW_LEVEL,
        Common.ARMSTATE_IN_FAULT,
        Common.ARMSTATE_SERVOING_READY,
    ]
    assert faults == [(1, Common.SAFETY_STATUS_ERROR), (1, Common.SAFETY_STATUS_NORMAL)]


def test_a_pose_and_a_list_of_waypoints_are_reached(served: ServedArm) -> None:
    ends: list[int] = []
    with Client(served) as client:
        client.base.OnNotificationActionTopic(lambda n: ends.append(n.action_event), NOTHING)
        start = client.base.GetMeasuredCartesianPose()
        goal = Base.Pose()
        goal.CopyFrom(start)
        goal.z += 0.05
        client.base.ExecuteAction(Base.Action(reach_pose=Base.ConstrainedPose(target_pose=goal)))
        wait_for(lambda: Base.ACTION_END in ends)
        assert client.base.GetMeasuredCartesianPose().z == pytest.approx(goal.z, abs=3e-3)
        waypoints = Base.WaypointList()
        waypoints.waypoints.add(name="back").cartesian_waypoint.pose.CopyFrom(start)
        angles = [a.value for a in client.base.GetMeasuredJointAngles().joint_angles]
        waypoints.waypoints.add(name="joints").angular_waypoint.angles.extend(angles)
        report = client.base.ValidateWaypointList(waypoints)
        assert not report.trajectory_error_report.trajectory_error_elements
        ends.clear()
        client.base.ExecuteWaypointTrajectory(waypoints)
        wait_for(lambda: Base.ACTION_END in ends)
        waypoints.waypoints[0].cartesian_waypoint.pose.x = 3.0
        report = client.base.ValidateWaypointList(waypoints)
        (element,) = report.trajectory_error_report.trajectory_error_elements
        assert element.error_type == Base.TRAJECTORY_ERROR_TYPE_OUTSIDE_WORKSPACE


def test_the_deprecated_trajectories_are_the_reach_actions(served: ServedArm) -> None:
    ends: list[int] = []
    with Client(served) as client:
        client.base.OnNotificationActionTopic(lambda n: ends.append(n.action_event), NOTHING)
        pose = client.base.GetMeasuredCartesianPose()
        pose.z += 0.03
        client.base.PlayCartesianTrajectory(Base.ConstrainedPose(target_pose=pose))
        wait_for(lambda: Base.ACTION_END in ends)
        assert client.base.GetMeasuredCartesianPose().z == pytest.approx(pose.z, abs=3e-3)
        ends.clear()
        angles = client.base.GetMeasuredJointAngles()
        angles.joint_angles[0].value += 5.0
        client.base.PlayJointTrajectory(Base.ConstrainedJointAngles(joint_angles=angles))
        wait_for(lambda: Base.ACTION_END in ends)
        turned = client.base.GetMeasuredJointAngles().joint_angles[0].value
        assert turned == pytest.approx(angles.joint_angles[0].value % 360.0, abs=0.3)


def test_kinematics_are_answered_both_ways(served: ServedArm) -> None:
    with Client(served) as client:
        angles = client.base.GetMeasuredJointAngles()
        pose = client.base.ComputeForwardKinematics(angles)
        assert pose.x == pytest.approx(client.base.GetMeasuredCartesianPose().x, abs=1e-4)
        pose.x += 0.03
        found = client.base.ComputeInverseKinematics(Base.IKData(cartesian_pose=pose, guess=angles))
        assert client.base.ComputeForwardKinematics(found).x == pytest.approx(pose.x, abs=1e-3)
        unnamed = Base.JointAngles(joint_angles=[Base.JointAngle(value=a.value) for a in angles.joint_angles])
        assert client.base.ComputeForwardKinematics(unnamed) == client.base.ComputeForwardKinematics(angles)
        pose.x = 5.0
        asked = Base.IKData(cartesian_pose=pose, guess=angles)
        assert refused(client.base.ComputeInverseKinematics, asked)[1] == "METHOD_FAILED"


# -- cyclic data -------------------------------------------------------------------------------------------------------


def test_refresh_needs_low_level_servoing_and_its_commands_move_the_joints(served: ServedArm) -> None:
    with Client(served) as client, Client(served, udp=True) as fast:
        code, sub_code, text = refused(fast.cyclic.Refresh, BaseCyclic.Command())
        assert (code, sub_code) == ("ERROR_DEVICE", "WRONG_SERVOING_MODE")
        assert "Wrong servoing mode, must be low level servoing mode" in text
        client.base.SetServoingMode(Base.ServoingModeInformation(servoing_mode=Base.LOW_LEVEL_SERVOING))
        feedback = fast.cyclic.RefreshFeedback()
        start = [actuator.position for actuator in feedback.actuators]
        for number in range(100):
            command = BaseCyclic.Command(frame_id=number)
            for position in start:
                command.actuators.add(flags=1, position=position + 0.05 * number, command_id=number)
            motor = command.interconnect.gripper_command.motor_cmd.add()
            motor.position, motor.velocity = 50.0, 100.0
            feedback = fast.cyclic.Refresh(command)
            assert feedback.frame_id == number
            time.sleep(0.005)
        wait_for(lambda: abs(fast.cyclic.RefreshFeedback().actuators[0].position - start[0] - 4.95) < 0.3)
        assert feedback.base.active_state == Common.ARMSTATE_SERVOING_LOW_LEVEL
        wait_for(lambda: served.measured.gripper == pytest.approx(0.5, abs=0.02))
        client.base.SetServoingMode(Base.ServoingModeInformation(servoing_mode=Base.SINGLE_LEVEL_SERVOING))


def test_refresh_command_is_there_where_the_firmware_has_it() -> None:
    with ServedArm(Firmware(refresh_command=True)) as served, Client(served) as client:
        assert refused(client.cyclic.RefreshCommand, BaseCyclic.Command())[1] == "WRONG_SERVOING_MODE"


def test_feedback_has_the_units_and_signs_of_the_wire(served: ServedArm) -> None:
    with Client(served, udp=True) as client:
        feedback = client.cyclic.RefreshFeedback()
        assert len(feedback.actuators) == 7
        assert all(0.0 <= actuator.position < 360.0 for actuator in feedback.actuators)
        assert feedback.actuators[3].position == pytest.approx(360.0 - np.degrees(1.644), abs=0.1)
        assert (feedback.base.tool_pose_theta_x % 360.0) == pytest.approx(180.0, abs=0.5)
        assert 20.0 < feedback.base.arm_voltage < 30.0
        assert all(20.0 < actuator.temperature_motor < 60.0 for actuator in feedback.actuators)


# -- what describes the arm --------------------------------------------------------------------------------------------


def test_devices_and_limits_are_described(served: ServedArm) -> None:
    with Client(served) as client:
        handles = client.devices.ReadAllDevices().device_handle
        actuators = [
            h.device_identifier for h in handles if h.device_type in (Common.BIG_ACTUATOR, Common.SMALL_ACTUATOR)
        ]
        assert actuators == list(range(1, 8))
        assert client.base.GetActuatorCount().count == 7
        assert client.base.GetProductConfiguration().degree_of_freedom == 7
        for device in (0, *actuators):
            assert client.device.GetFirmwareVersion(deviceId=device).firmware_version
            assert client.device.GetSerialNumber(deviceId=device).serial_number
            assert client.device.GetModelNumber(deviceId=device).model_number
            assert client.device.GetPartNumber(deviceId=device).part_number
            assert client.device.GetBootloaderVersion(deviceId=device).bootloader_version
            assert client.device.GetPartNumberRevision(deviceId=device).part_number_revision
            assert len(client.device.GetMACAddress(deviceId=device).mac_address) == 6
        limits = client.control.GetKinematicHardLimits()
        np.testing.assert_allclose(limits.joint_speed_limits, [80.0] * 4 + [70.0] * 3, atol=0.1)
        for number in actuators:
            mode = ActuatorConfig.ControlModeInformation(control_mode=ActuatorConfig.POSITION)
            client.actuators.SetControlMode(mode, deviceId=number)
            assert client.actuators.GetControlMode(deviceId=number).control_mode == ActuatorConfig.POSITION


def test_soft_limits_slow_the_arm_down_and_never_lie_above_the_hard_ones(served: ServedArm) -> None:
    with Client(served) as client:
        limits = ControlConfig.JointSpeedSoftLimits(joint_speed_soft_limits=[2.0] * 7)
        client.control.SetJointSpeedSoftLimits(limits)
        client.base.SendJointSpeedsCommand(SLOWLY)
        wait_for(lambda: served.moving)
        time.sleep(0.3)
        assert np.degrees(served.measured.speeds).max() < 2.3
        client.base.Stop()
        limits = ControlConfig.JointSpeedSoftLimits(joint_speed_soft_limits=[200.0] * 7)
        assert refused(client.control.SetJointSpeedSoftLimits, limits)[1] == "VALUE_IS_ABOVE_MAXIMUM"


def test_another_tool_moves_the_pose_that_is_measured(served: ServedArm) -> None:
    with Client(served) as client:
        before = client.base.GetMeasuredCartesianPose()
        tool = ControlConfig.ToolConfiguration()
        tool.tool_transform.z, tool.tool_transform.theta_z = 0.25, 90.0
        client.control.SetToolConfiguration(tool)
        assert client.base.GetMeasuredCartesianPose().z == pytest.approx(before.z - 0.1, abs=1e-3)


def test_the_table_of_calls_is_served_as_a_whole() -> None:
    """Whatever the table knows is answered by something else than 'unknown', but for what firmware may not know."""
    with ServedArm() as served, Client(served) as client:
        unknown = []
        for known in METHODS.values():
            if known.name in ("CloseSession", "CreateSession"):
                continue
            try:
                client.router.call(known, known.request(), 1, _options(2000))
            except KServerException as error:
                if error.get_error_sub_code() == SubErrorCodes.Value("UNSUPPORTED_METHOD"):
                    unknown.append(known.name)
        assert unknown == [method("BaseCyclic", "RefreshCommand").name]
