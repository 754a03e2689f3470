"""The simulated scene as MJCF: Kinova Gen3s or hand-held grippers, parallel fingers, table, objects, cameras.

The kinematics, masses, inertias and limits of the 7-DoF Gen3 are the numbers that Kinova publishes in its URDF; angles
that the URDF rounds (3.1416, 1.5708) are exact quarter turns here. All geometry is primitive, which renders several
times faster than meshes. Only fingers, hands, objects and table collide; the links of the arms are for the eye.

Frames: a base frame stands on the table (z = 0 is the table top), x points to the work area. The tool frame sits
between the fingertips, z out of the gripper, y along the closing direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from glam_core.gen3 import (
    CONTROL_STEP_S,
    FLANGE,
    JOINT_EFFORT_LIMITS_NM,
    JOINT_LIMITS_RAD,
    JOINTS,
    LINKS,
    OPENING_M,
    TOOL_OFFSET_M,
)
from glam_sim.appearance import PLAIN_LOOK, Appearance
from glam_sim.layout import ArmPlace, Layout, wrist_camera
from glam_sim.objects import ObjectModel

EMBODIMENTS = ("gen3", "umi")

PHYSICS_STEP_S = 0.0025
PHYSICS_STEPS_PER_CONTROL = round(CONTROL_STEP_S / PHYSICS_STEP_S)

# Gripper: each finger slides from 0 (open) to half the opening (closed).
FINGER_TRAVEL_M = OPENING_M / 2
FINGER_HALF_WIDTH_M = 0.011
FINGER_HALF_THICKNESS_M = 0.004
FINGERTIP_M = 0.010
"""How far the fingertips reach beyond the origin of the tool frame."""

# Camera on the hand: position, the point it looks at (m, tool frame), vertical field of view (degrees).
_WRIST_VIEW = ((0.085, 0.0, -0.140), (0.006, 0.0, 0.030), 58.0)

_TURNS_X = {2: (0.0, 1.0, 0.0, 0.0), 1: (0.5**0.5, 0.5**0.5, 0.0, 0.0), -1: (0.5**0.5, -(0.5**0.5), 0.0, 0.0)}
"""Quarter turns about x as (w, x, y, z)."""
_QUARTER_Z = (0.5**0.5, 0.0, 0.0, 0.5**0.5)  # quarter turn about z


@dataclass(frozen=True)
class _Body:
    """The inertia of a link, and its look."""

    mass: float
    centre: tuple[float, float, float]
    inertia: tuple[float, float, float, float, float, float]  # xx, yy, zz, xy, xz, yz
    tip: tuple[float, float, float]  # where the next joint sits, for the capsule that draws the link
    radius: float


@dataclass(frozen=True)
class _Arm:
    """One arm of a scene.

    Attributes:
        prefix: put before every name that belongs to it.
        place: where its base stands.
        wrist: name of the camera on its hand.
        looks: its colours.
        meets: attributes of its hand's geoms that let it collide with another arm's hand.
    """

    prefix: str
    place: ArmPlace
    wrist: str
    looks: Appearance = PLAIN_LOOK
    meets: str = ""


_BASE_INERTIA = (0.004622, 0.004495, 0.002079, 9e-06, 6e-05, 9e-06)
_BODIES = (
    _Body(
        1.3773, (-2.3e-05, -0.010364, -0.07336),
        (0.00457, 0.004831, 0.001409, 1e-06, 2e-06, 0.000448), (0.0, 0.005375, -0.12838), 0.045,
    ),
    _Body(
        1.1636, (-4.4e-05, -0.09958, -0.013278),
        (0.011088, 0.001072, 0.011255, 5e-06, 0.0, -0.000691), (0.0, -0.21038, -0.006375), 0.044,
    ),
    _Body(
        1.1636, (-4.4e-05, -0.006641, -0.117892),
        (0.010932, 0.011127, 0.001043, 0.0, -7e-06, 0.000606), (0.0, 0.006375, -0.21038), 0.043,
    ),
    _Body(
        0.9302, (-1.8e-05, -0.075478, -0.015006),
        (0.008147, 0.000631, 0.008316, -1e-06, 0.0, -0.0005), (0.0, -0.20843, -0.006375), 0.041,
    ),
    _Body(
        0.6781, (1e-06, -0.009432, -0.063883),
        (0.001596, 0.001607, 0.000399, 0.0, 0.0, 0.000256), (0.0, 0.00017505, -0.10593), 0.036,
    ),
    _Body(
        0.6781, (1e-06, -0.045483, -0.00965),
        (0.001641, 0.00041, 0.001641, 0.0, 0.0, -0.000278), (0.0, -0.10593, -0.00017505), 0.036,
    ),
    _Body(
        0.5, (0.000281, 0.011402, -0.029798),
        (0.000587, 0.000369, 0.000609, 3e-06, 3e-06, -0.000118), (0.0, 0.0, -0.0615), 0.035,
    ),
)  # fmt: skip

# Velocity servo gains (N m s / rad) and reflected rotor inertias (kg m^2) of the large and the small actuators.
_SERVO_GAIN = (250.0, 250.0, 250.0, 250.0, 60.0, 60.0, 60.0)
_ARMATURE = (0.3, 0.3, 0.3, 0.3, 0.08, 0.08, 0.08)

_ARM_DARK = (0.24, 0.25, 0.28)
_PALM = {"gen3": (0.17, 0.18, 0.20), "umi": (0.93, 0.93, 0.90)}
_UMI_ACCENT = (0.95, 0.50, 0.10)
_LEG = (0.35, 0.35, 0.38)
_LEGS = ((-1, -1), (1, 1), (-1, 1), (1, -1))
_MEETINGS = (' contype="6"', ' conaffinity="5"')
"""Bits that let the hands of two arms collide with each other, beside what every hand collides with."""


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _rgba(colour: Sequence[float]) -> str:
    return _numbers((*colour, 1.0))


def _geom(kind: str, size: Sequence[float], position: Sequence[float], colour: Sequence[float], extra: str = "") -> str:
    """A geom without mass; `extra` adds attributes such as a name or a class."""
    return f'<geom type="{kind}" size="{_numbers(size)}" pos="{_numbers(position)}" rgba="{_rgba(colour)}" {extra}/>'


def _capsule(start: Sequence[float], end: Sequence[float], radius: float, colour: Sequence[float]) -> str:
    """A visual capsule between two points."""
    return (
        f'<geom class="visual" type="capsule" size="{radius:.9g}" fromto="{_numbers((*start, *end))}" '
        f'rgba="{_rgba(colour)}"/>'
    )


def _camera(
    name: str,
    position: Sequence[float],
    target: Sequence[float],
    field_of_view_deg: float,
    up: Sequence[float] = (0.0, 0.0, 1.0),
) -> str:
    """A camera that looks at a point; `up` is the direction that is upwards in its image."""
    back = np.subtract(position, target)
    right = np.cross(up, back)
    axes = _numbers((*right, *np.cross(back, right)))
    return f'<camera name="{name}" pos="{_numbers(position)}" xyaxes="{axes}" fovy="{field_of_view_deg}"/>'


def _inertial(mass: float, centre: Sequence[float], inertia: Sequence[float]) -> str:
    return f'<inertial mass="{mass}" pos="{_numbers(centre)}" fullinertia="{_numbers(inertia)}"/>'


def _finger(arm: _Arm, name: str, side: float) -> str:
    """One finger, in the tool frame; `side` is +1 or -1 along y. The joint moves it towards the middle."""
    half = (FINGER_HALF_WIDTH_M, FINGER_HALF_THICKNESS_M, 0.0225)
    centre = side * (FINGER_TRAVEL_M + FINGER_HALF_THICKNESS_M)
    prefix = arm.prefix
    pad = _geom(
        "box",
        half,
        (0, 0, FINGERTIP_M - half[2]),
        arm.looks.finger,
        f'name="{prefix}{name}_pad" class="pad"{arm.meets}',
    )
    link = f'name="{prefix}{name}_link" class="solid"{arm.meets}'
    return f"""
<body name="{prefix}{name}" pos="0 {centre:.9g} 0" gravcomp="1">
  <inertial mass="0.06" pos="0 0 -0.03" diaginertia="4e-5 4e-5 1e-5"/>
  <joint name="{prefix}{name}" type="slide" axis="0 {-side:g} 0" range="0 {FINGER_TRAVEL_M:.9g}" class="finger"/>
  {pad}
  {_geom("box", (0.009, 0.006, 0.018), (0, side * 0.003, -0.053), arm.looks.finger, link)}
</body>"""


def _hand(arm: _Arm, embodiment: str) -> str:
    """Palm, fingers, wrist camera and tool site, in the tool frame."""
    palm = arm.looks.palm or _PALM[embodiment]
    prefix, meets = arm.prefix, arm.meets
    if embodiment == "gen3":
        body = _geom("cylinder", (0.036, 0.03), (0, 0, -0.118), palm, f'name="{prefix}palm" class="solid"{meets}')
        body += _geom(
            "box", (0.014, 0.05, 0.018), (0, 0, -0.082), palm, f'name="{prefix}knuckles" class="solid"{meets}'
        )
        camera_body = ""
    else:
        body = (
            _geom("box", (0.017, 0.056, 0.022), (0, 0, -0.088), palm, f'name="{prefix}palm" class="solid"{meets}')
            + _capsule((0, 0, -0.11), (-0.015, 0, -0.215), 0.019, _UMI_ACCENT)
            + _geom("box", (0.003, 0.045, 0.012), (-0.019, 0, -0.088), _UMI_ACCENT, 'class="visual"')
        )
        camera_body = _capsule((0.02, 0, -0.10), (0.07, 0, -0.165), 0.006, palm)
        camera_body += _geom("box", (0.016, 0.03, 0.018), (0.078, 0, -0.165), _ARM_DARK, 'class="visual"')
    return f"""
<body name="{prefix}hand" gravcomp="1">
  <inertial mass="0.60" pos="0 0 -0.10" diaginertia="9e-4 9e-4 6e-4"/>
  {body}{camera_body}
  <site name="{prefix}tool" size="0.002" rgba="0 0 0 0"/>
  {_camera(arm.wrist, *_WRIST_VIEW, up=(1.0, 0.0, 0.0))}
  {_finger(arm, "left_finger", 1.0)}{_finger(arm, "right_finger", -1.0)}
</body>"""


def _arm_chain(arm: _Arm, index: int) -> str:
    """Links from `index` on, nested; the last one carries the flange with the hand."""
    link, body, prefix = LINKS[index], _BODIES[index], arm.prefix
    limit = JOINT_LIMITS_RAD[index]
    joint_range = "" if limit is None else f'range="{-limit} {limit}"'
    last = index == len(LINKS) - 1
    looks = _capsule((0, 0, 0), body.tip, body.radius, arm.looks.arm)
    looks += _geom("cylinder", (body.radius + 0.003, body.radius * 0.55), (0, 0, 0), _ARM_DARK, 'class="visual"')
    if last:  # the vision module sits on the side that the flange's y axis points to
        looks += _geom("box", (0.033, 0.016, 0.024), (0, -0.045, -0.033), arm.looks.arm, 'class="visual"')
        quarter_turn = f'quat="{_numbers(_QUARTER_Z)}"'
        child = f"""
<body name="{prefix}flange" pos="{_numbers(FLANGE.position)}" quat="{_numbers(_TURNS_X[2])}" gravcomp="1">
  <site name="{prefix}flange" size="0.002" rgba="0 0 0 0"/>
  <body name="{prefix}mount" pos="0 0 {TOOL_OFFSET_M}" {quarter_turn} gravcomp="1">{_hand(arm, "gen3")}</body>
</body>"""
    else:
        child = _arm_chain(arm, index + 1)
    turned = _numbers(_TURNS_X[link.quarter_turns])
    return f"""
<body name="{prefix}{link.name}" pos="{_numbers(link.position)}" quat="{turned}" gravcomp="1">
  {_inertial(body.mass, body.centre, body.inertia)}
  <joint name="{prefix}{JOINTS[index]}" axis="0 0 1" {joint_range} armature="{_ARMATURE[index]}" damping="0.5"/>
  {looks}{child}
</body>"""


def _stand(place: ArmPlace) -> str:
    """Position and heading of a base; nothing for one at the world's origin."""
    if not (place.x or place.y or place.yaw):
        return ""
    turn = (np.cos(place.yaw / 2), 0.0, 0.0, np.sin(place.yaw / 2))
    return f'pos="{_numbers((place.x, place.y, 0.0))}" quat="{_numbers(turn)}" '


def _gen3(arm: _Arm) -> str:
    return f"""
<body name="{arm.prefix}base_link" {_stand(arm.place)}gravcomp="1">
  {_inertial(1.697, (-0.000648, -0.000166, 0.084487), _BASE_INERTIA)}
  {_geom("cylinder", (0.062, 0.012), (0, 0, 0.012), _ARM_DARK, 'class="visual"')}
  {_geom("cylinder", (0.047, 0.07), (0, 0, 0.07), arm.looks.arm, 'class="visual"')}
  {_arm_chain(arm, 0)}
</body>"""


def _umi(arm: _Arm) -> str:
    """A gripper that floats: its joints are the position and yaw of the tool in the base frame."""
    prefix = arm.prefix
    joints = "".join(
        f'<joint name="{prefix}hand_{axis}" type="slide" axis="{vector}" armature="0.2"/>'
        for axis, vector in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
    )
    return f"""
<body name="{prefix}carriage" {_stand(arm.place)}gravcomp="1">
  {joints}<joint name="{prefix}hand_yaw" axis="0 0 1" armature="0.01"/>
  <inertial mass="0.2" pos="0 0 0.1" diaginertia="1e-3 1e-3 1e-3"/>
  <body name="{prefix}mount" quat="{_numbers(_TURNS_X[2])}" gravcomp="1">{_hand(arm, "umi")}</body>
</body>"""


def _mimic(prefix: str) -> str:
    """Both fingers of a hand close by the same way."""
    return f'<joint joint1="{prefix}right_finger" joint2="{prefix}left_finger" polycoef="0 1 0 0 0" solref="0.005 1"/>'


def _actuators(prefix: str, embodiment: str) -> str:
    if embodiment == "gen3":
        motion = "".join(
            f'<velocity name="{prefix}{joint}" joint="{prefix}{joint}" kv="{gain}" forcerange="{-effort} {effort}"/>'
            for joint, gain, effort in zip(JOINTS, _SERVO_GAIN, JOINT_EFFORT_LIMITS_NM, strict=True)
        )
    else:
        motion = "".join(
            f'<position name="{prefix}hand_{axis}" joint="{prefix}hand_{axis}" kp="{gain}" dampratio="1"/>'
            for axis, gain in (("x", 1500), ("y", 1500), ("z", 1500), ("yaw", 15))
        )
    fingers = "".join(
        f'<position name="{prefix}{finger}" joint="{prefix}{finger}" kp="1500" kv="30" forcerange="-12 12"/>'
        for finger in ("left_finger", "right_finger")
    )
    return motion + fingers


_DEFAULTS = """
<default>
  <geom mass="0" solref="0.006 1" solimp="0.95 0.99 0.001"/>
  <default class="visual"><geom contype="0" conaffinity="0"/></default>
  <default class="solid"><geom contype="2" conaffinity="1" friction="0.6 0.005 0.0001"/></default>
  <default class="pad"><geom contype="2" conaffinity="1" condim="4" friction="1.6 0.03 0.0001" priority="1"/></default>
  <default class="cube"><geom contype="1" conaffinity="3" friction="0.9 0.01 0.0001"/></default>
  <default class="finger"><joint damping="8" armature="0.05"/></default>
</default>"""


def _assets(looks: Appearance) -> str:
    """The background and, for a checked table, its texture."""
    above, below = looks.sky
    table = ""
    if looks.table_pattern is not None:
        pattern = np.divide(looks.table_pattern, looks.table)  # the table's colour is the geom's
        table = f"""
  <texture name="table" type="2d" builtin="checker" rgb1="1 1 1" rgb2="{_numbers(pattern)}" width="64" height="64"/>
  <material name="table" texture="table" texrepeat="8 8" texuniform="true"/>"""
    return f"""
<asset>
  <texture name="sky" type="skybox" builtin="gradient" rgb1="{_numbers(above)}" rgb2="{_numbers(below)}"
    width="32" height="192"/>{table}
</asset>"""


def scene_xml(embodiment: str, layout: Layout, objects: Sequence[ObjectModel], looks: Appearance = PLAIN_LOOK) -> str:
    """Builds the scene: arms or hands of one embodiment, the table, the objects, and the cameras of the layout.

    Every name that belongs to an arm begins with the arm's name and a slash.

    Args:
        embodiment: one of `EMBODIMENTS`.
        layout: which arms there are, and where everything stands.
        objects: what is on the table, in the order of the task.
        looks: colours, lights and textures.
    """
    meetings = _MEETINGS if len(layout.arms) > 1 else ("",)
    arms = [
        _Arm(f"{place.name}/", place, wrist_camera(place.name, layout.arm_names), looks, meets)
        for place, meets in zip(layout.arms, meetings, strict=True)
    ]
    x, y, half_x, half_y = layout.table
    legs = [(x + side * (half_x - 0.1), y + end * (half_y - 0.1)) for side, end in _LEGS]
    ambient, lamp = _numbers([looks.ambient] * 3), _numbers([looks.lamp] * 3)
    surface = "" if looks.table_pattern is None else ' material="table"'
    return f"""
<mujoco model="glam {embodiment}">
  <compiler angle="radian" autolimits="true" inertiafromgeom="auto"/>
  <option timestep="{PHYSICS_STEP_S}" integrator="implicitfast" cone="elliptic" impratio="10" iterations="30"/>
  <size memory="4M"/>
  <visual>
    <headlight ambient="{ambient}" diffuse="0.35 0.35 0.35" specular="0.05 0.05 0.05"/>
    <quality shadowsize="1024" offsamples="0" numslices="16" numstacks="10"/>
    <map znear="0.02" zfar="6"/>
    <global offwidth="1280" offheight="960"/>
  </visual>
  <statistic center="0.4 0 0.2" extent="1"/>
  {_DEFAULTS}{_assets(looks)}
  <worldbody>
    <light name="key" directional="true" pos="0.9 -0.7 1.8" dir="{_numbers(looks.lamp_direction)}" diffuse="{lamp}"
      specular="0.1 0.1 0.1" castshadow="true"/>
    <geom name="table" type="box" size="{half_x} {half_y} 0.02" pos="{x} {y:g} -0.02"
      rgba="{_rgba(looks.table)}"{surface} contype="1" conaffinity="3" friction="0.9 0.01 0.0001"/>
    {"".join(_geom("box", (0.05, 0.05, 0.33), (*leg, -0.37), _LEG, 'class="visual"') for leg in legs)}
    <geom name="floor" class="visual" type="plane" size="4 4 1" pos="0 0 -0.7" rgba="{_rgba(looks.floor)}"/>
    {"".join(_camera(name, v.position, v.target, v.field_of_view_deg) for name, v in layout.views.items())}
    {"".join(_gen3(arm) if embodiment == "gen3" else _umi(arm) for arm in arms)}
    {"".join(item.xml() for item in objects)}
  </worldbody>
  <equality>
    {"".join(_mimic(arm.prefix) for arm in arms)}
  </equality>
  <actuator>{"".join(_actuators(arm.prefix, embodiment) for arm in arms)}</actuator>
</mujoco>"""


def scene_model(
    embodiment: str, layout: Layout, objects: Sequence[ObjectModel], looks: Appearance = PLAIN_LOOK
) -> mujoco.MjModel:
    """Compiles the scene of `scene_xml`."""
    return mujoco.MjModel.from_xml_string(scene_xml(embodiment, layout, objects, looks))


def arm_model() -> mujoco.MjModel:
    """Compiles the Gen3 and its gripper alone, for kinematics; its sites are `flange` and `tool`."""
    return mujoco.MjModel.from_xml_string(
        f'<mujoco model="gen3"><compiler angle="radian" autolimits="true"/>{_DEFAULTS}'
        f"<worldbody>{_gen3(_Arm('', ArmPlace(''), 'wrist'))}</worldbody></mujoco>"
    )
