"""Where arms, table and cameras stand: a cell with one arm, and one with two that face each other.

The world frame is the base frame of a single arm. With two arms the world keeps its work area, the arms stand to the
left and right of it (seen from behind a single arm), and each arm's poses are in its own base frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Point = tuple[float, float, float]

WORK_AREA_CENTRE = (0.45, 0.0)
WORK_AREA_SIZE = (0.24, 0.40)


@dataclass(frozen=True)
class ArmPlace:
    """An arm: its name, and where its base stands on the table (x, y in m, yaw in rad, world frame)."""

    name: str
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0

    @property
    def T_world_base(self) -> np.ndarray:
        """The pose (4, 4) of the base."""
        pose = np.eye(4)
        if self.yaw:
            pose[:2, :2] = [[np.cos(self.yaw), -np.sin(self.yaw)], [np.sin(self.yaw), np.cos(self.yaw)]]
        pose[:2, 3] = self.x, self.y
        return pose


@dataclass(frozen=True)
class CameraView:
    """A camera that stands still: position and the point it looks at (m, world), vertical field of view (degrees)."""

    position: Point
    target: Point
    field_of_view_deg: float


@dataclass(frozen=True)
class Layout:
    """One way to furnish the cell.

    Attributes:
        arms: the arms, in the order of states and actions.
        views: the cameras that stand still, by name; `overview` is for people.
        table: centre and half size of the table top (x, y, half x, half y in m, world).
        start: where tools are when an episode begins (m, each in its base frame).
        start_spread: largest distance from it, by axis (m).
    """

    arms: tuple[ArmPlace, ...]
    views: dict[str, CameraView] = field(hash=False)
    table: tuple[float, float, float, float]
    start: Point
    start_spread: Point

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Names of the arms."""
        return tuple(arm.name for arm in self.arms)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of all cameras, in the order in which they are listed for people."""
        still = [name for name in self.views if name != "overview"]
        return (*still, *(wrist_camera(arm, self.arm_names) for arm in self.arm_names), "overview")


def wrist_camera(arm: str, arms: tuple[str, ...]) -> str:
    """Name of the camera on an arm's hand: `wrist`, or with several arms `<arm>_wrist`."""
    return "wrist" if len(arms) == 1 else f"{arm}_wrist"


SINGLE = Layout(
    arms=(ArmPlace("arm"),),
    views={
        "front": CameraView((1.16, 0.0, 0.80), (0.44, 0.0, 0.075), 28.0),
        "side": CameraView((0.40, -0.82, 0.74), (0.45, -0.01, 0.065), 25.5),
        "overview": CameraView((1.22, -0.92, 0.75), (0.27, 0.0, 0.25), 38.0),
    },
    table=(0.35, 0.0, 0.55, 0.6),
    start=(*WORK_AREA_CENTRE, 0.20),
    start_spread=(0.06, 0.08, 0.04),
)

BASE_DISTANCE_M = 0.60
"""From each base to the middle of the cell with two arms: the arms, tool down, reach about 0.7 m."""

PAIR = Layout(
    arms=(
        ArmPlace("left", WORK_AREA_CENTRE[0], BASE_DISTANCE_M, -np.pi / 2),
        ArmPlace("right", WORK_AREA_CENTRE[0], -BASE_DISTANCE_M, np.pi / 2),
    ),
    views={
        "front": CameraView((1.22, 0.0, 0.86), (0.43, 0.0, 0.09), 28.5),
        "back": CameraView((-0.30, 0.0, 0.92), (0.47, 0.0, 0.07), 29.0),
        "overview": CameraView((1.65, -0.70, 1.00), (0.40, -0.02, 0.20), 38.0),
    },
    table=(0.42, 0.0, 0.42, 0.78),
    start=(0.36, 0.0, 0.20),
    start_spread=(0.04, 0.08, 0.04),
)
