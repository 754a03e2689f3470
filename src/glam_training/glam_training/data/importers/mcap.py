"""`glam import mcap`: episodes recorded from the running graph into a store.

Every recording is put on the grid of actions (10 Hz) by its capture stamps: images are those captured nearest to each
step, tools are interpolated between measurements, and the action of a step is the first command that was issued in
it upon what was seen at its beginning, relative to the measured tool, as in simulated demonstrations.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from glam_core.errors import ConfigurationError, DataError, GlamError, closest
from glam_core.image import prepare_image
from glam_core.pose import interpolate
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, VectorSpec, robot_state_spec
from glam_core.tool import ToolCommand, ToolState, action_from_commands, state_vector
from glam_sim.cell import Cell
from glam_sim.model import EMBODIMENTS
from glam_sim.tasks import TASKS
from glam_training.config import plain
from glam_training.data.importers.recording import IssuedCommand, Recording, Stream, read_recording
from glam_training.data.store import INFO_FILE, EpisodeArrays, Provenance, Store, StoreInfo
from glam_training.provenance import command_line, git_commit, package_versions

MAX_GAP_S = 0.15
"""A step may lie this far from the nearest value of a stream, unless it is told otherwise."""
_STAMP_TOLERANCE_S = 1e-3
_PEOPLE_CAMERAS = ("overview",)
_DEFAULT_EMBODIMENT = "gen3"


@dataclass(frozen=True)
class McapConfig:
    """Import MCAP recordings of the running graph into a store; further recordings are appended to it."""

    recordings: tuple[Path, ...]
    """MCAP files, or folders that hold them."""
    out: Path
    """Folder of the store."""
    embodiment: str | None = None
    """Who was recorded; unset, the recordings say, or else it was gen3."""
    task: str | None = None
    """Task; unset, the recordings say."""
    cameras: tuple[str, ...] = ()
    """Cameras to keep; all but the overview when empty."""
    image_size: int | None = None
    """Height and width in pixels to which images are cropped and resized; unset, they stay as recorded."""
    auxiliary: bool = False
    """Hide the actions from training."""
    keep_failures: bool = False
    """Import episodes that did not succeed too."""
    max_gap_s: float = MAX_GAP_S
    """Longest time from a step to the nearest value of a stream; a recording with longer gaps is left out."""

    def __post_init__(self) -> None:
        if self.embodiment is not None and self.embodiment not in EMBODIMENTS:
            raise ConfigurationError(closest(self.embodiment, EMBODIMENTS, "embodiment"))
        if not self.max_gap_s > 0.0:
            raise ConfigurationError(f"max_gap_s is a positive number, not {self.max_gap_s}")


@dataclass(frozen=True)
class ImportResult:
    """The store, how many episodes were added to it, and why recordings were left out."""

    store: Store
    added: int
    left_out: dict[Path, str] = field(default_factory=dict)


def import_recordings(config: McapConfig) -> ImportResult:
    """Import every recording that can be; one that can not is left out with the reason.

    Raises:
        DataError: no recording was found, or none could be imported.
    """
    store, added, left_out = None, 0, {}
    for path in tqdm(find_recordings(config.recordings), desc="import"):
        try:
            recording = read_recording(path)
            if recording.success is False and not config.keep_failures:
                raise DataError("the episode did not succeed; keep it with --keep-failures")
            episode, info = align(recording, config)
            store = store or _open_or_create(config.out, info)
            store.append(episode)
            added += 1
        except GlamError as error:
            left_out[path] = str(error)
    if store is None or added == 0:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in left_out.items())
        raise DataError(f"none of {len(left_out)} recordings could be imported: {reasons}")
    return ImportResult(store, added, left_out)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam import mcap`."""
    config = tyro.cli(McapConfig, prog="glam import mcap", args=sys.argv[1:] if arguments is None else arguments)
    result = import_recordings(config)
    for path, reason in result.left_out.items():
        print(f"left out {path}: {reason}")
    print(f"{result.store.path}: {result.added} episodes added, {result.store.num_episodes} in all")


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """MCAP files under the given files and folders, sorted.

    Raises:
        DataError: there are none.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no recording {path}")
        found |= {path} if path.is_file() else set(path.rglob("*.mcap"))
    if not found:
        raise DataError(f"no .mcap files under {', '.join(map(str, paths))}; record some with `glam record`")
    return sorted(found)


def align(recording: Recording, config: McapConfig) -> tuple[EpisodeArrays, StoreInfo]:
    """Put a recording on the grid of actions.

    Returns:
        The episode, and the description of the store that it fits into.

    Raises:
        DataError: a stream is missing, or has a gap.
    """
    task = config.task or recording.task
    if task is None:
        raise DataError("the recording does not say which task it is of; name it with --task")
    arms = tuple(recording.tools)
    for what, streams in (("tool states", recording.tools), ("commands", recording.commands)):
        if not streams or set(streams) != set(arms):
            raise DataError(f"the recording has {what} of the arms {sorted(streams)}, tool states of {sorted(arms)}")
    cameras = _cameras(recording, config.cameras)
    action_spec = ActionSpec(arms=arms)
    embodiment = config.embodiment or recording.embodiment or _DEFAULT_EMBODIMENT
    if embodiment not in EMBODIMENTS:
        raise DataError(closest(embodiment, EMBODIMENTS, "embodiment"))
    scene_spec = _scene_spec(task, embodiment, recording.scene)
    gap = config.max_gap_s
    grid = _grid(recording, arms, cameras, action_spec.step_s)

    images = {}
    for camera in cameras:
        frames = [recording.images[camera].values[i] for i in _nearest(recording.images[camera], grid, camera, gap)]
        size = (config.image_size, config.image_size) if config.image_size else frames[0].shape[:2]
        spec = ImageSpec(name=camera, height=size[0], width=size[1])
        images[spec] = np.stack([prepare_image(frame, spec) for frame in frames])
    states, actions = [], []
    for now in grid:
        tools = {arm: _tool_at(recording.tools[arm], now, arm, gap) for arm in arms}
        commands = {arm: _command_at(recording.commands[arm], now, action_spec.step_s, tools[arm]) for arm in arms}
        states.append(state_vector(tools, arms))
        actions.append(action_from_commands(commands, tools, action_spec))
    arrays = {f"images/{spec.name}": frames for spec, frames in images.items()}
    arrays |= {"state": np.stack(states), "action": np.stack(actions)}
    if scene_spec is not None:
        rows = _nearest(recording.scene, grid, "scene", gap)
        arrays["scene"] = np.stack([recording.scene.values[row] for row in rows])

    info = StoreInfo(
        task=task,
        embodiment=embodiment,
        source="recording",
        obs_spec=ObsSpec(images=tuple(images)),
        action_spec=action_spec,
        state_spec=robot_state_spec(arms),
        scene_spec=scene_spec,
        has_actions=not config.auxiliary,
        provenance=Provenance(
            command=command_line(),
            config=plain(config),
            commit=git_commit(),
            versions=package_versions("rosbags", "numpy"),
        ),
    )
    seed = recording.seed if recording.seed is not None else 0
    return EpisodeArrays(arrays, seed, bool(recording.success), task, embodiment), info


def _open_or_create(path: Path, info: StoreInfo) -> Store:
    """The store to append to; refused when it holds anything else than what is imported."""
    if not (path / INFO_FILE).exists():
        return Store.create(path, info)
    store = Store.resume(path)
    before, after = (i.model_dump(mode="json", exclude={"provenance"}) for i in (store.info, info))
    differing = [name for name in before if before[name] != after[name]]
    if differing:
        raise DataError(f"{path} holds episodes of another {', '.join(differing)}; import into a store of its own")
    return store


def _cameras(recording: Recording, wanted: tuple[str, ...]) -> tuple[str, ...]:
    for camera in wanted:
        if camera not in recording.images:
            raise DataError(closest(camera, recording.images, "camera"))
    return wanted or tuple(sorted(camera for camera in recording.images if camera not in _PEOPLE_CAMERAS))


def _scene_spec(task: str, embodiment: str, scene: Stream[np.ndarray]) -> VectorSpec | None:
    """The spec of recorded scene vectors; None where there are none, as on a real robot."""
    if not scene.values:
        return None
    if task not in TASKS:
        raise DataError(closest(task, TASKS, "task") + "; its scene vectors have no description")
    with Cell(task, embodiment) as cell:
        spec = cell.scene_spec()
    sizes = {len(value) for value in scene.values}
    if sizes != {spec.size}:
        raise DataError(f"scene vectors have {sorted(sizes)} numbers, those of {task} have {spec.size}")
    return spec


def _grid(recording: Recording, arms: tuple[str, ...], cameras: tuple[str, ...], step_s: float) -> np.ndarray:
    """Stamps (T,) of the steps, s: on the first camera's captures, while every stream runs and commands come."""
    commands = [recording.commands[arm] for arm in arms]
    streams = [recording.tools[arm] for arm in arms] + [recording.images[camera] for camera in cameras]
    streams += [recording.scene] if recording.scene.values else []
    start = max(stream.stamps[0] for stream in [*streams, *commands])
    end = min(stream.stamps[-1] for stream in [*streams, *commands])
    anchors = streams[len(arms)].stamps if cameras else streams[0].stamps
    # The capture that the first command answers comes before it.
    first = max(bisect_right(anchors, start + _STAMP_TOLERANCE_S) - 1, 0)
    count = int((end - anchors[first]) / step_s + _STAMP_TOLERANCE_S) + 1
    if count < 2:
        raise DataError(f"all streams together last {max(0.0, end - start):.2f} s only, too short to learn from")
    return anchors[first] + step_s * np.arange(count)


def _nearest(stream: Stream, grid: np.ndarray, name: str, max_gap_s: float) -> list[int]:
    """Index of the value nearest to each step."""
    rows = []
    for now in grid:
        after = bisect_left(stream.stamps, now)
        candidates = [row for row in (after - 1, after) if 0 <= row < len(stream.stamps)]
        row = min(candidates, key=lambda row: abs(stream.stamps[row] - now))
        _require_near(stream.stamps[row], now, grid[0], name, max_gap_s)
        rows.append(row)
    return rows


def _tool_at(stream: Stream[ToolState], now: float, arm: str, max_gap_s: float) -> ToolState:
    """The measured tool at a time, interpolated between the measurements around it."""
    after = min(max(bisect_left(stream.stamps, now), 1), len(stream.stamps) - 1)
    before = after - 1 if len(stream.stamps) > 1 else 0
    (t0, t1), (a, b) = (
        (stream.stamps[row] for row in (before, after)),
        (stream.values[row] for row in (before, after)),
    )
    for stamp in (t0, t1):
        _require_near(stamp, now, stream.stamps[0], f"tool state of '{arm}'", max_gap_s)
    share = 0.0 if t1 == t0 else min(1.0, max(0.0, (now - t0) / (t1 - t0)))
    return ToolState(interpolate(a.T_base_tool, b.T_base_tool, share), (1 - share) * a.gripper + share * b.gripper)


def _command_at(stream: Stream[IssuedCommand], now: float, step_s: float, tool: ToolState) -> ToolCommand:
    """The step's command: the first one issued in it that answers what was seen at its beginning.

    A driver repeats its commands faster than it decides, and the last decision is still repeated while the next one is
    being made. Without an answer the first repetition counts, and without any command the arm holds where it is.
    """
    start, end = (bisect_left(stream.stamps, time - _STAMP_TOLERANCE_S) for time in (now, now + step_s))
    for issued in stream.values[start:end]:
        if issued.observed_at >= now - step_s / 2:
            return issued.command
    if start < end:
        return stream.values[start].command
    gripper = stream.values[start - 1].command.gripper if start > 0 else tool.gripper
    return ToolCommand(tool.T_base_tool, gripper)


def _require_near(stamp: float, now: float, start: float, name: str, max_gap_s: float) -> None:
    if abs(stamp - now) > max_gap_s:
        raise DataError(
            f"{name} has a gap of {abs(stamp - now):.2f} s at {now - start:.1f} s; "
            f"at most {max_gap_s} s may be bridged (--max-gap-s), check the rate at which it was recorded"
        )
