"""The calls of the services that describe and configure devices: what they are, and what they are limited to."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinova_driver.kortex.definitions import (
    ActuatorConfig,
    Common,
    ControlConfig,
    DeviceConfig,
    DeviceManager,
)
from kinova_driver.simulator import convert, limits
from kinova_driver.simulator.base_service import SERIAL_NUMBER, Call, Handler
from kinova_driver.simulator.devices import DEVICES, FIRMWARE, Device
from kinova_driver.simulator.limits import JOINT_COUNT, SoftLimits
from kinova_driver.simulator.robot import JointMode, Refusal, Robot


class ConfigServices:
    """ActuatorConfig, DeviceManager, DeviceConfig and ControlConfig of one arm."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self.handlers: dict[str, dict[str, Handler]] = {
            "ActuatorConfig": {
                "SetControlMode": self._set_control_mode,
                "GetControlMode": self._get_control_mode,
                "ClearFaults": lambda m, c: robot.clear_faults(c.device),
                "SetTorqueOffset": self._set_torque_offset,
            },
            "DeviceManager": {"ReadAllDevices": self._devices},
            "DeviceConfig": {
                "GetDeviceType": lambda m, c: DeviceConfig.DeviceType(device_type=_device(c).kind),
                "GetFirmwareVersion": self._firmware,
                "GetBootloaderVersion": self._bootloader,
                "GetModelNumber": lambda m, c: DeviceConfig.ModelNumber(model_number=f"GEN3-{_device(c).name}"),
                "GetSerialNumber": lambda m, c: DeviceConfig.SerialNumber(
                    serial_number=f"{SERIAL_NUMBER}-{_device(c).identifier}"
                ),
                "GetPartNumber": lambda m, c: DeviceConfig.PartNumber(part_number=f"GEN3-{_device(c).identifier:02d}"),
                "GetPartNumberRevision": lambda m, c: DeviceConfig.PartNumberRevision(
                    part_number_revision=f"R{_device(c).order:02d}"
                ),
                "GetMACAddress": lambda m, c: DeviceConfig.MACAddress(
                    mac_address=bytes([0x02, 0, 0, 0, 0, _device(c).identifier])  # locally administered
                ),
                "ClearAllSafetyStatus": lambda m, c: robot.clear_faults(_device(c).identifier),
            },
            "ControlConfig": {
                "SetJointSpeedSoftLimits": self._set_speed_limits,
                "SetJointAccelerationSoftLimits": self._set_acceleration_limits,
                "GetKinematicHardLimits": self._hard_limits,
                "SetPayloadInformation": lambda m, c: None,
                "SetToolConfiguration": self._set_tool,
                "SetCartesianReferenceFrame": lambda m, c: None,
            },
        }

    def _set_control_mode(self, message: Any, call: Call) -> None:
        _actuator(call)
        if message.control_mode not in tuple(JointMode):
            raise Refusal("SUB_ERROR_NONE", "")
        self._robot.set_joint_mode(call.device, JointMode(message.control_mode))

    def _get_control_mode(self, message: Any, call: Call) -> Any:
        _actuator(call)
        return ActuatorConfig.ControlModeInformation(control_mode=int(self._robot.joint_modes[call.device - 1]))

    def _set_torque_offset(self, message: Any, call: Call) -> None:
        _actuator(call)

    def _firmware(self, message: Any, call: Call) -> Any:
        _device(call)
        return DeviceConfig.FirmwareVersion(firmware_version=FIRMWARE)

    def _bootloader(self, message: Any, call: Call) -> Any:
        _device(call)
        return DeviceConfig.BootloaderVersion(bootloader_version=FIRMWARE)

    def _devices(self, message: Any, call: Call) -> Any:
        handles = [
            Common.DeviceHandle(device_type=device.kind, device_identifier=device.identifier, order=device.order)
            for device in DEVICES
        ]
        return DeviceManager.DeviceHandles(device_handle=handles)

    def _set_speed_limits(self, message: Any, call: Call) -> None:
        speeds = _soft(message.joint_speed_soft_limits, limits.SPEED_RAD_S)
        self._robot.soft_limits = SoftLimits(speeds, self._robot.soft_limits.accelerations)

    def _set_acceleration_limits(self, message: Any, call: Call) -> None:
        accelerations = _soft(message.joint_acceleration_soft_limits, limits.ACCELERATION_RAD_S2)
        self._robot.soft_limits = SoftLimits(self._robot.soft_limits.speeds, accelerations)

    def _hard_limits(self, message: Any, call: Call) -> Any:
        return ControlConfig.KinematicLimits(
            control_mode=ControlConfig.ANGULAR_TRAJECTORY,
            twist_linear=limits.TWIST_M_S,
            twist_angular=float(np.degrees(limits.TWIST_RAD_S)),
            joint_speed_limits=np.degrees(limits.SPEED_RAD_S),
            joint_acceleration_limits=np.degrees(limits.ACCELERATION_RAD_S2),
        )

    def _set_tool(self, message: Any, call: Call) -> None:
        self._robot.chain.configure_tool(convert.pose_from(message.tool_transform))


def _device(call: Call) -> Device:
    if call.device >= len(DEVICES):
        raise Refusal("INVALID_DEVICE", f"there is no device {call.device}")
    return DEVICES[call.device]


def _actuator(call: Call) -> Device:
    if not 1 <= call.device <= JOINT_COUNT:
        raise Refusal("INVALID_DEVICE", f"the device {call.device} is no actuator")
    return DEVICES[call.device]


def _soft(values: Any, hard: np.ndarray) -> np.ndarray:
    """Soft limits `(7,)` in SI units; none is above its hard limit."""
    wished = np.radians(np.array(values, dtype=float))
    if wished.shape != hard.shape:
        raise Refusal("CONTROL_ACTUATOR_COUNT_MISMATCH", f"expected {len(hard)} limits, not {len(wished)}")
    if not np.isfinite(wished).all() or (wished <= 0.0).any():
        raise Refusal("VALUE_IS_BELOW_MINIMUM", "a soft limit is a positive number")
    if (wished > hard * 1.001).any():
        raise Refusal("VALUE_IS_ABOVE_MAXIMUM", "a soft limit is not above its hard limit")
    return np.minimum(wished, hard)
