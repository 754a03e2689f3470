"""The Kinova Gen3 with seven joints, as Kinova publishes it: the one description that everything here is built from.

Angles that the published URDF rounds (3.1416, 1.5708) are exact quarter turns here. The tool is that of the parallel
gripper: between the fingertips, z out of the gripper, y along the closing direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONTROL_STEP_S = 0.025
"""Period at which the arm takes commands."""
COMMAND_STEP_S = 0.1
"""Period of actions: a command that does not say when it is due is due this long after it was given."""

JOINTS = tuple(f"joint_{i}" for i in range(1, 8))
JOINT_LIMITS_RAD: tuple[float | None, ...] = (None, 2.24, None, 2.57, None, 2.09, None)
"""Symmetric position limits; None marks a continuous joint."""
JOINT_SPEED_LIMITS_RAD_S = (1.3963, 1.3963, 1.3963, 1.3963, 1.2218, 1.2218, 1.2218)
JOINT_ACCELERATION_LIMITS_RAD_S2 = (5.2, 5.2, 5.2, 5.2, 10.0, 10.0, 10.0)
"""What the arm holds its own trajectories to."""
JOINT_STREAM_ACCELERATIONS_RAD_S2 = (21.0, 21.0, 21.0, 21.0, 40.0, 40.0, 40.0)
"""How suddenly a stream of joint speeds may be answered at most: an assumption, well within the joints' efforts."""
JOINT_EFFORT_LIMITS_NM = (39.0, 39.0, 39.0, 39.0, 9.0, 9.0, 9.0)

HOME_RAD = np.array([0.0, 0.427, np.pi, -1.644, 0.0, -1.071, np.pi / 2])
"""Posture that the null space prefers: elbow up, tool down over the work area."""

TOOL_OFFSET_M = 0.150
"""Distance from the flange to the tool, along the flange's z; the tool is turned by a quarter about it."""

OPENING_M = 0.085
"""Between the open fingers of the gripper; each travels half of it."""


@dataclass(frozen=True)
class Link:
    """A link behind a joint, whose axis is the link's z.

    Attributes:
        name: As in the published URDF.
        position: Where the joint sits in the parent link, m.
        quarter_turns: How the joint is turned in the parent link, about x.
    """

    name: str
    position: tuple[float, float, float]
    quarter_turns: int


BASE = "base_link"
LINKS = (
    Link("shoulder_link", (0.0, 0.0, 0.15643), 2),
    Link("half_arm_1_link", (0.0, 0.005375, -0.12838), 1),
    Link("half_arm_2_link", (0.0, -0.21038, -0.006375), -1),
    Link("forearm_link", (0.0, 0.006375, -0.21038), 1),
    Link("spherical_wrist_1_link", (0.0, -0.20843, -0.006375), -1),
    Link("spherical_wrist_2_link", (0.0, 0.00017505, -0.10593), 1),
    Link("bracelet_link", (0.0, -0.10593, -0.00017505), -1),
)
FLANGE = Link("end_effector_link", (0.0, 0.0, -0.061525), 2)
"""Fixed to the bracelet; Kinova's end effector frame."""
TOOL = "tool"
FINGERS = (("left_finger", 1.0), ("right_finger", -1.0))
"""Links of the gripper's fingers, and the side of the tool's y axis that each is on."""
GRIPPER_JOINT = "gripper"
"""Closes both fingers: 0 is open, 1 is closed."""

ELBOW = "forearm_link"
"""The link whose origin is the elbow: where the forearm turns."""
WRIST = "spherical_wrist_2_link"
"""The link whose origin is the wrist: where the last three axes meet."""
