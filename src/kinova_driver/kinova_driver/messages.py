"""Between messages and the driver's own types: the only file that fills and reads messages.

Stamps in messages are system time; the driver's times are of the monotonic clock.
"""

from __future__ import annotations

import array
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3, Wrench, WrenchStamped
from numpy.typing import NDArray
from rclpy.event_handler import PublisherEventCallbacks
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float32MultiArray, Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from glam_core.errors import SafetyError
from glam_core.joint_safety import in_order
from glam_core.pose import matrix_from_quaternion_xyzw, quaternion_xyzw_from_matrix, transform
from glam_core.tool import ToolCommand
from glam_msgs.msg import CommandReport
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_msgs.msg import ToolState as ToolStateMessage
from kinova_driver.arm import ArmState
from kinova_driver.driver import Request, Sent

NO_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
"""For publishers of this package: rclpy's default events cost the executor a third of its time."""


def stamp_from_monotonic(at: float) -> Time:
    """The system time of a reading of the monotonic clock, s."""
    nanoseconds = time.time_ns() - round((time.monotonic() - at) * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def monotonic_from_stamp(stamp: Time) -> float:
    """The reading of the monotonic clock, s, at a system time."""
    return time.monotonic() - (time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) * 1e-9


def request_from_message(message: ToolCommandMessage) -> Request:
    """A command as the driver takes it.

    Raises:
        SafetyError: A number of the pose is not finite, or the quaternion is no rotation.
    """
    position, orientation = message.pose.position, message.pose.orientation
    p = np.array([position.x, position.y, position.z])
    q = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    if not (np.isfinite(p).all() and np.isfinite(q).all() and abs(np.linalg.norm(q) - 1.0) < 1e-2):
        raise SafetyError(f"command rejected: a pose is finite with a unit quaternion, not position {p}, xyzw {q}")
    return Request(
        command=ToolCommand(transform(matrix_from_quaternion_xyzw(q), p), message.gripper),
        sequence=message.sequence,
        issued_at=monotonic_from_stamp(message.header.stamp),
        observed_at=monotonic_from_stamp(message.observed_at),
        expires=monotonic_from_stamp(message.expires),
        hold=message.hold,
        due=monotonic_from_stamp(message.due) if message.due.sec else None,
    )


def joint_request_from_message(message: JointState, prefix: str, lifetime_s: float) -> Request:
    """A command of joint speeds as the driver takes it; it lives for `lifetime_s` from its stamp.

    Raises:
        SafetyError: Joints are missing, unknown or named twice, or a speed is not finite.
    """
    names = [name.removeprefix(prefix) for name in message.name]
    speeds = in_order(names, message.velocity, "command of joint speeds")
    issued_at = monotonic_from_stamp(message.header.stamp)
    return Request(
        command=ToolCommand(np.eye(4), 0.0),
        sequence=0,
        issued_at=issued_at,
        observed_at=issued_at,
        expires=issued_at + lifetime_s,
        joint_speeds=speeds,
    )


def wrench_message(state: ArmState, frame: str) -> WrenchStamped:
    """Force (N) and torque (N m) on the tool, along the axes of the base."""
    fx, fy, fz, tx, ty, tz = state.wrench.tolist()
    wrench = Wrench(force=Vector3(x=fx, y=fy, z=fz), torque=Vector3(x=tx, y=ty, z=tz))
    return WrenchStamped(header=Header(stamp=stamp_from_monotonic(state.stamp), frame_id=frame), wrench=wrench)


def report_message(sent: Sent, sent_at: float, arm: str, frame: str) -> CommandReport:
    """What the arm was really told, and when: monotonic clock, s."""
    return CommandReport(
        header=Header(stamp=stamp_from_monotonic(sent_at), frame_id=frame),
        issued_at=stamp_from_monotonic(sent.request.issued_at),
        observed_at=stamp_from_monotonic(sent.request.observed_at),
        arm=arm,
        sequence=sent.request.sequence,
        pose=pose_message(sent.command.T_base_tool),
        gripper=sent.command.gripper,
        hold=sent.hold,
        clamps=[clamp.name for clamp in sent.clamps],
        age_s=sent_at - sent.request.observed_at,
    )


def tool_state_message(state: ArmState, arm: str, frame: str) -> ToolStateMessage:
    """The measured tool."""
    return ToolStateMessage(
        header=Header(stamp=stamp_from_monotonic(state.stamp), frame_id=frame),
        arm=arm,
        pose=pose_message(state.tool.T_base_tool),
        gripper=state.tool.gripper,
    )


def joint_state_message(state: ArmState, prefix: str) -> JointState:
    """The measured joints, and the gripper as a joint of its own: 0 open, 1 closed."""
    message = JointState(header=Header(stamp=stamp_from_monotonic(state.stamp)))
    message.name = [prefix + name for name in (*state.joint_names, "gripper")]
    message.position = array.array("d", [*state.positions, state.tool.gripper])
    if len(state.efforts):
        message.effort = array.array("d", [*state.efforts, math.nan])
    message.velocity = array.array("d", [*state.velocities, math.nan])
    return message


def transforms_message(frames: Sequence[tuple[str, str, NDArray[np.float64]]], stamp: Time) -> TFMessage:
    """Frames for /tf: each with its parent, its name, and its pose `T_parent_child` (4, 4)."""
    transforms = []
    for parent, child, T in frames:
        px, py, pz = T[:3, 3].tolist()
        x, y, z, w = quaternion_xyzw_from_matrix(T[:3, :3]).tolist()
        transform = Transform(translation=Vector3(x=px, y=py, z=pz), rotation=Quaternion(x=x, y=y, z=z, w=w))
        header = Header(stamp=stamp, frame_id=parent)
        transforms.append(TransformStamped(header=header, child_frame_id=child, transform=transform))
    return TFMessage(transforms=transforms)


def pose_message(T: NDArray[np.float64]) -> Pose:
    """A pose from a transform (4, 4)."""
    px, py, pz = T[:3, 3].tolist()
    x, y, z, w = quaternion_xyzw_from_matrix(T[:3, :3]).tolist()
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def image_message(image: NDArray[np.uint8], stamp: float, frame: str) -> Image:
    """An rgb8 image from `(H, W, 3) uint8 RGB`, captured at a reading of the monotonic clock."""
    height, width, _ = image.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header = Header(stamp=stamp_from_monotonic(stamp), frame_id=frame)
    # An array of the very type passes rclpy's setter without a look at every byte, which would take 50 ms.
    message.data = array.array("B", image.tobytes())
    return message


def camera_info_message(height: int, width: int, focal: float, header: Header) -> CameraInfo:
    """The intrinsics of an ideal pinhole camera; the focal length is in pixels."""
    cx, cy = width / 2.0, height / 2.0
    message = CameraInfo(header=header, height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def vector_message(values: NDArray[np.float32]) -> Float32MultiArray:
    """A vector `(D,) float32`."""
    return Float32MultiArray(data=array.array("f", values.tobytes()))


@dataclass(frozen=True)
class Shape:
    """How viewers draw an object: its bounding box (m), its colour, and whether it is round."""

    size_m: tuple[float, float, float]
    colour: tuple[float, float, float]
    is_round: bool


def object_markers(
    objects: Mapping[str, NDArray[np.float64]], shapes: Mapping[str, Shape], stamp: Time, frame: str
) -> MarkerArray:
    """The objects at their poses (4, 4), for viewers, for one second."""
    markers = []
    for number, (name, pose) in enumerate(objects.items()):
        shape = shapes[name]
        kind = Marker.CYLINDER if shape.is_round else Marker.CUBE
        marker = Marker(ns="scene", id=number, type=kind, pose=pose_message(pose))
        marker.header = Header(stamp=stamp, frame_id=frame)
        marker.scale.x, marker.scale.y, marker.scale.z = shape.size_m
        marker.color.r, marker.color.g, marker.color.b = shape.colour
        marker.color.a = 1.0
        marker.lifetime.sec = 1
        markers.append(marker)
    return MarkerArray(markers=markers)


def diagnostics_message(
    level: bytes, name: str, message: str, hardware: str, values: Mapping[str, object]
) -> DiagnosticArray:
    """What one node says on /diagnostics; floats with four significant digits."""
    pairs = [
        KeyValue(key=key, value=f"{value:.4g}" if isinstance(value, float) else str(value))
        for key, value in values.items()
    ]
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=pairs)
    return DiagnosticArray(header=Header(stamp=stamp_from_monotonic(time.monotonic())), status=[status])
