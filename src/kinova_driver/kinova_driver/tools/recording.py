"""The commands of a recorded episode, read without ROS."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.typesys import Stores, get_typestore

from glam_core.errors import DataError, closest
from glam_core.pose import matrix_from_quaternion_xyzw, transform
from glam_core.tool import ToolCommand

_TOOL_COMMAND = "glam_msgs/msg/ToolCommand"


@dataclass(frozen=True, eq=False)
class RecordedCommand:
    """One command, and when it was issued: seconds from the first one."""

    at: float
    command: ToolCommand
    hold: bool


def read_commands(path: Path, arm: str) -> list[RecordedCommand]:
    """The commands for one arm, in the order of their issue.

    Args:
        path: An .mcap file, or the folder of a rosbag2 recording.
        arm: Name of the arm.

    Raises:
        DataError: It is no recording, or holds no command for the arm.
    """
    if not path.exists():
        raise DataError(f"there is no recording {path}")
    found: dict[str, dict[float, tuple[ToolCommand, bool]]] = {}
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            connections = [connection for connection in reader.connections if connection.msgtype == _TOOL_COMMAND]
            for connection, _, raw in reader.messages(connections) if connections else ():
                message: Any = reader.deserialize(raw, connection.msgtype)
                stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
                found.setdefault(message.arm, {})[stamp] = _command(message), bool(message.hold)
    except (AnyReaderError, ReaderError, KeyError, struct.error) as error:
        raise DataError(f"{path} can not be read as a ROS 2 recording: {error}") from error
    if not found:
        raise DataError(f"{path} holds no commands; the topic `command` of the arm must be recorded")
    if arm not in found:
        raise DataError(closest(arm, sorted(found), "arm") + f"; {path} holds no commands for it")
    stamps = sorted(found[arm])
    return [RecordedCommand(stamp - stamps[0], *found[arm][stamp]) for stamp in stamps]


def _command(message: Any) -> ToolCommand:
    p, q = message.pose.position, message.pose.orientation
    rotation = matrix_from_quaternion_xyzw([q.x, q.y, q.z, q.w])
    return ToolCommand(transform(rotation, [p.x, p.y, p.z]), message.gripper)
