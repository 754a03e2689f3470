"""Offscreen rendering that is quick at the size of a policy's image.

One GL context per image size, made when it is first asked for. Images for policies have no shadows, reflections or
multisampling; `pretty` images, for people, do. A renderer belongs to the thread that first used it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

import mujoco
import numpy as np

from glam_core.errors import ConfigurationError

_MAX_GEOMS = 400
_BACKENDS = ("egl", "osmesa", "glfw")
_GL = threading.RLock()
"""Held by whoever draws: Mesa's software renderer can crash where two threads of a process draw at a time."""
_LIBRARIES = {"egl": ("libEGL.so.1", "libEGL_mesa.so.0"), "osmesa": ("libOSMesa.so.8",)}


class OffscreenRenderer:
    """Renders one model at one image size."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int, pretty: bool = False) -> None:
        self._model = model
        with _GL:
            self._gl = _context_class()(width, height)
            self._gl.make_current()
            self._mjr = _renderer_context(model, height, width, samples=4 if pretty else 0)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = pretty
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._geom_of_segment = np.empty(0, np.int64)
        self._finalizer = weakref.finalize(self, _free, self._gl, self._mjr)
        self._finalizer.atexit = False  # by then the display may be gone; the system frees what a process leaves

    def close(self) -> None:
        """Frees the GL context; harmless when repeated."""
        self._finalizer()

    def image(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """Returns `(H, W, 3) uint8 RGB` seen by the camera with this id."""
        self._update(data, camera)
        return self._draw()

    def geom_ids(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """Returns `(H, W) int64`: the id of the geom at each pixel, -1 where there is none."""
        self._update(data, camera)
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True
        try:
            colours = self._draw().astype(np.int64)
        finally:
            flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = False
        segments = colours[..., 0] + (colours[..., 1] << 8) + (colours[..., 2] << 16)
        return self._segment_table()[segments]

    def _update(self, data: mujoco.MjData, camera: int) -> None:
        self._camera.fixedcamid = camera
        categories = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._camera, categories, self._scene)

    def _draw(self) -> np.ndarray:
        with _GL:
            self._gl.make_current()
            mujoco.mjr_render(self._rectangle, self._scene, self._mjr)
            mujoco.mjr_readPixels(self._pixels, None, self._rectangle, self._mjr)
        return self._pixels[::-1].copy()

    def _segment_table(self) -> np.ndarray:
        """Segment number to geom id; the order of the scene's geoms is fixed, so one look suffices."""
        count = self._scene.ngeom
        if len(self._geom_of_segment) != count + 1:
            table = np.full(count + 1, -1)
            for geom in self._scene.geoms[:count]:
                if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                    table[geom.segid + 1] = geom.objid
            self._geom_of_segment = table
        return self._geom_of_segment


def _renderer_context(model: mujoco.MjModel, height: int, width: int, samples: int) -> mujoco.MjrContext:
    """A MuJoCo context whose offscreen buffer is as large as the image: a larger one costs time to clear."""
    visual = model.vis
    before = (visual.global_.offheight, visual.global_.offwidth, visual.quality.offsamples)
    visual.global_.offheight, visual.global_.offwidth, visual.quality.offsamples = height, width, samples
    try:
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    finally:
        visual.global_.offheight, visual.global_.offwidth, visual.quality.offsamples = before
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    return context


def _free(gl: Any, mjr: mujoco.MjrContext) -> None:
    with _GL:
        gl.make_current()
        mjr.free()
        gl.free()


def _context_class() -> type:
    """The GL context of the backend in MUJOCO_GL; without it, of the first offscreen library on this machine."""
    backend = os.environ.get("MUJOCO_GL", "").lower().strip()
    if backend == "":
        backend = next((name for name, libraries in _LIBRARIES.items() if all(map(_loads, libraries))), "")
    if backend == "egl":
        from mujoco.egl import GLContext
    elif backend == "osmesa":
        from mujoco.osmesa import GLContext
    elif backend == "glfw":
        from mujoco.glfw import GLContext
    elif backend == "":
        raise ConfigurationError(
            "no offscreen GL library found (libEGL with Mesa, or libOSMesa); install one of them, for example with "
            "`apt-get install libegl1 libegl-mesa0` or `apt-get install libosmesa6`"
        )
    else:
        raise ConfigurationError(f"MUJOCO_GL is {backend!r}; legal: {', '.join(_BACKENDS)}, or leave it unset")
    return GLContext


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
