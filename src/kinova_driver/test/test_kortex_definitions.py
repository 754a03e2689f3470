"""The messages and the calls: numbers that must never move, and every message usable."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinova_driver.kortex import definitions, services
from kinova_driver.kortex.definitions import ActuatorConfig, Base, BaseCyclic, Common, ErrorCodes, SubErrorCodes
from kinova_driver.kortex.frame import WireError, parse
from kinova_driver.kortex.messages import PACKAGES

MESSAGES = {
    f"{package}.{name}": kind
    for package in PACKAGES
    for name, kind in vars(getattr(definitions, package)).items()
    if isinstance(kind, type)
}


def test_the_subset_is_complete() -> None:
    assert len(services.METHODS) == 66
    assert len(MESSAGES) == 109
    numbers = {"Session": 1, "Base": 2, "BaseCyclic": 3, "DeviceConfig": 9, "ActuatorConfig": 10}
    assert numbers | {"ControlConfig": 16, "DeviceManager": 23} == services.SERVICE_IDS


@pytest.mark.parametrize(
    ("service", "name", "uid"),
    [
        ("Session", "GetConnections", 0x10004),
        ("Base", "ExecuteAction", 0x20030),
        ("Base", "SendJointSpeedsCommand", 0x20084),
        ("Base", "PlayCartesianTrajectory", 0x2006D),
        ("Base", "PlayJointTrajectory", 0x2007C),
        ("DeviceConfig", "GetMACAddress", 0x90009),
        ("Base", "ApplyEmergencyStop", 0x20091),
        ("Base", "OnNotificationOperatingModeTopic", 0x20065),
        ("Base", "ComputeInverseKinematics", 0x200EA),
        ("BaseCyclic", "Refresh", 0x30001),
        ("ActuatorConfig", "SetTorqueOffset", 0xA0005),
        ("DeviceManager", "ReadAllDevices", 0x170001),
        ("DeviceConfig", "OnNotificationSafetyTopic", 0x9001C),
        ("ControlConfig", "GetKinematicHardLimits", 0x100012),
    ],
)
def test_calls_have_their_numbers(service: str, name: str, uid: int) -> None:
    method = services.method(service, name)
    assert method.service_id << 16 | method.function_id == uid
    assert services.METHODS[method.service_id, method.function_id] is method


def test_calls_have_their_messages() -> None:
    method = services.method("Base", "ValidateWaypointList")
    assert (method.request, method.response) == (Base.WaypointList, Base.WaypointValidationReport)
    topic = services.method("Base", "OnNotificationArmStateTopic")
    assert (topic.request, topic.response) == (Common.NotificationOptions, Common.NotificationHandle)
    assert topic.notification is Base.ArmStateNotification
    assert services.method("Base", "Stop").notification is None


def test_an_unknown_call_is_named_with_the_closest() -> None:
    with pytest.raises(WireError, match="did you mean 'SendTwistCommand'"):
        services.method("Base", "SendTwistComand")
    with pytest.raises(WireError, match="did you mean 'BaseCyclic'"):
        services.method("BaseCyclick", "Refresh")


@pytest.mark.parametrize(
    ("kind", "field", "number"),
    [
        (Base.Action, "execute_waypoint_list", 41),
        (Base.Action, "reach_joint_angles", 10),
        (Base.ActionNotification, "trajectory_info", 7),
        (Base.RobotEventNotification, "connection", 6),
        (BaseCyclic.BaseFeedback, "commanded_tool_pose_theta_z", 40),
        (BaseCyclic.BaseFeedback, "fault_bank_a", 31),
        (BaseCyclic.ActuatorFeedback, "warning_bank_b", 14),
        (definitions.InterconnectCyclic.Feedback, "gripper_feedback", 18),
        (definitions.GripperCyclic.MotorFeedback, "temperature_motor", 10),
        (definitions.ProductConfiguration.CompleteProductConfiguration, "degree_of_freedom", 6),
    ],
)
def test_fields_have_their_numbers(kind: type, field: str, number: int) -> None:
    assert kind.DESCRIPTOR.fields_by_name[field].number == number


def test_enumerations_have_their_values() -> None:
    assert Base.SINGLE_LEVEL_SERVOING == 2
    assert ActuatorConfig.ControlMode.Value("TORQUE_HIGH_VELOCITY") == 6
    assert ActuatorConfig.ControlMode.Name(5) == "CUSTOM"
    assert Common.ArmState.Value("ARMSTATE_RESERVED") == 255
    assert Base.TrajectoryErrorType.Value("TRAJECTORY_ERROR_TYPE_LARGE_SIZE") == 9  # one of the aliases
    assert ErrorCodes.Name(3) == "ERROR_DEVICE"
    assert SubErrorCodes.Value("CONTROL_PERMISSION_DENIED") == 141


def test_alternatives_exclude_each_other() -> None:
    action = Base.Action(reach_pose=Base.ConstrainedPose())
    action.send_gripper_command.mode = Base.GRIPPER_POSITION
    assert action.WhichOneof("action_parameters") == "send_gripper_command"


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_message_survives_the_wire(name: str) -> None:
    kind = MESSAGES[name]
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        value = _example(field)
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
            continue
        target = getattr(message, field.name)
        if hasattr(target, "extend"):
            target.extend([value, value])
        elif field.message_type is not None:
            target.CopyFrom(value)
            target.SetInParent()
        else:
            setattr(message, field.name, value)
    assert parse(kind, message.SerializeToString()) == message


def _example(field):
    if field.message_type is not None:
        return MESSAGES[field.message_type.full_name.removeprefix("glam.kortex.")]()
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {field.TYPE_STRING: "text", field.TYPE_BYTES: b"bytes", field.TYPE_BOOL: True}.get(field.type, 7)


@given(st.sampled_from(sorted(MESSAGES)), st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(name: str, data: bytes) -> None:
    with suppress(WireError):
        assert isinstance(parse(MESSAGES[name], data), MESSAGES[name])
