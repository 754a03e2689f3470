"""Episodes as MCAP files: one rosbag2 folder per episode, complete on disk up to the last half second at any time.

A process that is killed, or a disk that is full, leaves a file without an index whose chunks are all complete;
`glam import mcap` reads it like any other. What an episode is (task, seed, driver, specs, success) is in the file
twice: as JSON messages on the topic `/recording`, the first of which is written at the start, and as rosbag2's custom
data.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from glam_core.errors import DataError
from glam_core.spec import ActionSpec, ObsSpec

INFO_TOPIC = "/recording"
FLUSH_S = 0.5
"""How often an episode is to be flushed; a kill loses what came since."""

_INFO_TYPE = "std_msgs/msg/String"
_MAX_PENDING_BYTES = 4 * 2**20
_EPISODE = re.compile(r"^episode_(\d{4,})$")
_PRIMITIVES = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}


@dataclass(frozen=True)
class EpisodeInfo:
    """What an episode is, known at its start.

    Attributes:
        task: Name of the task.
        seed: Seed of the initial state.
        driver: Who moves the arm.
        embodiment: What moves.
        station: Name of the station.
        obs_spec: The recorded cameras, as they are recorded.
        action_spec: The arms, and what a command means.
    """

    task: str
    seed: int
    driver: str
    embodiment: str
    station: str
    obs_spec: ObsSpec
    action_spec: ActionSpec

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return values | {name: values[name].model_dump(mode="json") for name in ("obs_spec", "action_spec")}


@dataclass
class _Open:
    """The episode that is being recorded."""

    folder: Path
    info: EpisodeInfo
    writer: Writer
    connections: dict[str, Connection]
    pending: list[tuple[int, str, bytes]]
    pending_bytes: int = 0
    last_ns: int = 0
    began_ns: int = 0
    complete_bytes: int = 0
    """Length of the file that is on disk and ends with a complete chunk."""
    complete_ns: int = 0
    """Stamp of the last message in it."""

    @property
    def file(self) -> Path:
        return self.folder / f"{self.folder.name}.mcap"

    @property
    def kept_s(self) -> float:
        return 1e-9 * (self.complete_ns - self.began_ns)


class Recorder:
    """Writes one episode at a time. Time comes with the messages; nobody has to have ROS running.

    Whatever the disk refuses ends the episode with a DataError; what was complete before is kept, and the next episode
    can be started.
    """

    def __init__(self, folder: Path, kinds: Mapping[str, type]) -> None:
        """Prepares for episodes; nothing is written yet.

        Args:
            folder: Where the episodes go; made when the first one starts.
            kinds: Topic to message class of everything that will be recorded.
        """
        self._folder = folder
        self._types = {topic: type_name(kind) for topic, kind in kinds.items()} | {INFO_TOPIC: _INFO_TYPE}
        self._typestore = _typestore(kinds.values())
        self._open: _Open | None = None

    @property
    def file(self) -> Path | None:
        """The file that is being written; None between episodes."""
        return None if self._open is None else self._open.file

    def start(self, info: EpisodeInfo, now_ns: int) -> Path:
        """Begins an episode and returns its file.

        Args:
            info: What it is.
            now_ns: System time, ns.

        Raises:
            DataError: Another episode is being recorded, or the disk refuses.
        """
        if self._open is not None:
            raise DataError(f"an episode is being recorded already, to {self.file}; save or discard it first")
        folder = self._folder / f"episode_{self._next_number():04}"
        writer = Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.MCAP)
        self._open = _Open(folder, info, writer, {}, [])
        with self._giving_up():
            writer.open()
            for topic, kind in self._types.items():
                self._open.connections[topic] = writer.add_connection(topic, kind, typestore=self._typestore)
            self._say({}, now_ns)
            self.flush()
        return self._open.file

    def add(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Takes a message; without an episode it is ignored.

        Args:
            topic: One of those given at the start.
            stamp_ns: When it was sent, ns.
            data: The message in CDR.

        Raises:
            DataError: The disk refuses; the episode is over.
        """
        episode = self._open
        if episode is None:
            return
        episode.pending.append((stamp_ns, topic, data))
        episode.pending_bytes += len(data)
        if episode.pending_bytes > _MAX_PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Puts everything that came so far on the disk, as a complete chunk.

        Raises:
            DataError: The disk refuses; the episode is over.
        """
        episode = self._open
        if episode is None or not episode.pending:
            return
        with self._giving_up():
            storage = _storage(episode.writer)
            # A file without an index has to be in order, and callbacks are not.
            for stamp_ns, topic, data in sorted(episode.pending, key=lambda message: message[0]):
                episode.last_ns = max(episode.last_ns, stamp_ns)
                episode.began_ns = episode.began_ns or stamp_ns
                episode.writer.write(episode.connections[topic], episode.last_ns, data)
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
            os.fsync(storage.bio.fileno())
            episode.complete_bytes, episode.complete_ns = storage.bio.tell(), episode.last_ns
            episode.pending, episode.pending_bytes = [], 0

    def save(self, success: bool, now_ns: int, notes: Mapping[str, Any] | None = None) -> Path:
        """Ends the episode and returns its file.

        Args:
            success: Whether it is a good example; a failed one is marked so.
            now_ns: System time, ns.
            notes: What else there is to say about it, for JSON.

        Raises:
            DataError: Nothing is being recorded, or the disk refuses.
        """
        episode = self._require_open("saved")
        outcome = {"success": success, **(notes or {})}
        self._say(outcome, now_ns)
        self.flush()
        with self._giving_up():
            for name, value in (episode.info.as_dict() | outcome).items():
                episode.writer.set_custom_data(name, value if isinstance(value, str) else json.dumps(value))
            episode.writer.close()
        self._open = None
        return episode.file

    def discard(self) -> Path:
        """Ends the episode without a trace and returns the file that is gone.

        Raises:
            DataError: Nothing is being recorded.
        """
        episode = self._require_open("discarded")
        self._open = None
        with suppress(OSError):
            episode.writer.abort()
        shutil.rmtree(episode.folder, ignore_errors=True)
        return episode.file

    def _say(self, outcome: Mapping[str, Any], now_ns: int) -> None:
        """A message about the episode itself."""
        assert self._open is not None
        text = json.dumps(self._open.info.as_dict() | dict(outcome))
        message = self._typestore.types[_INFO_TYPE](data=text)
        self.add(INFO_TOPIC, now_ns, bytes(self._typestore.serialize_cdr(message, _INFO_TYPE)))

    def _next_number(self) -> int:
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        return 1 + max((int(match[1]) for name in names if (match := _EPISODE.match(name))), default=-1)

    def _require_open(self, what: str) -> _Open:
        if self._open is None:
            raise DataError(f"no episode is being recorded, so none can be {what}; start one first")
        return self._open

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Ends the episode where the disk refuses: keeps its complete chunks, or nothing where there is none."""
        try:
            yield
        except OSError as error:
            episode = self._open
            assert episode is not None
            self._open = None
            with suppress(OSError):
                episode.writer.abort()
            kept = "nothing of it is kept"
            if episode.complete_bytes:
                os.truncate(episode.file, episode.complete_bytes)
                kept = f"its first {episode.kept_s:.1f} s are kept"
            else:
                shutil.rmtree(episode.folder, ignore_errors=True)
            raise DataError(
                f"recording to {episode.file} ended: {error.strerror or error}; {kept}. "
                "Make room on the disk, or record to another folder with --out"
            ) from error


def type_name(kind: type) -> str:
    """The ROS name of a message class, such as `std_msgs/msg/String`."""
    return f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"


def definition(kind: Any) -> str:
    """The fields of a message class in the language of .msg files."""
    fields = kind.get_fields_and_field_types()
    return "\n".join(f"{_field_type(field)} {name}" for name, field in fields.items())


def _field_type(text: str) -> str:
    """`sequence<double>` is `float64[]`, `double[9]` is `float64[9]`."""
    sequence = re.fullmatch(r"sequence<(\w[\w/]*)>", text)
    base, brackets = (sequence[1], "[]") if sequence else (text.partition("[")[0], text[len(text.partition("[")[0]) :])
    return _PRIMITIVES.get(base, base) + brackets


def _typestore(kinds: Any) -> Typestore:
    """The types of ROS 2 Jazzy, and those of our own among `kinds`."""
    store = get_typestore(Stores.ROS2_JAZZY)
    own = {type_name(kind): kind for kind in kinds if type_name(kind) not in store.types}
    types: dict[str, Any] = {}
    for name, kind in own.items():
        types |= get_types_from_msg(definition(kind), name)
    store.register(types)
    return store


def _storage(writer: Writer) -> McapWriter:
    assert isinstance(writer.storage, McapWriter)
    return writer.storage
