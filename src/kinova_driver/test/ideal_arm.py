"""A simulated arm without physics: joints and fingers that do exactly what they are told, in steps of a clock."""

from __future__ import annotations

import numpy as np

from glam_core.gen3 import HOME_RAD
from glam_core.kinematics import Gen3Kinematics
from kinova_driver.simulator.chain import Chain
from kinova_driver.simulator.robot import Drive, Measurement, Robot

STEP_S = 0.005
ME = 1


class IdealArm:
    """A robot and its joints; time passes when a test says so."""

    def __init__(self, start: np.ndarray = HOME_RAD) -> None:
        self.now = 100.0
        self.measured = Measurement(start.copy(), np.zeros(7))
        self.robot = Robot(Chain(Gen3Kinematics()), self.measured)
        self.blocked: set[int] = set()
        self.peak = np.zeros(7)

    def run(self, duration_s: float) -> None:
        for _ in range(round(duration_s / STEP_S)):
            self.now += STEP_S
            self.follow(self.robot.step(self.measured, self.now))

    def follow(self, drive: Drive) -> None:
        speeds = drive.speeds.copy()
        speeds[list(self.blocked)] = 0.0
        self.peak = np.maximum(self.peak, np.abs(speeds))
        way = np.clip(drive.gripper.position - self.measured.gripper, -STEP_S, STEP_S) * drive.gripper.speed
        self.measured = Measurement(
            self.measured.positions + speeds * STEP_S,
            speeds,
            gripper=self.measured.gripper + float(way),
            gripper_speed=float(way) / STEP_S,
        )

    def pose(self) -> np.ndarray:
        self.robot.chain.update(self.measured.positions)
        return self.robot.chain.pose()

    def told(self) -> list[str]:
        """What has happened since the last time."""
        names = [event.what for event in self.robot.events]
        self.robot.events.clear()
        return names
