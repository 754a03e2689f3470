"""Frames of the Kortex protocol: four header words around a payload, and the prefix that separates frames on TCP.

    frame_info     version 4 bits | frame type 4 | device 8   | error code 4 | error sub-code 12
    message_info   session 16                                 | message (or notification) 16
    service_info   version 4      | service 12                | function 16
    payload_info   reserved 8     | length of the payload 24

On TCP every frame follows an 8-byte token and its length, 4 bytes big-endian. On UDP a datagram is a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from glam_core.errors import GlamError
from kinova_driver.kortex import definitions

REQUEST, RESPONSE, NOTIFICATION = 1, 3, 5
TOKEN = b"\x07xEtRoK\x07"
PREFIX_SIZE = len(TOKEN) + 4
MAX_FRAME_SIZE = 1 << 20
"""The largest frame on TCP that is believed, bytes. The header could announce 16 MB; no message comes close."""
MAX_DATAGRAM_SIZE = 65507

_VERSION = 1
_BITS = {
    "frame_type": 4,
    "device_id": 8,
    "error_code": 4,
    "error_sub_code": 12,
    "session_id": 16,
    "message_id": 16,
    "service_id": 12,
    "function_id": 16,
}
_Frame = definitions.Api.Frame
_UNREADABLE = (DecodeError, ValueError, RuntimeError)  # broken UTF-8 is a ValueError, endless nesting a RuntimeError

AnyMessage = TypeVar("AnyMessage", bound=Message)


class WireError(GlamError):
    """Bytes or numbers do not fit the Kortex protocol."""


@dataclass(frozen=True)
class Header:
    """What a frame says about its payload.

    Attributes:
        frame_type: `REQUEST`, `RESPONSE` or `NOTIFICATION`; another number is kept as it came.
        device_id: 0 for the base, 1 to 7 for an actuator.
        error_code: 0 for none.
        error_sub_code: Which error.
        session_id: Assigned by the robot when a session is created.
        message_id: Pairs a response with its request; in a notification, the handle of the subscription.
        service_id: Number of the service.
        function_id: Number of the call in its service.
    """

    frame_type: int
    device_id: int = 0
    error_code: int = 0
    error_sub_code: int = 0
    session_id: int = 0
    message_id: int = 0
    service_id: int = 0
    function_id: int = 0

    def __post_init__(self) -> None:
        for name, bits in _BITS.items():
            value = getattr(self, name)
            if not 0 <= value < 1 << bits:
                raise WireError(f"{name} of a frame is 0 to {(1 << bits) - 1}, not {value}")


def encode(header: Header, payload: bytes = b"") -> bytes:
    """A frame as it stands in a datagram, or after the prefix on TCP."""
    if len(payload) >= MAX_FRAME_SIZE:
        raise WireError(
            f"a payload of {len(payload)} bytes does not fit into a frame; the limit is {MAX_FRAME_SIZE - 1}"
        )
    frame = _Frame(payload=payload)
    words = frame.header
    words.frame_info = (
        _VERSION << 28
        | header.frame_type << 24
        | header.device_id << 16
        | header.error_code << 12
        | header.error_sub_code
    )
    words.message_info = header.session_id << 16 | header.message_id
    words.service_info = _VERSION << 28 | header.service_id << 16 | header.function_id
    words.payload_info = len(payload)
    return frame.SerializeToString()


def decode(data: bytes) -> tuple[Header, bytes]:
    """The header and the payload of a frame. The versions and the length in the header are not judged, as arms do.

    Raises:
        WireError: The bytes are no frame.
    """
    try:
        frame = _Frame.FromString(data)
    except _UNREADABLE as error:
        raise WireError(f"{len(data)} bytes are no Kortex frame: {error}") from error
    words = frame.header
    info, message, service = words.frame_info, words.message_info, words.service_info
    if not info:
        raise WireError(f"{len(data)} bytes are a Kortex frame without a header")
    header = Header(
        frame_type=info >> 24 & 0xF,
        device_id=info >> 16 & 0xFF,
        error_code=info >> 12 & 0xF,
        error_sub_code=info & 0xFFF,
        session_id=message >> 16,
        message_id=message & 0xFFFF,
        service_id=service >> 16 & 0xFFF,
        function_id=service & 0xFFFF,
    )
    return header, frame.payload


def parse(kind: type[AnyMessage], payload: bytes) -> AnyMessage:
    """The message of class `kind` in a payload; an empty payload is a message with nothing set.

    Raises:
        WireError: The bytes are no such message.
    """
    try:
        message = kind()
        message.ParseFromString(payload)
    except _UNREADABLE as error:
        raise WireError(f"{len(payload)} bytes are no {kind.DESCRIPTOR.name} of the Kortex API: {error}") from error
    return message


def with_prefix(frame: bytes) -> bytes:
    """A frame as it is sent on TCP, to be handed to the socket in one piece."""
    if len(frame) > MAX_FRAME_SIZE:
        raise WireError(f"a frame of {len(frame)} bytes is too large to be sent on TCP; the limit is {MAX_FRAME_SIZE}")
    return TOKEN + len(frame).to_bytes(4, "big") + frame


class FrameReader:
    """Cuts a TCP stream into frames, wherever the stream was split, and finds the next token after garbage."""

    def __init__(self, max_size: int = MAX_FRAME_SIZE) -> None:
        """Starts at the beginning of a stream; a frame of more than `max_size` bytes counts as garbage."""
        self._max_size = max_size
        self._buffer = bytearray()
        self.skipped = 0
        """Bytes that belonged to no frame so far."""

    def feed(self, data: bytes) -> list[bytes]:
        """Takes what came in, and returns the frames that it completes, without their prefixes."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> bytes | None:
        while True:
            self._align()
            if len(self._buffer) < PREFIX_SIZE:
                return None
            size = int.from_bytes(self._buffer[len(TOKEN) : PREFIX_SIZE], "big")
            if 0 < size <= self._max_size:
                break
            self._drop(PREFIX_SIZE)
        if len(self._buffer) < PREFIX_SIZE + size:
            return None
        frame = bytes(self._buffer[PREFIX_SIZE : PREFIX_SIZE + size])
        del self._buffer[: PREFIX_SIZE + size]
        return frame

    def _align(self) -> None:
        """Drops everything before the next token, or before what may become one."""
        start = self._buffer.find(TOKEN)
        if start < 0:
            start = len(self._buffer)
            for size in range(min(len(TOKEN) - 1, start), 0, -1):
                if self._buffer.endswith(TOKEN[:size]):
                    start -= size
                    break
        self._drop(start)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self.skipped += count
