"""From a feedback message to the state of the arm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glam_core.gen3 import JOINTS
from glam_core.kinematics import Gen3Kinematics
from glam_core.pose import inverse
from glam_core.station import GripperConfig
from glam_core.tool import ToolState
from kinova_driver import faults, units
from kinova_driver.arm import ArmError, ArmState
from kinova_driver.kortex.definitions import Common

Array = NDArray[np.float64]

_POSE = [f"tool_pose_{name}" for name in ("x", "y", "z", "theta_x", "theta_y", "theta_z")]
_WRENCH = [f"tool_external_wrench_{kind}_{axis}" for kind in ("force", "torque") for axis in "xyz"]


class Measurement:
    """Turns feedback into states, one after the other: continuous joints are followed over their wraps.

    The pose of the tool comes from the joints, so that it is that of our tool whatever tool the arm is configured with.
    """

    def __init__(self, gripper: GripperConfig) -> None:
        self._gripper = gripper
        self._kinematics = Gen3Kinematics()
        self._positions: Array | None = None

    def state(self, feedback: Any, stamp: float) -> ArmState:
        """The state that a feedback message stands for.

        Args:
            feedback: A `BaseCyclic.Feedback`.
            stamp: When it was measured: seconds of the monotonic clock.

        Raises:
            ArmError: The arm has another number of joints.
            SpecError: Something is not finite.
        """
        actuators = feedback.actuators
        if len(actuators) != len(JOINTS):
            raise ArmError(f"the arm measures {len(actuators)} joints; this driver is for the Gen3 with {len(JOINTS)}")
        positions = units.joint_positions([actuator.position for actuator in actuators], self._positions)
        self._positions = positions
        self._kinematics.update(positions)
        return ArmState(
            joint_names=JOINTS,
            positions=positions,
            velocities=units.radians([actuator.velocity for actuator in actuators]),
            efforts=units.torques([actuator.torque for actuator in actuators]),
            tool=ToolState(self._kinematics.tool_pose(), self._gripper_position(feedback)),
            stamp=stamp,
            faults=fault_names(feedback),
            wrench=units.finite([getattr(feedback.base, name) for name in _WRENCH], "wrench"),
            arm_state=faults.arm_state_name(feedback.base.active_state),
        )

    def _gripper_position(self, feedback: Any) -> float:
        motors = feedback.interconnect.gripper_feedback.motor
        if not motors:
            return 0.0  # no gripper, or an open one: what is zero is not sent
        return units.fraction(motors[0].position, self._gripper.open_at, self._gripper.closed_at)


def fault_names(feedback: Any) -> tuple[str, ...]:
    """Every fault of a feedback message; one for the arm's state, where it is in fault and does not say why."""
    found = faults.of_feedback(feedback)
    in_fault = feedback.base.active_state == Common.ArmState.Value("ARMSTATE_IN_FAULT")
    return found or ((faults.ARM_IN_FAULT,) if in_fault else ())


def kortex_tool(feedback: Any) -> Array:
    """The pose `(4, 4)` of the tool that the arm is configured with, in its base frame."""
    return units.pose([getattr(feedback.base, name) for name in _POSE])


def to_kortex_pose(T_base_tool: Array, state: ArmState, feedback: Any) -> Array:
    """Where the arm's configured tool must go for ours to be at `T_base_tool`; both are measured in `feedback`."""
    return T_base_tool @ inverse(state.tool.T_base_tool) @ kortex_tool(feedback)


def to_kortex_twist(twist: Array, state: ArmState, feedback: Any) -> Array:
    """How the arm's configured tool must move for ours to move at `twist`, (6,) m/s and rad/s, base frame."""
    lever = kortex_tool(feedback)[:3, 3] - state.tool.T_base_tool[:3, 3]
    return np.concatenate([twist[:3] + np.cross(twist[3:], lever), twist[3:]])
