"""Episodes side by side in one MP4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from glam_core.errors import ConfigurationError, DataError

_SUCCESS_RGB = (60, 200, 80)
_FAILURE_RGB = (220, 70, 60)
_RUNNING_RGB = (235, 235, 235)
_BANNER_RGB = (30, 30, 30)
_LAST_FRAME_S = 1.5


@dataclass(frozen=True, eq=False)
class Clip:
    """One episode: frames (T, H, W, 3) uint8 RGB, a title, and whether it succeeded; None where that is not asked."""

    frames: np.ndarray
    title: str
    success: bool | None


def write_video(path: Path, clips: Sequence[Clip], frame_rate_hz: float) -> None:
    """Write clips as tiles that play at the same time; a clip that has ended shows its last frame and its result.

    Args:
        path: ends in .mp4.
        clips: at least one, all of one image size.
        frame_rate_hz: of the clips and of the video.

    Raises:
        ConfigurationError: another suffix, or no clips.
        DataError: clips of different sizes, or no encoder.
    """
    if path.suffix.lower() != ".mp4":
        raise ConfigurationError(f"{path}: videos are MP4, name the file *.mp4")
    if not clips:
        raise ConfigurationError(f"{path}: a video needs at least one episode")
    sizes = {clip.frames.shape[1:] for clip in clips}
    if len(sizes) != 1:
        raise DataError(f"{path}: the clips have different sizes {sorted(sizes)}; a video needs one")
    height, width, _ = sizes.pop()
    columns = math.ceil(math.sqrt(len(clips)))
    rows = math.ceil(len(clips) / columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, frame_rate_hz, (columns * width, rows * height))
    if not writer.isOpened():
        raise DataError(f"{path} can not be written: OpenCV has no MP4 encoder, or the folder is read-only")
    try:
        for step in range(max(len(clip.frames) for clip in clips) + round(_LAST_FRAME_S * frame_rate_hz)):
            canvas = np.zeros((rows * height, columns * width, 3), np.uint8)
            for index, clip in enumerate(clips):
                y, x = height * (index // columns), width * (index % columns)
                canvas[y : y + height, x : x + width] = _tile(clip, step)
            writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


def _tile(clip: Clip, step: int) -> np.ndarray:
    """The clip's frame at a step, with its title and, once it has ended, its result."""
    ended = step >= len(clip.frames) - 1
    tile = clip.frames[min(step, len(clip.frames) - 1)].copy()
    text, colour = clip.title, _RUNNING_RGB
    if ended and clip.success is not None:
        text += ": success" if clip.success else ": failure"
        colour = _SUCCESS_RGB if clip.success else _FAILURE_RGB
        cv2.rectangle(tile, (1, 1), (tile.shape[1] - 2, tile.shape[0] - 2), colour, 3)
    cv2.rectangle(tile, (4, 4), (tile.shape[1] - 5, 26), _BANNER_RGB, cv2.FILLED)
    cv2.putText(tile, text, (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return tile
