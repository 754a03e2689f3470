"""Episodes back to back in one MP4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from glam_core.errors import DataError
from glam_ros.watching import EpisodeRecord

FRAME_RATE_HZ = 10
LAST_FRAME_S = 1.0
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.55
BLACK, WHITE, GREEN, RED = (20, 20, 20), (240, 240, 240), (70, 210, 90), (225, 75, 65)

Write = Callable[[NDArray[np.uint8]], object]


def write_video(path: Path, episodes: list[EpisodeRecord], title: str) -> int:
    """Writes every episode in real time, one after the other, with its number, seed, time and result on the picture.

    Args:
        path: Ends in .mp4; its folder exists.
        episodes: In the order of playing; one without frames is left out.
        title: Stands first on every picture.

    Returns:
        The number of frames; with none, no file is written.

    Raises:
        DataError: No encoder can write the file.
    """
    frames = (frame for episode in episodes for frame in _frames(episode, len(episodes), title))
    count = 0
    first = next(frames, None)
    if first is None:
        return 0
    write, close = _open(path, first.shape[1], first.shape[0])
    try:
        write(first)
        count = 1
        for frame in frames:
            write(frame)
            count += 1
    finally:
        close()
    return count


def _open(path: Path, width: int, height: int) -> tuple[Write, Callable[[], None]]:
    """H.264 by ffmpeg, which every browser plays; OpenCV's MPEG-4 where imageio-ffmpeg is not installed."""
    try:
        import imageio_ffmpeg
    except ImportError:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FRAME_RATE_HZ, (width, height))
        if not writer.isOpened():
            raise DataError(f"{path} can not be written: OpenCV has no MP4 encoder; install imageio-ffmpeg") from None
        return lambda frame: writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)), writer.release
    pipe = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=FRAME_RATE_HZ, macro_block_size=2, output_params=["-preset", "veryfast"]
    )
    pipe.send(None)
    return lambda frame: pipe.send(np.ascontiguousarray(frame)), pipe.close


def _frames(episode: EpisodeRecord, count: int, title: str) -> Iterator[NDArray[np.uint8]]:
    """The pictures of an episode on an even time grid, `(H, W, 3) uint8 RGB`; the last one stays for a while."""
    if not episode.frames:
        return
    stamps = np.array([stamp for stamp, _ in episode.frames])
    length = max(1, round((stamps[-1] - stamps[0]) * FRAME_RATE_HZ) + 1)
    still = round(LAST_FRAME_S * FRAME_RATE_HZ)
    for step in range(length + still):
        elapsed_s = min(step, length - 1) / FRAME_RATE_HZ
        newest = int(np.searchsorted(stamps, stamps[0] + elapsed_s + 0.5 / FRAME_RATE_HZ)) - 1
        jpeg = episode.frames[max(newest, 0)][1]
        image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
        text = f"{title}   episode {episode.number}/{count}   seed {episode.seed}   {elapsed_s:4.1f} s"
        _write_text(image, text, (10, 24), WHITE)
        if step >= length - 1:
            result, color = ("success", GREEN) if episode.success else ("no success", RED)
            _write_text(image, result, (10, 50), color)
            cv2.rectangle(image, (1, 1), (image.shape[1] - 2, image.shape[0] - 2), color, 3)
        yield image


def _write_text(image: NDArray[np.uint8], text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    (width, height), below = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    cv2.rectangle(image, (at[0] - 5, at[1] - height - 5), (at[0] + width + 5, at[1] + below + 1), BLACK, cv2.FILLED)
    cv2.putText(image, text, at, FONT, FONT_SCALE, color, 1, cv2.LINE_AA)
