"""An arm of numbers, behind the interface of a real one: it jumps to where it is told."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from glam_core.pose import tool_down
from glam_core.tool import ToolCommand, ToolState
from kinova_driver.arm import ArmError, ArmState

START = (0.45, 0.0, 0.2)


class FakeArm:
    """Records what it is told; `state` is what it measures, and a test may replace it."""

    def __init__(self) -> None:
        self.state = ArmState(
            joint_names=(),
            positions=np.empty(0),
            velocities=np.empty(0),
            efforts=np.empty(0),
            tool=ToolState(tool_down(START, 0.0), 0.0),
            stamp=0.0,
        )
        self.commands: list[ToolCommand] = []
        self.speeds: list[NDArray[np.float64]] = []
        self.twists: list[NDArray[np.float64]] = []
        self.gripper = 0.0
        self.calls: list[str] = []
        self.follows = True
        self.held, self.stopped = threading.Event(), threading.Event()

    def at(self, stamp: float) -> None:
        """Measures anew."""
        self.state = replace(self.state, stamp=stamp)

    def connect(self) -> None:
        self.calls.append("connect")

    def disconnect(self) -> None:
        self.calls.append("disconnect")

    def read(self) -> ArmState:
        return self.state

    def command(self, command: ToolCommand) -> None:
        if self.state.faults:
            raise ArmError("the arm is in fault")
        self.commands.append(command)
        if self.follows:
            self.state = replace(self.state, tool=ToolState(command.T_base_tool, command.gripper))

    def command_joint_speeds(self, speeds: NDArray[np.float64]) -> None:
        self.speeds.append(speeds)

    def command_twist(self, twist: NDArray[np.float64]) -> None:
        self.twists.append(twist)

    def command_pose(self, T_base_tool: NDArray[np.float64]) -> None:
        self.command(ToolCommand(T_base_tool, self.gripper))

    def command_gripper(self, position: float) -> None:
        self.gripper = position

    def hold(self) -> None:
        self.calls.append("hold")
        self.held.set()

    def stop(self) -> None:
        self.calls.append("stop")
        self.stopped.set()

    def emergency_stop(self) -> None:
        self.calls.append("emergency_stop")
        self.state = replace(self.state, faults=("EMERGENCY_STOP",))

    def clear_faults(self) -> None:
        self.calls.append("clear_faults")
        self.state = replace(self.state, faults=())

    def home(self) -> None:
        self.calls.append("home")
        self.state = replace(self.state, homing=True)
