"""Messages to numpy and dataclasses, and back: the only file that knows message types.

Images are `(H, W, 3) uint8 RGB`. cv_bridge is used where it is installed, for encodings that need it, and never needed.
"""

from __future__ import annotations

import array
import math
from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseStamped, Vector3
from nav_msgs.msg import Path
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Float32MultiArray, Header
from visualization_msgs.msg import Marker, MarkerArray

from glam_core.errors import ObservationError
from glam_core.pose import matrix_from_quaternion_xyzw, quaternion_xyzw_from_matrix, transform
from glam_core.tool import ToolCommand, ToolState
from glam_msgs.msg import CommandReport, EpisodeStatus, LatentChunk
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_msgs.msg import ToolState as ToolStateMessage
from glam_ros.meters import Health, Level
from glam_ros.records import EpisodeProgress, IssuedCommand, MeasuredTool, PlannedChunk, SentCommand

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


def time_message(seconds: float) -> Time:
    """A stamp from seconds."""
    whole = math.floor(seconds)
    nanoseconds = round((seconds - whole) * 1e9)
    return Time(sec=whole + nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def seconds(message: Time) -> float:
    """Seconds from a stamp."""
    return message.sec + message.nanosec * 1e-9


def image_message(image: NDArray[np.uint8], stamp: float, frame_id: str) -> Image:
    """An rgb8 image message from `(H, W, 3) uint8 RGB`."""
    height, width, _ = image.shape
    message = Image(header=_header(stamp, frame_id), height=height, width=width, encoding="rgb8", step=3 * width)
    # An array of the exact type passes rclpy's setter without a check of every byte: 0.1 ms instead of 50.
    message.data = array.array("B", np.ascontiguousarray(image).tobytes())
    return message


def image_from_message(message: Image, camera: str) -> tuple[NDArray[np.uint8], float]:
    """The image `(H, W, 3) uint8 RGB` and its stamp.

    Raises:
        ObservationError: The encoding is not understood, or the data do not fill the image; names the camera.
    """
    stamp = seconds(message.header.stamp)
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        return _image_by_cv_bridge(message, camera), stamp
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1 or step < width * channels or len(message.data) < height * step:
        raise ObservationError(
            f"camera '{camera}': {len(message.data)} bytes do not hold {height} x {width} {message.encoding} "
            f"in rows of {step} bytes"
        )
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    image = rows[:, : width * channels].reshape(height, width, channels)
    if message.encoding == "mono8":
        image = np.repeat(image, 3, axis=2)
    elif message.encoding.startswith("bgr"):
        image = image[..., 2::-1]
    return np.ascontiguousarray(image[..., :3]), stamp


def pose_message(T_base_tool: NDArray[np.float64]) -> Pose:
    """A pose message from a transform (4, 4)."""
    x, y, z, w = (float(value) for value in quaternion_xyzw_from_matrix(T_base_tool[:3, :3]))
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = (float(value) for value in T_base_tool[:3, 3])
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = x, y, z, w
    return pose


def pose_from_message(message: Pose) -> NDArray[np.float64]:
    """A transform (4, 4) from a pose message.

    Raises:
        ObservationError: A number is not finite, or the quaternion has no length.
    """
    position = np.array([message.position.x, message.position.y, message.position.z])
    orientation = message.orientation
    quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    length = float(np.linalg.norm(quaternion))
    if not (np.isfinite(position).all() and math.isfinite(length) and length > 1e-6):
        raise ObservationError(f"a pose is finite with a unit quaternion, not position {position}, xyzw {quaternion}")
    return transform(matrix_from_quaternion_xyzw(quaternion / length), position)


def tool_state_message(measured: MeasuredTool, frame: str) -> ToolStateMessage:
    """The message of a measured tool, its pose in the arm's base frame."""
    return ToolStateMessage(
        header=_header(measured.stamp, frame),
        arm=measured.arm,
        pose=pose_message(measured.tool.T_base_tool),
        gripper=measured.tool.gripper,
    )


def tool_state_from_message(message: ToolStateMessage) -> MeasuredTool:
    """A measured tool; raises ObservationError where it is not finite."""
    if not math.isfinite(message.gripper):
        raise ObservationError(
            f"the gripper of arm '{message.arm}' is {message.gripper}; expected 0 (open) to 1 (closed)"
        )
    tool = ToolState(pose_from_message(message.pose), message.gripper)
    return MeasuredTool(message.arm, seconds(message.header.stamp), tool)


def chunk_message(chunk: PlannedChunk) -> LatentChunk:
    """The message of a planned chunk."""
    length, size = chunk.latents.shape
    return LatentChunk(
        header=_header(chunk.observed_at, ""),
        model=chunk.model,
        sequence=chunk.sequence,
        length=length,
        size=size,
        data=array.array("f", np.asarray(chunk.latents, np.float32).ravel().tobytes()),
        step_s=chunk.step_s,
        received=time_message(chunk.received_at),
        capture_to_policy_s=chunk.received_at - chunk.observed_at,
        inference_s=chunk.inference_s,
    )


def chunk_from_message(message: LatentChunk) -> PlannedChunk:
    """A planned chunk; raises ObservationError where the data do not fill it."""
    if len(message.data) != message.length * message.size:
        raise ObservationError(
            f"a latent chunk of {message.length} x {message.size} holds {message.length * message.size} numbers, "
            f"not {len(message.data)}"
        )
    return PlannedChunk(
        model=message.model,
        sequence=message.sequence,
        latents=np.array(message.data, np.float32).reshape(message.length, message.size),
        observed_at=seconds(message.header.stamp),
        received_at=seconds(message.received),
        step_s=message.step_s,
        inference_s=message.inference_s,
    )


def command_message(issued: IssuedCommand, frame: str) -> ToolCommandMessage:
    """The message of a command, its pose in the arm's base frame."""
    return ToolCommandMessage(
        header=_header(issued.issued_at, frame),
        observed_at=time_message(issued.observed_at),
        due=time_message(issued.due_at),
        expires=time_message(issued.expires_at),
        arm=issued.arm,
        sequence=issued.sequence,
        pose=pose_message(issued.command.T_base_tool),
        gripper=issued.command.gripper,
        hold=issued.hold,
        decode_s=issued.decode_s,
    )


def command_from_message(message: ToolCommandMessage) -> IssuedCommand:
    """A command."""
    return IssuedCommand(
        arm=message.arm,
        sequence=message.sequence,
        command=ToolCommand(pose_from_message(message.pose), message.gripper),
        issued_at=seconds(message.header.stamp),
        observed_at=seconds(message.observed_at),
        due_at=seconds(message.due),
        expires_at=seconds(message.expires),
        hold=message.hold,
        decode_s=message.decode_s,
    )


def sent_command_from_message(message: CommandReport) -> SentCommand:
    """What the driver sent."""
    return SentCommand(
        arm=message.arm,
        sequence=message.sequence,
        command=ToolCommand(pose_from_message(message.pose), message.gripper),
        sent_at=seconds(message.header.stamp),
        issued_at=seconds(message.issued_at),
        observed_at=seconds(message.observed_at),
        hold=message.hold,
        clamps=tuple(message.clamps),
    )


def episode_from_message(message: EpisodeStatus) -> EpisodeProgress:
    """How the running episode stands."""
    return EpisodeProgress(
        stamp=seconds(message.header.stamp),
        episode=message.episode,
        task=message.task,
        seed=message.seed,
        elapsed_s=message.elapsed_s,
        success=message.success,
        timed_out=message.timed_out,
    )


def episode_message(progress: EpisodeProgress) -> EpisodeStatus:
    """The message of an episode's progress."""
    return EpisodeStatus(
        header=_header(progress.stamp, ""),
        episode=progress.episode,
        task=progress.task,
        seed=progress.seed,
        elapsed_s=progress.elapsed_s,
        success=progress.success,
        timed_out=progress.timed_out,
    )


def vector_message(values: NDArray[np.float32]) -> Float32MultiArray:
    """A vector `(D,) float32` as a message."""
    return Float32MultiArray(data=array.array("f", np.asarray(values, np.float32).tobytes()))


def vector_from_message(message: Float32MultiArray) -> NDArray[np.float32]:
    """A vector `(D,) float32`."""
    return np.array(message.data, np.float32)


def diagnostics_message(healths: list[Health], stamp: float) -> DiagnosticArray:
    """What /diagnostics carries."""
    statuses = [
        DiagnosticStatus(
            level=bytes([health.level]),
            name=health.name,
            message=health.message,
            values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
        )
        for health in healths
    ]
    return DiagnosticArray(header=_header(stamp, ""), status=statuses)


def healths_from_message(message: DiagnosticArray) -> list[Health]:
    """The verdicts that a diagnostics message carries."""
    return [
        Health(status.name, Level(status.level[0]), status.message, {pair.key: pair.value for pair in status.values})
        for status in message.status
    ]


def path_markers(
    paths: dict[str, list[ToolCommand]], frames: dict[str, str], stamp: float, lifetime_s: float
) -> MarkerArray:
    """The predicted path of every arm: a line through the tool positions, a dot per step, red for a closed gripper.

    Args:
        paths: Arm name to the commands to come, first the next one.
        frames: Arm name to its base frame.
        stamp: When it was predicted.
        lifetime_s: For how long viewers show it.
    """
    markers = MarkerArray()
    for arm, commands in paths.items():
        points = [_point(command.T_base_tool[:3, 3]) for command in commands]
        colors = [_gripper_color(command.gripper) for command in commands]
        header = _header(stamp, frames[arm])
        line = _marker(f"{arm} path", Marker.LINE_STRIP, 0.004, header, lifetime_s)
        dots = _marker(f"{arm} steps", Marker.SPHERE_LIST, 0.012, header, lifetime_s)
        for marker in (line, dots):
            marker.points, marker.colors = points, colors
            marker.action = Marker.ADD if points else Marker.DELETE
        markers.markers += [line, dots]
    return markers


def path_message(positions: Iterable[NDArray[np.float64]], frame: str, stamp: float) -> Path:
    """The way that a tool has come, as positions (3,) in its arm's base frame."""
    header = _header(stamp, frame)
    poses = []
    for position in positions:
        pose = PoseStamped(header=header)
        pose.pose.position = _point(position)
        pose.pose.orientation.w = 1.0
        poses.append(pose)
    return Path(header=header, poses=poses)


def _image_by_cv_bridge(message: Image, camera: str) -> NDArray[np.uint8]:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as error:
        raise ObservationError(
            f"camera '{camera}' sends {message.encoding}; understood without cv_bridge: {', '.join(CHANNELS)}. "
            "Let the camera send one of these, or install cv_bridge"
        ) from error
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "rgb8"))
    except CvBridgeError as error:
        raise ObservationError(
            f"camera '{camera}' sends {message.encoding}, which cv_bridge refuses: {error}"
        ) from error


def _marker(name: str, kind: int, size: float, header: Header, lifetime_s: float) -> Marker:
    marker = Marker(header=header, ns=name, type=kind)
    marker.scale = Vector3(x=size, y=size, z=size)
    marker.pose.orientation.w = 1.0
    marker.lifetime.sec = int(lifetime_s)
    marker.lifetime.nanosec = int((lifetime_s % 1.0) * 1e9)
    return marker


def _gripper_color(gripper: float) -> ColorRGBA:
    closed = min(max(gripper, 0.0), 1.0)
    return ColorRGBA(r=0.1 + 0.9 * closed, g=0.6 - 0.3 * closed, b=1.0 - 0.9 * closed, a=0.9)


def _point(position: NDArray[np.float64]) -> Point:
    return Point(x=float(position[0]), y=float(position[1]), z=float(position[2]))


def _header(stamp: float, frame_id: str) -> Header:
    return Header(stamp=time_message(stamp), frame_id=frame_id)
