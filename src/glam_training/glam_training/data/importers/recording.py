"""One MCAP recording of the ROS 2 graph as plain data, read without a ROS installation.

Streams are known by their message types and topics: camera/<name>/image_raw, tool_state, command, scene and
episode_status, each under any namespace; what `glam record` says of the episode comes on `recording`, as JSON. Message
definitions come from the recording itself.
"""

from __future__ import annotations

import json
import re
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.typesys import Stores, get_typestore

from glam_core.errors import DataError, GlamError
from glam_core.pose import matrix_from_quaternion_xyzw, transform
from glam_core.tool import ToolCommand, ToolState

Value = TypeVar("Value")

_CAMERA = re.compile(r"(?:^|/)camera/([^/]+)/image_raw$")
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _DATA_END = 0x02, 0x0F
_TOOL_STATE, _TOOL_COMMAND = "glam_msgs/msg/ToolState", "glam_msgs/msg/ToolCommand"
_EPISODE_STATUS = "glam_msgs/msg/EpisodeStatus"
_IMAGE, _VECTOR = "sensor_msgs/msg/Image", "std_msgs/msg/Float32MultiArray"
_TEXT = "std_msgs/msg/String"
_SAYS = {"task": str, "embodiment": str, "seed": int, "success": bool}
"""What a recording says of itself, and the types."""


@dataclass
class Stream(Generic[Value]):
    """Values in the order of their stamps (s)."""

    stamps: list[float] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def add(self, stamp: float, value: Value) -> None:
        """Append a value; one that is not newer than the last is a repetition and left out."""
        if not self.stamps or stamp > self.stamps[-1]:
            self.stamps.append(stamp)
            self.values.append(value)


@dataclass(frozen=True)
class IssuedCommand:
    """A command, and when the observation behind it was captured (s)."""

    command: ToolCommand
    observed_at: float


@dataclass
class Recording:
    """What one recording holds.

    Attributes:
        path: of the file.
        images: by camera, (H, W, 3) uint8 RGB at their capture stamps.
        tools: by arm, measured tools at their stamps.
        commands: by arm, commands at the stamps of their issue.
        scene: (D,) float32 at the times of their arrival, as they carry no stamp.
        task: of the episode; None when the recording does not say.
        seed: of the episode's start; None likewise.
        success: of the episode; None likewise.
        embodiment: of the episode; None likewise.
    """

    path: Path
    images: dict[str, Stream[np.ndarray]] = field(default_factory=dict)
    tools: dict[str, Stream[ToolState]] = field(default_factory=dict)
    commands: dict[str, Stream[IssuedCommand]] = field(default_factory=dict)
    scene: Stream[np.ndarray] = field(default_factory=lambda: Stream())
    task: str | None = None
    seed: int | None = None
    success: bool | None = None
    embodiment: str | None = None


def read_recording(path: Path) -> Recording:
    """Read an .mcap file, or the folder of a rosbag2 recording.

    A file whose writer was killed is read up to its last complete record.

    Raises:
        DataError: it is not a ROS 2 recording, or a message in it makes no sense.
    """
    if not path.exists():
        raise DataError(f"there is no recording {path}")
    with tempfile.TemporaryDirectory() as folder:
        readable = path if path.is_dir() else _with_footer(path, Path(folder))
        try:
            with AnyReader([readable], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
                return _read(reader, path)
        except (AnyReaderError, ReaderError, KeyError, struct.error) as error:
            raise DataError(f"{path} can not be read as a ROS 2 recording: {error}") from error


def _read(reader: AnyReader, path: Path) -> Recording:
    recording, said = Recording(path), dict[str, Any]()
    takers = {}
    for connection in reader.connections:
        if (taker := _taker(connection.topic, connection.msgtype, recording, said)) is not None:
            takers[connection.topic] = taker
    wanted = [connection for connection in reader.connections if connection.topic in takers]
    for connection, time_ns, raw in reader.messages(wanted) if wanted else ():
        try:
            takers[connection.topic](reader.deserialize(raw, connection.msgtype), 1e-9 * time_ns)
        except GlamError as error:
            raise DataError(f"{path}, topic {connection.topic}: {error}") from error
    # Who recorded it had the last word, after the cell.
    for name, value in said.items():
        setattr(recording, name, value)
    return recording


def _taker(topic: str, kind: str, recording: Recording, said: dict[str, Any]) -> Callable[[Any, float], None] | None:
    """What to do with a topic's messages, given (message, arrival time); None for a topic that is not needed."""
    camera = _CAMERA.search(topic)
    if camera and kind == _IMAGE:
        images = recording.images.setdefault(camera[1], Stream())
        return lambda message, _: images.add(_seconds(message.header.stamp), _image(message))
    if kind == _TOOL_STATE:
        return lambda message, _: recording.tools.setdefault(message.arm, Stream()).add(
            _seconds(message.header.stamp), ToolState(_pose(message.pose), message.gripper)
        )
    if kind == _TOOL_COMMAND:
        return lambda message, _: recording.commands.setdefault(message.arm, Stream()).add(
            _seconds(message.header.stamp),
            IssuedCommand(ToolCommand(_pose(message.pose), message.gripper), _seconds(message.observed_at)),
        )
    if kind == _EPISODE_STATUS:
        return lambda message, _: _take_status(message, recording)
    if kind == _TEXT and topic.rsplit("/", 1)[-1] == "recording":
        return lambda message, _: said.update(_read_said(message.data))
    if kind == _VECTOR and topic.rsplit("/", 1)[-1] == "scene":
        return lambda message, arrival: recording.scene.add(arrival, np.asarray(message.data, np.float32))
    return None


def _take_status(message: Any, recording: Recording) -> None:
    recording.task, recording.seed, recording.success = message.task, int(message.seed), bool(message.success)


def _read_said(text: str) -> dict[str, Any]:
    """What the recording says of itself, as far as it is understood here."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"what the recording says of itself is no JSON: {error}") from error
    said = {name: content[name] for name in _SAYS if content.get(name) is not None}
    for name, value in said.items():
        if type(value) is not _SAYS[name]:
            raise DataError(f"the recording's {name} has the type {_SAYS[name].__name__}, not {value!r}")
    return said


def _seconds(stamp: Any) -> float:
    return stamp.sec + 1e-9 * stamp.nanosec


def _pose(message: Any) -> np.ndarray:
    """`T_base_tool` (4, 4)."""
    p, q = message.position, message.orientation
    quaternion = np.array([q.x, q.y, q.z, q.w])
    length = float(np.linalg.norm(quaternion))
    position = np.array([p.x, p.y, p.z])
    if not (np.isfinite(position).all() and np.isfinite(length) and length > 1e-6):
        raise DataError(f"a pose is finite with a unit quaternion, not position {position}, xyzw {quaternion}")
    return transform(matrix_from_quaternion_xyzw(quaternion / length), position)


def _image(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise DataError(f"images are encoded as {message.encoding}; understood are {', '.join(_CHANNELS)}")
    height, width, step = message.height, message.width, message.step
    data = np.asarray(message.data, np.uint8)
    if step < width * channels or data.size < height * step:
        raise DataError(f"{data.size} bytes do not hold {height} x {width} {message.encoding} in rows of {step} bytes")
    image = data[: height * step].reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1] if message.encoding.startswith("bgr") else image[..., :3])


def _with_footer(path: Path, folder: Path) -> Path:
    """The file itself when it is complete; else a copy in `folder` of its complete records, with a footer.

    Source: the MCAP specification (mcap.dev/spec): a file is the magic, records of one byte (opcode), eight bytes
    (length) and content, and the magic again; the last record is the footer.
    """
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        raise DataError(f"{path} is not an MCAP file")
    position, complete = len(_MAGIC), False
    while position + 9 <= len(content) and not complete:
        end = position + 9 + int.from_bytes(content[position + 1 : position + 9], "little")
        if end > len(content) or content[position] == _DATA_END:
            complete = content[position] == _DATA_END and content.endswith(_MAGIC)
            break
        position = end
    if complete:
        return path
    repaired = folder / path.name
    data_end = struct.pack("<BQI", _DATA_END, 4, 0)
    footer = struct.pack("<BQQQI", _FOOTER, 20, 0, 0, 0)
    repaired.write_bytes(content[:position] + data_end + footer + _MAGIC)
    return repaired
