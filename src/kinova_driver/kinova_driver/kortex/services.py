"""Services of the Kortex API that this project speaks: which calls there are, and their numbers on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from glam_core.errors import closest
from kinova_driver.kortex import definitions
from kinova_driver.kortex.frame import WireError

# A topic is a call that subscribes: NotificationOptions in, NotificationHandle out, and later what it pushes.
SERVICES = """
service Session = 1 {
    rpc CreateSession(Session.CreateSessionInfo) returns (Empty) = 1;
    rpc CloseSession(Empty) returns (Empty) = 2;
    rpc KeepAlive(Empty) returns (Empty) = 3;
    rpc GetConnections(Empty) returns (Session.ConnectionList) = 4;
}
service Base = 2 {
    rpc ReadAllActions(Base.RequestedActionType) returns (Base.ActionList) = 44;
    rpc ExecuteActionFromReference(Base.ActionHandle) returns (Empty) = 47;
    rpc ExecuteAction(Base.Action) returns (Empty) = 48;
    rpc PauseAction(Empty) returns (Empty) = 49;
    rpc StopAction(Empty) returns (Empty) = 50;
    rpc ResumeAction(Empty) returns (Empty) = 51;
    rpc Unsubscribe(NotificationHandle) returns (Empty) = 97;
    topic OnNotificationActionTopic pushes Base.ActionNotification = 106;
    rpc PlayCartesianTrajectory(Base.ConstrainedPose) returns (Empty) = 109;
    rpc Stop(Empty) returns (Empty) = 112;
    rpc GetMeasuredCartesianPose(Empty) returns (Base.Pose) = 115;
    rpc SendTwistJoystickCommand(Base.TwistCommand) returns (Empty) = 120;
    rpc SendTwistCommand(Base.TwistCommand) returns (Empty) = 121;
    rpc PlayJointTrajectory(Base.ConstrainedJointAngles) returns (Empty) = 124;
    rpc GetMeasuredJointAngles(Empty) returns (Base.JointAngles) = 126;
    rpc SendJointSpeedsCommand(Base.JointSpeeds) returns (Empty) = 132;
    rpc SendSelectedJointSpeedCommand(Base.JointSpeed) returns (Empty) = 133;
    rpc SendGripperCommand(Base.GripperCommand) returns (Empty) = 136;
    rpc GetMeasuredGripperMovement(Base.GripperRequest) returns (Base.Gripper) = 137;
    rpc ApplyEmergencyStop(Empty) returns (Empty) = 145;
    rpc ClearFaults(Empty) returns (Empty) = 146;
    rpc SetServoingMode(Base.ServoingModeInformation) returns (Empty) = 152;
    rpc GetServoingMode(Empty) returns (Base.ServoingModeInformation) = 153;
    topic OnNotificationServoingModeTopic pushes Base.ServoingModeNotification = 154;
    topic OnNotificationRobotEventTopic pushes Base.RobotEventNotification = 107;
    rpc GetActuatorCount(Empty) returns (Base.ActuatorInformation) = 171;
    rpc GetArmState(Empty) returns (Base.ArmStateInformation) = 175;
    topic OnNotificationArmStateTopic pushes Base.ArmStateNotification = 176;
    topic OnNotificationOperatingModeTopic pushes Base.OperatingModeNotification = 101;
    rpc SetOperatingMode(Base.OperatingModeInformation) returns (Empty) = 141;
    rpc GetOperatingMode(Empty) returns (Base.OperatingModeInformation) = 151;
    rpc GetProductConfiguration(Empty) returns (ProductConfiguration.CompleteProductConfiguration) = 198;
    rpc ValidateWaypointList(Base.WaypointList) returns (Base.WaypointValidationReport) = 235;
    rpc ExecuteWaypointTrajectory(Base.WaypointList) returns (Empty) = 226;
    rpc ComputeForwardKinematics(Base.JointAngles) returns (Base.Pose) = 233;
    rpc ComputeInverseKinematics(Base.IKData) returns (Base.JointAngles) = 234;
    rpc GetControlMode(Empty) returns (Base.ControlModeInformation) = 150;
}
service BaseCyclic = 3 {
    rpc Refresh(BaseCyclic.Command) returns (BaseCyclic.Feedback) = 1;
    rpc RefreshCommand(BaseCyclic.Command) returns (Empty) = 2;
    rpc RefreshFeedback(Empty) returns (BaseCyclic.Feedback) = 3;
    rpc RefreshCustomData(BaseCyclic.CustomData) returns (BaseCyclic.CustomData) = 4;
}
service ActuatorConfig = 10 {
    rpc SetControlMode(ActuatorConfig.ControlModeInformation) returns (Empty) = 7;
    rpc GetControlMode(Empty) returns (ActuatorConfig.ControlModeInformation) = 6;
    rpc ClearFaults(Empty) returns (Empty) = 25;
    rpc SetTorqueOffset(ActuatorConfig.TorqueOffset) returns (Empty) = 5;
}
service DeviceManager = 23 {
    rpc ReadAllDevices(Empty) returns (DeviceManager.DeviceHandles) = 1;
}
service DeviceConfig = 9 {
    rpc GetDeviceType(Empty) returns (DeviceConfig.DeviceType) = 3;
    rpc GetFirmwareVersion(Empty) returns (DeviceConfig.FirmwareVersion) = 4;
    rpc GetBootloaderVersion(Empty) returns (DeviceConfig.BootloaderVersion) = 5;
    rpc GetModelNumber(Empty) returns (DeviceConfig.ModelNumber) = 6;
    rpc GetSerialNumber(Empty) returns (DeviceConfig.SerialNumber) = 8;
    rpc GetPartNumber(Empty) returns (DeviceConfig.PartNumber) = 7;
    rpc GetMACAddress(Empty) returns (DeviceConfig.MACAddress) = 9;
    rpc GetPartNumberRevision(Empty) returns (DeviceConfig.PartNumberRevision) = 12;
    rpc ClearAllSafetyStatus(Empty) returns (Empty) = 23;
    topic OnNotificationSafetyTopic pushes Common.SafetyNotification = 28;
}
service ControlConfig = 16 {
    rpc SetJointSpeedSoftLimits(ControlConfig.JointSpeedSoftLimits) returns (Empty) = 14;
    rpc SetJointAccelerationSoftLimits(ControlConfig.JointAccelerationSoftLimits) returns (Empty) = 17;
    rpc GetKinematicHardLimits(Empty) returns (ControlConfig.KinematicLimits) = 18;
    rpc SetPayloadInformation(ControlConfig.PayloadInformation) returns (Empty) = 3;
    rpc SetToolConfiguration(ControlConfig.ToolConfiguration) returns (Empty) = 5;
    rpc SetCartesianReferenceFrame(ControlConfig.CartesianReferenceFrameInfo) returns (Empty) = 9;
}
"""

_SERVICE = re.compile(r"service (\w+) = (\d+) \{(.*?)\}", re.DOTALL)
_CALL = re.compile(
    r"(?:rpc (?P<rpc>\w+)\((?P<request>[\w.]+)\) returns \((?P<response>[\w.]+)\)"
    r"|topic (?P<topic>\w+) pushes (?P<notification>[\w.]+)) = (?P<number>\d+);"
)


@dataclass(frozen=True)
class Method:
    """One call of a service.

    Attributes:
        service: Name of the service.
        name: Name of the call.
        service_id: Number of the service.
        function_id: Number of the call in its service.
        request: Class of the message that asks.
        response: Class of the message that answers.
        notification: Class of the message that is pushed to whoever subscribed with this call.
    """

    service: str
    name: str
    service_id: int
    function_id: int
    request: type
    response: type
    notification: type | None = None


def _read(table: str) -> dict[tuple[int, int], Method]:
    methods = {}
    for service, service_id, body in _SERVICE.findall(table):
        for call in _CALL.finditer(body):
            key = int(service_id), int(call["number"])
            if call["topic"]:
                kinds = definitions.Common.NotificationOptions, definitions.Common.NotificationHandle
                methods[key] = Method(service, call["topic"], *key, *kinds, _kind(call["notification"]))
            else:
                methods[key] = Method(service, call["rpc"], *key, _kind(call["request"]), _kind(call["response"]))
    return methods


def _kind(name: str) -> Any:
    package, _, message = name.rpartition(".")
    return getattr(getattr(definitions, package or "Common"), message)


METHODS = _read(SERVICES)
"""Every call, by the number of its service and its own."""

_BY_NAME = {(method.service, method.name): method for method in METHODS.values()}
SERVICE_IDS = {method.service: method.service_id for method in METHODS.values()}


def method(service: str, name: str) -> Method:
    """The call `name` of `service`.

    Raises:
        WireError: There is no such call.
    """
    if service not in SERVICE_IDS:
        raise WireError(closest(service, SERVICE_IDS, "service of the Kortex API"))
    if (service, name) not in _BY_NAME:
        names = [candidate for owner, candidate in _BY_NAME if owner == service]
        raise WireError(closest(name, names, f"call of the Kortex service {service}"))
    return _BY_NAME[service, name]
