"""The cameras of a simulated cell: they render snapshots on a thread of their own, so that physics never waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from glam_sim.model import scene_model
from glam_sim.render import OffscreenRenderer
from glam_sim.tasks import TASKS
from kinova_driver.episode import TICK_S, Snapshot

logger = logging.getLogger(__name__)

SPECTATOR = "overview"
"""The camera that is for people, and never enters a model."""


@dataclass(frozen=True)
class CameraView:
    """One camera of the cell: which, how large, how often. Cameras with the same rate capture the same instants."""

    name: str
    height: int
    width: int
    rate_hz: float = 10.0

    @property
    def period_ticks(self) -> int:
        """Control ticks between two frames."""
        return max(1, round(1.0 / (self.rate_hz * TICK_S)))


@dataclass(frozen=True, eq=False)
class Frame:
    """An image `(H, W, 3) uint8 RGB` and when it was captured (monotonic clock, s)."""

    camera: str
    image: NDArray[np.uint8]
    stamp: float


class Mirror:
    """A second copy of a scene, which shows snapshots; it belongs to the thread that made it."""

    def __init__(self, embodiment: str, task: str, views: Sequence[CameraView]) -> None:
        """Makes the GL contexts, one per size."""
        self.task = task
        setting = TASKS[task]
        self._model = scene_model(embodiment, setting.layout, setting.objects)
        self._data = mujoco.MjData(self._model)
        numbers = {view.name: self._model.camera(view.name).id for view in views}
        self._renderers = {
            size: OffscreenRenderer(self._model, *size) for size in {(view.height, view.width) for view in views}
        }
        self._ways = {view.name: (self._renderers[view.height, view.width], numbers[view.name]) for view in views}

    def close(self) -> None:
        """Frees the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()

    def show(self, snapshot: Snapshot) -> None:
        """Puts everything where the snapshot has it."""
        where = snapshot.configuration
        self._data.qpos[:], self._data.mocap_pos[:], self._data.mocap_quat[:] = where
        mujoco.mj_forward(self._model, self._data)

    def image(self, camera: str) -> NDArray[np.uint8]:
        """What a camera sees, `(H, W, 3) uint8 RGB`."""
        renderer, number = self._ways[camera]
        return renderer.image(self._data, number)


class Photographer:
    """Renders some cameras of a cell, one after the other, whenever a snapshot is offered that is due.

    Where it can not keep up it leaves snapshots out, so that a frame is never old.
    """

    def __init__(
        self, embodiment: str, task: str, views: Sequence[CameraView], on_frame: Callable[[Frame], None]
    ) -> None:
        """Prepares the thread; `start` runs it.

        Args:
            embodiment: What moves in the cell.
            task: What stands in it at first.
            views: What is rendered.
            on_frame: Called with every frame, on the thread.
        """
        self._embodiment, self._task, self._views, self._on_frame = embodiment, task, tuple(views), on_frame
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._offered = self._taken = self._seen = 0
        self._over = False
        self._ready: Future[None] = Future()
        names = "-".join(view.name for view in self._views)
        self._thread = threading.Thread(target=self._run, name=f"camera {names}", daemon=True)

    def start(self) -> None:
        """Makes the GL contexts, which takes many ticks; raises what they raise."""
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """Ends the thread; harmless when repeated."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def offer(self, snapshot: Snapshot) -> None:
        """Takes a snapshot, if it is time for one of the cameras; never waits."""
        if not any(snapshot.tick % view.period_ticks == 0 for view in self._views):
            return
        with self._changed:
            self._waiting = snapshot
            self._offered += 1
            self._changed.notify_all()

    def settle(self) -> None:
        """Waits until every snapshot that was offered before has been seen to, or left out for a newer one."""
        with self._changed:
            offered = self._offered
            self._changed.wait_for(lambda: self._over or self._seen >= offered)

    def _run(self) -> None:
        mirror = None
        try:
            mirror = Mirror(self._embodiment, self._task, self._views)
            for view in self._views:  # the first frame takes longest
                mirror.image(view.name)
            self._ready.set_result(None)
            while (snapshot := self._next()) is not None:
                if mirror.task != snapshot.task:
                    mirror.close()
                    mirror = Mirror(self._embodiment, snapshot.task, self._views)
                mirror.show(snapshot)
                for view in self._views:
                    if snapshot.tick % view.period_ticks == 0:
                        self._on_frame(Frame(view.name, mirror.image(view.name), snapshot.stamp))
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                logger.exception("the cameras %s ended", ", ".join(view.name for view in self._views))
        finally:
            if mirror is not None:
                mirror.close()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _next(self) -> Snapshot | None:
        """The snapshot to render now; None at the end."""
        with self._changed:
            self._seen = self._taken
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over or self._waiting)
            snapshot, self._waiting, self._taken = self._waiting, None, self._offered
            return None if self._over else snapshot
