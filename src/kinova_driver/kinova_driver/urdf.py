"""The arm with our gripper as URDF, for viewers: `python -m kinova_driver.urdf > gen3.urdf`.

Its numbers are those of `glam_core.gen3`, from which the kinematics are built, too; its shapes are primitive. The
driver publishes it as `robot_description`, with the frames of all its links on /tf, so RViz needs nothing else. Where
Kinova's `kortex_description` is installed, its links have the same names: run a robot_state_publisher with it, and the
driver leaves the links to that.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from glam_core.gen3 import (
    BASE,
    FINGERS,
    FLANGE,
    GRIPPER_JOINT,
    JOINT_EFFORT_LIMITS_NM,
    JOINT_LIMITS_RAD,
    JOINT_SPEED_LIMITS_RAD_S,
    JOINTS,
    LINKS,
    OPENING_M,
    TOOL_OFFSET_M,
)

_LIGHT, _DARK, _FINGER = (0.80, 0.81, 0.83), (0.24, 0.25, 0.28), (0.15, 0.15, 0.17)
_RADII_M = (0.045, 0.044, 0.043, 0.041, 0.036, 0.036, 0.035)
"""Of the links, for the eye."""
_FINGER_SIZE_M = (0.022, 0.008, 0.045)
_FINGERTIP_M = 0.010
_FINGER_SPEED_M_S, _FINGER_FORCE_N = 0.15, 12.0


@dataclass(frozen=True)
class UrdfConfig:
    """What is printed."""

    prefix: str = ""
    """Put before the name of every link and joint, such as left/."""


def gen3_urdf(prefix: str = "") -> str:
    """The URDF of the arm and its gripper.

    Args:
        prefix: Put before the name of every link and joint, such as `left/`.
    """
    robot = ElementTree.Element("robot", name=f"{prefix}gen3")
    tips = [link.position for link in (*LINKS[1:], FLANGE)]
    base = _link(robot, prefix + BASE)
    _cylinder(base, 0.062, 0.024, (0.0, 0.0, 0.012), _DARK)
    _cylinder(base, 0.047, 0.14, (0.0, 0.0, 0.07), _LIGHT)
    parent = BASE
    for index, link in enumerate(LINKS):
        drawn = _link(robot, prefix + link.name)
        _segment(drawn, tips[index], _RADII_M[index], _LIGHT)
        _cylinder(drawn, _RADII_M[index] + 0.003, 1.1 * _RADII_M[index], (0.0, 0.0, 0.0), _DARK)
        limit = JOINT_LIMITS_RAD[index]
        kind = "continuous" if limit is None else "revolute"
        joint = _joint(robot, prefix, JOINTS[index], kind, parent, link.name, link.position, link.quarter_turns)
        ElementTree.SubElement(joint, "axis", xyz="0 0 1")
        limits = {"effort": JOINT_EFFORT_LIMITS_NM[index], "velocity": JOINT_SPEED_LIMITS_RAD_S[index]}
        if limit is not None:
            limits |= {"lower": -limit, "upper": limit}
        ElementTree.SubElement(joint, "limit", {name: repr(value) for name, value in limits.items()})
        parent = link.name
    flange = _link(robot, prefix + FLANGE.name)
    _cylinder(flange, 0.036, 0.06, (0.0, 0.0, TOOL_OFFSET_M - 0.118), _DARK)
    _joint(robot, prefix, "end_effector", "fixed", parent, FLANGE.name, FLANGE.position, FLANGE.quarter_turns)
    _add_gripper(robot, prefix)
    ElementTree.indent(robot)
    return ElementTree.tostring(robot, encoding="unicode") + "\n"


def _add_gripper(robot: ElementTree.Element, prefix: str) -> None:
    """Two fingers that follow one joint, which goes from 0 to 1 as everywhere here."""
    _link(robot, f"{prefix}gripper_drive")
    drive = _joint(robot, prefix, GRIPPER_JOINT, "prismatic", FLANGE.name, "gripper_drive", (0.0, 0.0, 0.0), 0)
    ElementTree.SubElement(drive, "axis", xyz="0 0 1")
    travel = 0.5 * OPENING_M
    limits = {"lower": "0.0", "upper": "1.0", "velocity": repr(_FINGER_SPEED_M_S / travel)}
    ElementTree.SubElement(drive, "limit", limits | {"effort": repr(_FINGER_FORCE_N)})
    for name, side in FINGERS:
        finger = _link(robot, prefix + name)
        centre = (0.0, side * 0.5 * _FINGER_SIZE_M[1], _FINGERTIP_M - 0.5 * _FINGER_SIZE_M[2])
        _visual(finger, "box", {"size": _numbers(_FINGER_SIZE_M)}, centre, (0.0, 0.0, 0.0), _FINGER)
        # The tool's y axis is the flange's -x axis.
        open_at = (-side * travel, 0.0, TOOL_OFFSET_M)
        joint = _joint(robot, prefix, f"{name}_joint", "prismatic", FLANGE.name, name, open_at, 0, math.pi / 2)
        ElementTree.SubElement(joint, "axis", xyz=f"0 {-side:g} 0")
        limits = {"lower": "0.0", "upper": repr(travel), "velocity": repr(_FINGER_SPEED_M_S)}
        ElementTree.SubElement(joint, "limit", limits | {"effort": repr(_FINGER_FORCE_N)})
        ElementTree.SubElement(joint, "mimic", joint=prefix + GRIPPER_JOINT, multiplier=repr(travel), offset="0.0")


def _link(robot: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(robot, "link", name=name)


def _joint(
    robot: ElementTree.Element,
    prefix: str,
    name: str,
    kind: str,
    parent: str,
    child: str,
    position: Sequence[float],
    quarter_turns_x: int,
    turn_z: float = 0.0,
) -> ElementTree.Element:
    joint = ElementTree.SubElement(robot, "joint", name=prefix + name, type=kind)
    turns = (quarter_turns_x * math.pi / 2, 0.0, turn_z)
    ElementTree.SubElement(joint, "origin", xyz=_numbers(position), rpy=_numbers(turns))
    ElementTree.SubElement(joint, "parent", link=prefix + parent)
    ElementTree.SubElement(joint, "child", link=prefix + child)
    return joint


def _visual(
    link: ElementTree.Element,
    kind: str,
    size: dict[str, str],
    position: Sequence[float],
    turns: Sequence[float],
    colour: Sequence[float],
) -> None:
    visual = ElementTree.SubElement(link, "visual")
    ElementTree.SubElement(visual, "origin", xyz=_numbers(position), rpy=_numbers(turns))
    ElementTree.SubElement(ElementTree.SubElement(visual, "geometry"), kind, size)
    material = ElementTree.SubElement(visual, "material", name="_".join(f"{value:.2f}" for value in colour))
    ElementTree.SubElement(material, "color", rgba=_numbers((*colour, 1.0)))


def _cylinder(
    link: ElementTree.Element, radius: float, length: float, position: Sequence[float], colour: Sequence[float]
) -> None:
    size = {"radius": repr(radius), "length": repr(length)}
    _visual(link, "cylinder", size, position, (0.0, 0.0, 0.0), colour)


def _segment(link: ElementTree.Element, tip: Sequence[float], radius: float, colour: Sequence[float]) -> None:
    """A cylinder from the link's origin to where the next joint sits."""
    x, y, z = tip
    length = math.sqrt(x * x + y * y + z * z)
    # Yaw is of no use to a cylinder: roll, then pitch, from the z axis to the tip.
    turns = (math.atan2(-y, z) if length else 0.0, math.asin(x / length) if length else 0.0, 0.0)
    size = {"radius": repr(radius), "length": repr(length)}
    _visual(link, "cylinder", size, (0.5 * x, 0.5 * y, 0.5 * z), turns, colour)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def main() -> int:
    """The command line."""
    import tyro  # the environment of the driver of a real arm may lack it

    sys.stdout.write(gen3_urdf(tyro.cli(UrdfConfig, description=__doc__).prefix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
