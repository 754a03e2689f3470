"""The camera for people: it renders snapshots on a thread of its own, so that the cell never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import mujoco
import numpy as np
from numpy.typing import NDArray

from glam_core.pose import quaternion_xyzw_from_matrix
from glam_sim.model import FINGER_TRAVEL_M, scene_model
from glam_sim.render import OffscreenRenderer
from glam_sim.tasks import TASKS
from kinova_driver.cell_clock import CameraView, Frame
from kinova_driver.episode import Snapshot

logger = logging.getLogger(__name__)


class Mirror:
    """A scene that shows a snapshot; it belongs to the thread that made it."""

    def __init__(self, embodiment: str, task: str, view: CameraView) -> None:
        self.task = task
        self._model = scene_model(embodiment, TASKS[task].layout, TASKS[task].objects)
        self._data = mujoco.MjData(self._model)
        self._renderer = OffscreenRenderer(self._model, view.height, view.width)
        self._camera = self._model.camera(view.name).id

    def close(self) -> None:
        """Frees the GL context."""
        self._renderer.close()

    def image(self, snapshot: Snapshot) -> NDArray[np.uint8]:
        """The snapshot as the camera sees it, `(H, W, 3) uint8 RGB`."""
        for arm, joints in snapshot.joints.items():
            for name, position in zip(joints.names, joints.positions, strict=True):
                self._set(f"{arm}/{name}", [position])
        for arm, tool in snapshot.tools.items():
            for finger in ("left_finger", "right_finger"):
                self._set(f"{arm}/{finger}", [tool.gripper * FINGER_TRAVEL_M])
        for name, pose in snapshot.objects.items():
            x, y, z, w = quaternion_xyzw_from_matrix(pose[:3, :3])
            mocap = self._model.body(name).mocapid[0]
            if mocap < 0:
                self._set(name, [*pose[:3, 3], w, x, y, z])
            else:
                self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = pose[:3, 3], [w, x, y, z]
        mujoco.mj_forward(self._model, self._data)
        return self._renderer.image(self._data, self._camera)

    def _set(self, joint: str, values: list[float]) -> None:
        start = self._model.joint(joint).qposadr[0]
        self._data.qpos[start : start + len(values)] = values


class Spectator:
    """Renders one camera of a cell at its rate, or as fast as it can."""

    def __init__(
        self,
        embodiment: str,
        view: CameraView,
        snapshot: Callable[[], Snapshot],
        on_frame: Callable[[Frame], None],
    ) -> None:
        """Prepares the thread; `start` runs it.

        Args:
            embodiment: What moves in the cell.
            view: What is rendered.
            snapshot: Gives the newest state of the cell.
            on_frame: Called with every frame, on the thread.
        """
        self._embodiment, self._view = embodiment, view
        self._snapshot, self._on_frame = snapshot, on_frame
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {view.name}", daemon=True)

    def start(self) -> None:
        """Starts rendering."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; harmless when repeated."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        mirror = None
        due = time.monotonic()
        try:
            while not self._over.wait(max(0.0, due - time.monotonic())):
                snapshot = self._snapshot()
                if mirror is None or mirror.task != snapshot.task:
                    if mirror is not None:
                        mirror.close()
                    mirror = Mirror(self._embodiment, snapshot.task, self._view)
                self._on_frame(Frame(self._view.name, mirror.image(snapshot), snapshot.stamp))
                due = max(due + 1.0 / self._view.rate_hz, time.monotonic())
        except Exception:
            logger.exception("the camera %s ended", self._view.name)
        finally:
            if mirror is not None:
                mirror.close()
