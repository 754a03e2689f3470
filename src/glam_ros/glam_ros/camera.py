"""The newest frame of a real camera, from a thread of its own that opens it again when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from glam_core.errors import ConfigurationError
from glam_core.image import prepare_image
from glam_core.spec import ImageSpec

FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 10.0


@dataclass(frozen=True, eq=False)
class Frame:
    """An image `(H, W, 3) uint8 RGB`, captured at `stamp` (s, the clock given to the camera)."""

    image: NDArray[np.uint8]
    stamp: float


class Capture(Protocol):
    """What a source of frames looks like; `cv2.VideoCapture` is one."""

    def isOpened(self) -> bool:
        """Whether frames can be read."""
        ...

    def read(self) -> tuple[bool, NDArray[np.uint8]]:
        """Waits for the next frame, BGR."""
        ...

    def get(self, propId: int) -> float:
        """A property of the stream."""
        ...

    def release(self) -> None:
        """Lets the device go."""
        ...


def open_capture(source: str) -> Capture:
    """Opens a device index (`0`), a device path, a stream URL or a video file, which may turn out not to open."""
    return cast(Capture, cv2.VideoCapture(int(source)) if source.isdecimal() else cv2.VideoCapture(source))


def require_source(name: str, source: str) -> None:
    """Raises ConfigurationError for a source that can never become a camera: none, or a file that is not there."""
    if not source:
        raise ConfigurationError(
            f"camera '{name}' has no source; give a device index, a device path, a URL or a video file"
        )
    if not source.isdecimal() and "://" not in source and not Path(source).exists():
        raise ConfigurationError(f"camera '{name}': there is no device or video file {source}")


class NewestFrame:
    """Keeps the newest frame of a source, and opens the source again, ever more patiently, when it fails."""

    def __init__(
        self,
        source: str,
        spec: ImageSpec,
        clock: Callable[[], float],
        latency_s: float = 0.0,
        open_source: Callable[[str], Capture] = open_capture,
    ) -> None:
        """Starts the thread.

        Args:
            source: Device index, device path, URL or video file; a file is played at its own rate, over and over.
            spec: Name of the camera, and the size that its frames are brought to.
            clock: The clock of the stamps, s.
            latency_s: Time from light to arrival; a frame is stamped that much earlier than it arrived.
            open_source: Opens the source.
        """
        self._name, self._source, self._spec = spec.name, source, spec
        self._clock, self._latency_s, self._open_source = clock, latency_s, open_source
        self._is_file = Path(source).is_file()
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._fault = f"camera '{spec.name}' ({source}) is being opened"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {spec.name}", daemon=True)
        self._thread.start()

    def take(self) -> Frame | None:
        """The newest frame, once; None until another one came in."""
        with self._lock:
            frame, self._frame = self._frame, None
            return frame

    @property
    def fault(self) -> str:
        """Why no frames come in; empty while they do."""
        with self._lock:
            return self._fault

    def close(self) -> None:
        """Ends the thread and lets the device go; waits for the read that is under way for a second at most."""
        self._over.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        back_off_s = FIRST_BACK_OFF_S
        while not self._over.is_set():
            capture = self._open_source(self._source)
            try:
                frames = self._read_all(capture) if capture.isOpened() else 0
            finally:
                capture.release()
            if self._over.is_set() or (frames and self._is_file):
                continue
            if frames:
                back_off_s = FIRST_BACK_OFF_S
            reason = "was lost" if frames else "can not be opened"
            self._set_fault(f"camera '{self._name}' ({self._source}) {reason}; trying again in {back_off_s:g} s")
            self._over.wait(back_off_s)
            back_off_s = min(2.0 * back_off_s, LONGEST_BACK_OFF_S)

    def _read_all(self, capture: Capture) -> int:
        """Reads until the source fails or the camera is closed; returns the number of frames."""
        period_s = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or 30.0) if self._is_file else 0.0
        frames = 0
        due = time.monotonic()
        while not self._over.is_set():
            fine, image = capture.read()
            if not fine:
                break
            stamp = self._clock() - self._latency_s
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            frame = Frame(prepare_image(rgb, self._spec), stamp)
            with self._lock:
                self._frame, self._fault = frame, ""
            frames += 1
            due += period_s
            self._over.wait(max(0.0, due - time.monotonic()))
        return frames

    def _set_fault(self, fault: str) -> None:
        with self._lock:
            self._fault = fault
