"""How a cell looks, as data; and what is drawn anew for every episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np

from glam_sim.objects import Colour


@dataclass(frozen=True)
class Appearance:
    """How a cell looks. Colours are red, green, blue in 0..1; the defaults are the cell of the shipped models."""

    table: Colour = (0.72, 0.66, 0.57)
    table_pattern: Colour | None = None
    """Second colour of a checked table; None for a plain one."""
    floor: Colour = (0.50, 0.52, 0.55)
    sky: tuple[Colour, Colour] = ((0.86, 0.89, 0.93), (0.55, 0.60, 0.68))
    """What stands behind everything: above, below."""
    arm: Colour = (0.80, 0.81, 0.83)
    finger: Colour = (0.15, 0.15, 0.17)
    palm: Colour | None = None
    """Colour of the palm; None for the embodiment's own."""
    lamp: float = 0.5
    """Strength of the lamp, 0..1."""
    lamp_direction: tuple[float, float, float] = (-0.35, 0.45, -1.0)
    ambient: float = 0.42
    """Strength of the light from everywhere, 0..1."""
    camera_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """By how far the cameras that stand still are from where they should be."""
    camera_spread_m: float = 0.0
    """Standard deviation of their position, for a whole episode."""
    camera_spread_rad: float = 0.0
    """Standard deviation of their direction, about each axis, for a whole episode."""
    tint_spread: float = 0.0
    """Largest change of each channel of table and floor, as a share, for a whole episode."""
    light_spread: float = 0.0
    """Largest change of the strength of the light, as a share, for a whole episode."""


PLAIN_LOOK = Appearance()
"""The cell of the shipped models."""


class Look(NamedTuple):
    """What was drawn for an episode: factors of the table's channels (3,), and of the light."""

    tint: np.ndarray
    light: float


class Dresser:
    """Gives a compiled scene the look that is drawn for an episode."""

    def __init__(self, appearance: Appearance, model: mujoco.MjModel, cameras: tuple[str, ...]) -> None:
        self._appearance, self._model = appearance, model
        self._cameras = [model.camera(name).id for name in cameras]
        self._tinted = [model.geom(name).id for name in ("table", "floor")]
        self._rgba = model.geom_rgba[self._tinted].copy()
        self._lamp = model.light_diffuse.copy()
        self._ambient = model.vis.headlight.ambient.copy()
        self._positions = model.cam_pos[self._cameras] + appearance.camera_offset_m
        self._quaternions = model.cam_quat[self._cameras].copy()

    def dress(self, rng: np.random.Generator) -> Look:
        """Draws a look and gives it to the scene."""
        appearance, model = self._appearance, self._model
        look = Look(
            1.0 + rng.uniform(-1.0, 1.0, size=3) * appearance.tint_spread,
            1.0 + float(rng.uniform(-1.0, 1.0)) * appearance.light_spread,
        )
        model.geom_rgba[self._tinted, :3] = np.clip(self._rgba[:, :3] * look.tint, 0.0, 1.0)
        model.light_diffuse[:] = self._lamp * look.light
        model.vis.headlight.ambient[:] = self._ambient * look.light
        shifts = rng.normal(size=(len(self._cameras), 3)) * appearance.camera_spread_m
        turns = rng.normal(size=(len(self._cameras), 3)) * appearance.camera_spread_rad
        for camera, position, quaternion, turn in zip(
            self._cameras, self._positions + shifts, self._quaternions, turns, strict=True
        ):
            turned = quaternion.copy()
            mujoco.mju_quatIntegrate(turned, turn, 1.0)
            model.cam_pos[camera], model.cam_quat[camera] = position, turned
        return look

    def channels(self, look: Look) -> tuple[float, ...]:
        """The table's colour in this light: how a scene vector tells the sources apart."""
        return tuple(float(value) for value in np.array(self._appearance.table) * look.tint * look.light)
