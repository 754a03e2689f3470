"""A stub server that answers like a Gen3 at rest; a test changes what it measures, refuses or forgets."""

from __future__ import annotations

import time

import numpy as np
from stub_server import StubServer

from glam_core.gen3 import HOME_RAD
from glam_core.kinematics import Gen3Kinematics
from glam_core.station import ArmConfig
from kinova_driver import units
from kinova_driver.kortex.definitions import Api, Base, BaseCyclic, Common

ACTION_TOPIC = 4


class StubArm(StubServer):
    """Feedback of seven joints that stay where `positions` says, and the calls that the driver makes."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = HOME_RAD.copy()
        self.gripper_percent = 0.0
        self.feedback = BaseCyclic.Feedback()
        self.servoing_mode = Base.SINGLE_LEVEL_SERVOING
        self.feedback.base.active_state = Common.ArmState.Value("ARMSTATE_SERVOING_READY")
        self.feedback.interconnect.gripper_feedback.motor.add()
        for _ in range(7):
            self.feedback.actuators.add()
        self.measure()
        self.answers |= {
            "RefreshFeedback": lambda request, header: self.feedback,
            "GetActuatorCount": lambda request, header: Base.ActuatorInformation(count=7),
            "GetServoingMode": lambda request, header: Base.ServoingModeInformation(servoing_mode=self.servoing_mode),
            "SetServoingMode": self._set_mode,
            "ReadAllActions": self._actions,
            "OnNotificationActionTopic": lambda request, header: Common.NotificationHandle(identifier=ACTION_TOPIC),
        }

    def measure(self) -> None:
        """Writes `positions` and the tool that belongs to them into the feedback."""
        kinematics = Gen3Kinematics()
        kinematics.update(self.positions)
        pose = units.kortex_pose(kinematics.tool_pose())
        for name, value in zip(("x", "y", "z", "theta_x", "theta_y", "theta_z"), pose, strict=True):
            setattr(self.feedback.base, f"tool_pose_{name}", value)
        for actuator, angle in zip(self.feedback.actuators, units.kortex_joint_angles(self.positions), strict=True):
            actuator.position = angle
        self.feedback.interconnect.gripper_feedback.motor[0].position = self.gripper_percent

    def refuse(self, name: str, code: int, sub_code: int, text: str = "") -> None:
        """Answers a call with an error from now on."""
        error = Api.Error(error_code=code, error_sub_code=sub_code, error_sub_string=text)
        self.answers[name] = lambda request, header: error

    def end_action(self, event: int = Base.ACTION_END, **details: int) -> None:
        """Says that the action ended."""
        notification = Base.ActionNotification(action_event=event, **details)
        self.push("Base", "OnNotificationActionTopic", ACTION_TOPIC, notification)

    def commands(self) -> list[str]:
        """The calls that move or stop the arm."""
        kinds = ("Send", "Stop", "Apply", "Execute", "Clear")
        return [name for name, _, _ in self.calls if name.startswith(kinds)]

    def last(self, name: str):
        """The newest request of a call; waits for the first one, as commands are sent without waiting for answers."""
        deadline = time.monotonic() + 5.0
        while name not in self.names() and time.monotonic() < deadline:
            time.sleep(0.001)
        return next(request for called, request, _ in reversed(self.calls) if called == name)

    def speeds(self) -> np.ndarray:
        """The newest joint speeds, (7,) rad/s."""
        request = self.last("SendJointSpeedsCommand")
        assert [joint.joint_identifier for joint in request.joint_speeds] == list(range(7))
        return units.radians([joint.value for joint in request.joint_speeds])

    def config(self, **changes) -> ArmConfig:
        """The arm in a station file."""
        ports = {"tcp_port": self.tcp_port, "udp_port": self.udp_port}
        return ArmConfig(**({"name": "arm", "backend": "kortex", "address": "127.0.0.1"} | ports | changes))

    def _set_mode(self, request, header):
        self.servoing_mode = request.servoing_mode
        return Common.Empty()

    def _actions(self, request, header):
        handle = Base.ActionHandle(identifier=2, action_type=Base.REACH_JOINT_ANGLES, permission=7)
        return Base.ActionList(action_list=[Base.Action(name="Retract"), Base.Action(name="Home", handle=handle)])
