"""One zarr store per source of demonstrations.

    <store>/info.json           what the store is: task, embodiment, specs, label availability, provenance
    <store>/data/<key>          flat arrays over all frames of all episodes, N rows each:
        images/<camera>         (N, H, W, 3) uint8 RGB
        masks/<camera>          (N, H, W) uint8, 0 background, then the classes of `mask_classes`; optional
        state                   (N, S) float32
        action                  (N, A) float32
        scene                   (N, D) float32; optional
    <store>/meta/episode_ends   (E,) int64, exclusive end of each episode
    <store>/meta/seeds          (E,) int64
    <store>/meta/successes      (E,) bool
    <store>/meta/digests        (E, 32) uint8, sha256 of each episode's content

An episode counts only once its end stands in `episode_ends`, which is written last: a writer that is killed leaves a
store that opens with the complete episodes, and the half-written tail is cut off when writing resumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from glam_core.errors import DataError, closest
from glam_core.schema import Schema
from glam_core.spec import ActionSpec, ObsSpec, VectorSpec

SCHEMA_VERSION = 1
CHUNK_FRAMES = 64
READ_FRAMES = 16 * CHUNK_FRAMES
"""Rows that are read at once, so that a reader needs little more than its result."""
INFO_FILE = "info.json"

_CODEC = BloscCodec(cname="zstd", clevel=1, shuffle="noshuffle")
_META: dict[str, tuple[tuple[int, ...], str, Any]] = {
    "episode_ends": ((), "int64", -1),
    "seeds": ((), "int64", -1),
    "successes": ((), "bool", False),
    "digests": ((32,), "uint8", 0),
}


class Provenance(Schema):
    """How a store was made."""

    error_type = DataError

    command: str
    config: dict[str, Any]
    commit: str
    versions: dict[str, str]


class StoreInfo(Schema):
    """What a store holds; written as info.json."""

    error_type = DataError

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    embodiment: str
    source: str
    """Where the episodes come from, such as "simulation" or "recording"."""
    obs_spec: ObsSpec
    """The images, under the names and sizes in which they are stored."""
    action_spec: ActionSpec
    state_spec: VectorSpec
    scene_spec: VectorSpec | None = None
    has_actions: bool
    """False for an auxiliary source: `Store.load` refuses its actions and robot states, which are kept for measurements
    only."""
    mask_classes: tuple[str, ...] = ()
    """Names of the mask values 1, 2, ...; empty without masks."""
    provenance: Provenance

    def columns(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape of one row and dtype of every key."""
        columns: dict[str, tuple[tuple[int, ...], str]] = {}
        for image in self.obs_spec.images:
            columns[f"images/{image.name}"] = ((image.height, image.width, 3), "uint8")
        if self.mask_classes:
            for image in self.obs_spec.images:
                columns[f"masks/{image.name}"] = ((image.height, image.width), "uint8")
        columns["state"] = ((self.state_spec.size,), "float32")
        columns["action"] = ((self.action_spec.size,), "float32")
        if self.scene_spec is not None:
            columns["scene"] = ((self.scene_spec.size,), "float32")
        return columns


@dataclass(frozen=True, eq=False)
class EpisodeArrays:
    """One episode to append.

    Attributes:
        arrays: by key, T rows each.
        seed: what decided its start.
        success: whether the task succeeded.
        task: must be the store's.
        embodiment: must be the store's.
    """

    arrays: Mapping[str, np.ndarray]
    seed: int
    success: bool
    task: str
    embodiment: str


class Store:
    """A store on disk; use `create`, `open` (to read) or `resume` (to append further episodes)."""

    def __init__(self, path: Path, info: StoreInfo, group: zarr.Group, writable: bool) -> None:
        self.path = path
        self.info = info
        self._group = group
        self._writable = writable
        ends = np.asarray(_array(path, group, "meta/episode_ends")[:])
        complete = int(np.argmax(ends < 0)) if (ends < 0).any() else len(ends)
        self.episode_ends = ends[:complete].astype(np.int64)
        self.seeds = np.asarray(_array(path, group, "meta/seeds")[:complete]).astype(np.int64)
        self.successes = np.asarray(_array(path, group, "meta/successes")[:complete]).astype(bool)
        self._digests = np.asarray(_array(path, group, "meta/digests")[:complete])

    @classmethod
    def create(cls, path: str | Path, info: StoreInfo) -> Store:
        """Make an empty store.

        Raises:
            DataError: something stands at `path` already.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DataError(f"{path} exists already; open it with Store.resume to append, or choose another path")
        path.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(str(path), mode="w", zarr_format=3)
        for key, (row, dtype) in info.columns().items():
            group.create_array(
                f"data/{key}", shape=(0, *row), chunks=(CHUNK_FRAMES, *row), dtype=dtype, compressors=[_CODEC]
            )
        for key, (row, dtype, fill) in _META.items():
            group.create_array(f"meta/{key}", shape=(0, *row), chunks=(4096, *row), dtype=dtype, fill_value=fill)
        _write_atomically(path / INFO_FILE, info.model_dump_json(indent=2) + "\n")
        return cls(path, info, group, writable=True)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store to read its complete episodes.

        Raises:
            DataError: `path` is no store, or one of another schema version.
        """
        return cls._open(Path(path), writable=False)

    @classmethod
    def resume(cls, path: str | Path) -> Store:
        """Open a store to append to it; the tail of an episode that was never completed is cut off.

        Raises:
            DataError: `path` is no store, or one of another schema version.
        """
        store = cls._open(Path(path), writable=True)
        for key in store.keys:
            store._resize(f"data/{key}", store.num_frames)
        for key in reversed(_META):
            store._resize(f"meta/{key}", store.num_episodes)
        return store

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the arrays over frames."""
        return tuple(self.info.columns())

    @property
    def num_episodes(self) -> int:
        return len(self.episode_ends)

    @property
    def num_frames(self) -> int:
        return int(self.episode_ends[-1]) if len(self.episode_ends) else 0

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of what the store holds: specs, labels and every episode, whatever command made it."""
        identity = self.info.model_dump(mode="json", exclude={"provenance"})
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        digest.update(self._digests.tobytes())
        return digest.hexdigest()

    def episode_slices(self) -> list[slice]:
        """Rows of each episode, in order."""
        starts = np.concatenate([[0], self.episode_ends[:-1]]) if self.num_episodes else []
        return [slice(int(start), int(end)) for start, end in zip(starts, self.episode_ends, strict=True)]

    def load(
        self, keys: Iterable[str], episodes: int | None = None, scratch: Path | None = None
    ) -> dict[str, np.ndarray]:
        """Read whole arrays.

        Args:
            keys: for instance "images/front", "state", "action".
            episodes: read only so many episodes from the beginning; all when None.
            scratch: folder on whose disk the arrays lie, memory-mapped, for as long as they are used (images of some
                hundred episodes need many gigabytes); in memory when None.

        Returns:
            One array of N rows per key.

        Raises:
            DataError: an unknown key, hidden actions, more episodes asked for than there are, or no room on the disk.
        """
        keys = tuple(keys)
        self._refuse_hidden(keys)
        return self.load_hidden(keys, episodes, scratch)

    def load_hidden(
        self, keys: Iterable[str], episodes: int | None = None, scratch: Path | None = None
    ) -> dict[str, np.ndarray]:
        """As `load`, with what an auxiliary source hides too: for measurements and rivals that need it."""
        if episodes is not None and not 0 < episodes <= self.num_episodes:
            raise DataError(f"{self.path} has {self.num_episodes} episodes, {episodes} were asked for")
        frames = self.num_frames if episodes is None else int(self.episode_ends[episodes - 1])
        return self._read(keys, [slice(0, frames)], scratch)

    def load_episodes(
        self, keys: Iterable[str], episodes: Sequence[int], scratch: Path | None = None
    ) -> dict[str, np.ndarray]:
        """Read some episodes, one after the other; as `load`.

        Raises:
            DataError: an unknown key, hidden actions, an episode that is not there, or no room on the disk.
        """
        keys = tuple(keys)
        self._refuse_hidden(keys)
        slices = self.episode_slices()
        if wrong := [int(i) for i in episodes if not 0 <= i < len(slices)]:
            raise DataError(f"{self.path} has {len(slices)} episodes, number {wrong[0]} was asked for")
        return self._read(keys, [slices[i] for i in episodes], scratch)

    def append(self, episode: EpisodeArrays) -> None:
        """Append one episode; it is either there completely or not at all.

        Raises:
            DataError: keys, shapes, dtypes or values that do not belong into this store.
        """
        if not self._writable:
            raise DataError(f"{self.path} was opened to read; open it with Store.resume to append")
        frames = self._check(episode)
        start, end = self.num_frames, self.num_frames + frames
        digest = hashlib.sha256(f"{episode.seed} {bool(episode.success)}".encode())
        for key in sorted(self.keys):
            values = np.ascontiguousarray(episode.arrays[key])
            digest.update(f"{key} {values.dtype} {values.shape}".encode())
            digest.update(values.data)
            self._write_rows(f"data/{key}", start, values)
        count = self.num_episodes
        row = np.frombuffer(digest.digest(), np.uint8)[None]
        self._write_rows("meta/digests", count, row)
        self._write_rows("meta/successes", count, np.array([episode.success], bool))
        self._write_rows("meta/seeds", count, np.array([episode.seed], np.int64))
        self._write_rows("meta/episode_ends", count, np.array([end], np.int64))
        self._digests = np.concatenate([self._digests, row])
        self.successes = np.append(self.successes, bool(episode.success))
        self.seeds = np.append(self.seeds, np.int64(episode.seed))
        self.episode_ends = np.append(self.episode_ends, np.int64(end))

    @classmethod
    def _open(cls, path: Path, writable: bool) -> Store:
        info = _read_info(path)
        try:
            group = zarr.open_group(str(path), mode="r+" if writable else "r", zarr_format=3)
        except (FileNotFoundError, ValueError) as error:
            raise DataError(f"{path} has an {INFO_FILE} but no zarr v3 group: {error}") from error
        return cls(path, info, group, writable)

    def _refuse_hidden(self, keys: tuple[str, ...]) -> None:
        hidden = [key for key in ("action", "state") if key in keys]
        if hidden and not self.info.has_actions:
            raise DataError(
                f"{self.path} is an auxiliary source, its {' and its '.join(hidden)} are hidden from training; "
                "measurements and rivals that need them call load_hidden"
            )

    def _check(self, episode: EpisodeArrays) -> int:
        """Validate an episode and return its number of frames."""
        columns = self.info.columns()
        missing = sorted(set(columns) - set(episode.arrays))
        extra = sorted(set(episode.arrays) - set(columns))
        if missing or extra:
            raise DataError(
                f"episode does not fit {self.path}: missing {missing or 'nothing'}, unknown {extra or 'nothing'}; "
                f"the store's keys are {', '.join(columns)}"
            )
        for name in ("task", "embodiment"):
            value, expected = getattr(episode, name), getattr(self.info, name)
            if value != expected:
                raise DataError(
                    f"{self.path} holds {name} {expected!r}, the episode is of {value!r}; use a store of its own"
                )
        lengths = {key: len(np.atleast_1d(values)) for key, values in episode.arrays.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise DataError(f"all arrays of an episode need the same number of frames, at least one; got {lengths}")
        for key, (row, dtype) in columns.items():
            values = episode.arrays[key]
            if values.shape[1:] != row or values.dtype != np.dtype(dtype):
                raise DataError(
                    f"{key} has frames of shape {values.shape[1:]} {values.dtype}, {self.path} holds {row} {dtype}; "
                    "one store holds one size"
                )
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                frame = int(np.argmin(np.isfinite(values).all(axis=1)))
                raise DataError(f"{key} is not finite at frame {frame} of the episode with seed {episode.seed}")
        return next(iter(lengths.values()))

    def _read(self, keys: Iterable[str], slices: Sequence[slice], scratch: Path | None) -> dict[str, np.ndarray]:
        sources = {}
        for key in keys:
            if key not in self.keys:
                raise DataError(f"{self.path}: {closest(key, self.keys, 'key')}")
            sources[key] = _array(self.path, self._group, f"data/{key}")
        count = sum(s.stop - s.start for s in slices)
        shapes = {key: (count, *array.shape[1:]) for key, array in sources.items()}
        dtypes = {key: np.dtype(array.dtype) for key, array in sources.items()}
        if scratch is None:
            arrays = {key: np.empty(shapes[key], dtypes[key]) for key in sources}
        else:
            arrays = _empty_on_disk(shapes, dtypes, scratch)
        for key, rows in arrays.items():
            filled = 0
            for piece in slices:
                for start in range(piece.start, piece.stop, READ_FRAMES):
                    block = np.asarray(sources[key][start : min(start + READ_FRAMES, piece.stop)])
                    rows[filled : filled + len(block)] = block
                    filled += len(block)
        return arrays

    def _write_rows(self, name: str, start: int, values: np.ndarray) -> None:
        array = self._resize(name, start + len(values))
        array[start:] = values

    def _resize(self, name: str, rows: int) -> zarr.Array:
        array = _array(self.path, self._group, name)
        if array.shape[0] != rows:
            array.resize((rows, *array.shape[1:]))
        return array


def _read_info(path: Path) -> StoreInfo:
    try:
        content = json.loads((path / INFO_FILE).read_text())
    except FileNotFoundError:
        raise DataError(
            f"{path} is not a store: it has no {INFO_FILE}; `glam demos` and `glam import` make stores"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path / INFO_FILE} is not JSON: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, this code reads {SCHEMA_VERSION}; make the store again")
    try:
        return StoreInfo.model_validate(content)
    except DataError as error:
        raise DataError(f"{path / INFO_FILE} does not describe a store: {error}") from error


def _array(path: Path, group: zarr.Group, name: str) -> zarr.Array:
    try:
        array = group[name]
    except KeyError:
        raise DataError(f"{path} lacks the array {name}; the store is damaged, make it again") from None
    if not isinstance(array, zarr.Array):
        raise DataError(f"{path}: {name} is not an array; the store is damaged, make it again")
    return array


def _empty_on_disk(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype], folder: Path
) -> dict[str, np.ndarray]:
    """Arrays in files without names, each of which goes with the last reference to it, or with the process."""
    sizes = {key: max(1, int(np.prod(shape)) * dtypes[key].itemsize) for key, shape in shapes.items()}
    arrays = {}
    try:
        for key, size in sizes.items():
            with tempfile.TemporaryFile(dir=folder) as file:
                # A full disk shows here, not as a fault in the mapped memory.
                os.posix_fallocate(file.fileno(), 0, size)
                arrays[key] = np.memmap(file, dtypes[key], "r+", shape=shapes[key])
    except OSError as error:
        raise DataError(
            f"{folder} cannot hold the {sum(sizes.values()) / 1e9:.2f} GB of {', '.join(sizes)} ({error.strerror}); "
            "make room there, or train on fewer demonstrations"
        ) from error
    return arrays


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
