"""Real cameras: the newest frame, reopened when lost, and errors that name the camera."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from glam_core.errors import ConfigurationError
from glam_core.spec import ImageSpec
from glam_ros import camera
from glam_ros.camera import Frame, NewestFrame, require_source

SPEC = ImageSpec(name="front", height=16, width=16)
PATIENCE_S = 10.0


class FakeCapture:
    """Gives a few frames, then fails as an unplugged camera does."""

    def __init__(self, frames: int) -> None:
        self.left, self.released = frames, False

    def isOpened(self) -> bool:
        return self.left > 0

    def read(self) -> tuple[bool, np.ndarray]:
        self.left -= 1
        return self.left >= 0, np.full((16, 16, 3), (200, 0, 0), np.uint8)

    def get(self, propId: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released = True


def await_condition(condition: Callable[[], object]) -> object:
    deadline = time.monotonic() + PATIENCE_S
    tick = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline
        tick.wait(0.002)
    return value


def test_frames_are_rgb_and_stamped_at_capture() -> None:
    newest = NewestFrame("0", SPEC, lambda: 7.0, latency_s=0.05, open_source=lambda _source: FakeCapture(10**9))
    frame = await_condition(newest.take)
    newest.close()
    assert isinstance(frame, Frame)
    assert frame.stamp == pytest.approx(6.95)
    assert frame.image[0, 0].tolist() == [0, 0, 200]


def test_a_lost_camera_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "FIRST_BACK_OFF_S", 0.01)
    captures = [FakeCapture(1), FakeCapture(0), FakeCapture(10**9)]
    opened: list[FakeCapture] = []

    def open_next(_source: str) -> FakeCapture:
        opened.append(captures[len(opened)])
        return opened[-1]

    faults: list[str] = []
    newest = NewestFrame("/dev/video7", SPEC, time.monotonic, open_source=open_next)

    def seen() -> bool:
        faults.append(newest.fault)
        return len(opened) == 3 and newest.take() is not None

    await_condition(seen)
    newest.close()
    assert newest.fault == ""
    assert any("camera 'front' (/dev/video7) was lost" in fault for fault in faults)
    assert captures[0].released
    assert captures[1].released


def test_a_camera_that_can_not_be_opened_is_named() -> None:
    newest = NewestFrame("0", SPEC, time.monotonic, open_source=lambda _source: FakeCapture(0))
    await_condition(lambda: "can not be opened" in newest.fault)
    newest.close()
    assert "camera 'front' (0)" in newest.fault


def test_a_video_file_is_played_over_and_over(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 100.0, (32, 24))
    for value in (60, 120, 180):
        writer.write(np.full((24, 32, 3), value, np.uint8))
    writer.release()
    newest = NewestFrame(str(path), SPEC, time.monotonic)
    seen: list[int] = []

    def twice() -> bool:
        frame = newest.take()
        if frame is not None:
            assert frame.image.shape == (16, 16, 3)
            seen.append(round(float(frame.image.mean()) / 60.0))
        return any(later < earlier for earlier, later in itertools.pairwise(seen))

    await_condition(twice)
    newest.close()


@pytest.mark.parametrize(
    ("source", "message"), [("", "'front' has no source"), ("/no/such/clip.mp4", "'front': there is no")]
)
def test_a_source_that_can_not_exist_is_refused(source: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        require_source("front", source)


@pytest.mark.parametrize("source", ["0", "rtsp://192.168.1.10/color"])
def test_devices_and_streams_may_come_later(source: str) -> None:
    require_source("front", source)
