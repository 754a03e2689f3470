"""Things on the table: their shape, their look, how they enter the scene vector.

Every object knows its own MJCF and its own row of the scene vector, so a task lists what it needs and the cell, the
masks and the specs follow. A free object falls, slides and topples; a fixed one stands where the task put it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from glam_core.pose import transform

CUBE_SIZE_M = 0.04
CUBE_MASS_KG = 0.05

_ROLLING_FRICTION_M = 0.002
_BOWL_SIDES = 10
_BOWL_SLOPE_RAD = 0.35
_BOWL_WALL_M = 0.003

Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""


@dataclass(frozen=True)
class ObjectState:
    """Where an object is: position (3,) m of its centre and rotation (3, 3), both in the world frame."""

    position: np.ndarray
    rotation: np.ndarray

    @property
    def yaw(self) -> float:
        """Heading of the object's x axis (rad)."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    @property
    def up(self) -> np.ndarray:
        """(3,) unit vector: where the top of the object points."""
        return self.rotation[:, 2]

    @property
    def T_world_object(self) -> np.ndarray:
        """The pose (4, 4)."""
        return transform(self.rotation, self.position)


class ObjectModel(Protocol):
    """One kind of object; its name is the name of its body, of its mask class and of its part of the scene vector."""

    @property
    def name(self) -> str:
        """Its name in the scene."""
        ...

    @property
    def colour(self) -> Colour:
        """Its colour."""
        ...

    @property
    def extent_m(self) -> tuple[float, float, float]:
        """Its bounding box when it stands, for viewers."""
        ...

    @property
    def is_round(self) -> bool:
        """Whether viewers draw it as a cylinder rather than as a box."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether it stands where the task put it, whatever touches it."""
        ...

    @property
    def rest_height_m(self) -> float:
        """Height of its centre over the table when it stands."""
        ...

    @property
    def components(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each of its numbers in the scene vector."""
        ...

    def row(self, state: ObjectState) -> list[float]:
        """Its numbers in the scene vector."""
        ...

    def state(self, row: Sequence[float]) -> ObjectState:
        """The state that a row stands for, up to the object's symmetry."""
        ...

    def xml(self) -> str:
        """Its body as MJCF."""
        ...


@dataclass(frozen=True)
class CubeModel:
    """A cube; turned by a quarter it looks the same."""

    name: str
    colour: Colour
    fixed: bool = False
    is_round: bool = False
    extent_m: tuple[float, float, float] = (CUBE_SIZE_M, CUBE_SIZE_M, CUBE_SIZE_M)
    rest_height_m: float = CUBE_SIZE_M / 2
    components: tuple[tuple[str, str], ...] = (("x", "m"), ("y", "m"), ("z", "m"), ("cos_4yaw", "1"), ("sin_4yaw", "1"))

    def row(self, state: ObjectState) -> list[float]:
        """Position, and four times the yaw."""
        return [*state.position, np.cos(4 * state.yaw), np.sin(4 * state.yaw)]

    def state(self, row: Sequence[float]) -> ObjectState:
        """A cube that stands on a face."""
        return ObjectState(np.array(row[:3], float), _about_z(math.atan2(row[4], row[3]) / 4.0))

    def xml(self) -> str:
        """A box that weighs 50 g."""
        half = CUBE_SIZE_M / 2
        geom = f'type="box" size="{half} {half} {half}" mass="{CUBE_MASS_KG}"'
        return _free_body(self.name, half, geom, self.colour)


@dataclass(frozen=True)
class PegModel:
    """A slim cylinder that stands on its end; it looks the same however it is turned about its axis."""

    name: str
    colour: Colour
    radius_m: float
    height_m: float
    mass_kg: float
    fixed: bool = False
    is_round: bool = True
    components: tuple[tuple[str, str], ...] = tuple((name, "m") for name in "xyz") + tuple(
        (f"up_{axis}", "1") for axis in "xyz"
    )

    @property
    def extent_m(self) -> tuple[float, float, float]:
        """Its bounding box when it stands."""
        return (2 * self.radius_m, 2 * self.radius_m, self.height_m)

    @property
    def rest_height_m(self) -> float:
        """Height of its centre over the table when it stands."""
        return self.height_m / 2

    def row(self, state: ObjectState) -> list[float]:
        """Position and axis."""
        return [*state.position, *state.up]

    def state(self, row: Sequence[float]) -> ObjectState:
        """A peg with this axis."""
        up = np.array(row[3:6], float)
        up /= np.linalg.norm(up)
        aside = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0])
        aside /= np.linalg.norm(aside)
        return ObjectState(np.array(row[:3], float), np.column_stack([aside, np.cross(up, aside), up]))

    def xml(self) -> str:
        """A cylinder that does not roll for long: it would leave the table."""
        geom = f'type="cylinder" size="{self.radius_m} {self.height_m / 2}" mass="{self.mass_kg}"'
        geom += f' condim="6" friction="0.9 0.01 {_ROLLING_FRICTION_M}"'
        return _free_body(self.name, self.height_m / 2, geom, self.colour)


@dataclass(frozen=True)
class BowlModel:
    """A round bowl that stands fast: a floor and a ring of walls that lean outwards. Its origin is on the table."""

    name: str
    colour: Colour
    floor_radius_m: float
    height_m: float
    fixed: bool = True
    is_round: bool = True
    rest_height_m: float = 0.0
    components: tuple[tuple[str, str], ...] = (("x", "m"), ("y", "m"))

    @property
    def rim_radius_m(self) -> float:
        """Radius of the rim, on the inside."""
        return self.floor_radius_m + self.height_m * math.tan(_BOWL_SLOPE_RAD)

    @property
    def extent_m(self) -> tuple[float, float, float]:
        """Its bounding box."""
        return (2 * self.rim_radius_m, 2 * self.rim_radius_m, self.height_m)

    def row(self, state: ObjectState) -> list[float]:
        """Position on the table."""
        return [*state.position[:2]]

    def state(self, row: Sequence[float]) -> ObjectState:
        """A bowl that stands there."""
        return ObjectState(np.array([*row[:2], 0.0], float), np.eye(3))

    def xml(self) -> str:
        """The walls are boxes, each turned to its side of the ring."""
        colour = " ".join(f"{value:.9g}" for value in (*self.colour, 1.0))
        looks = f'rgba="{colour}" contype="1" conaffinity="3" friction="0.6 0.01 0.0001"'
        half_height = self.height_m / 2 / math.cos(_BOWL_SLOPE_RAD)
        middle = self.floor_radius_m + self.height_m / 2 * math.tan(_BOWL_SLOPE_RAD)
        half_width = self.rim_radius_m * math.tan(math.pi / _BOWL_SIDES)
        walls = ""
        for side in range(_BOWL_SIDES):
            angle = 2 * math.pi * side / _BOWL_SIDES
            cosine, sine = math.cos(angle), math.sin(angle)
            # The wall's axes: x outwards and down along the lean, y along the ring, z up along the wall.
            lean, height = math.cos(_BOWL_SLOPE_RAD), math.sin(_BOWL_SLOPE_RAD)
            x_axis, y_axis = (lean * cosine, lean * sine, -height), (-sine, cosine, 0.0)
            axes = " ".join(f"{value:.9g}" for value in (*x_axis, *y_axis))
            position = f"{middle * cosine:.9g} {middle * sine:.9g} {self.height_m / 2:.9g}"
            size = f"{_BOWL_WALL_M} {half_width:.9g} {half_height:.9g}"
            walls += f'\n  <geom type="box" size="{size}" pos="{position}" xyaxes="{axes}" {looks}/>'
        return f"""
<body name="{self.name}" mocap="true" pos="0.45 0 0">
  <geom type="cylinder" size="{self.floor_radius_m + _BOWL_WALL_M} 0.002" pos="0 0 0.002" {looks}/>{walls}
</body>"""


def _free_body(name: str, height_m: float, geom: str, colour: Colour) -> str:
    rgba = " ".join(f"{value:.9g}" for value in (*colour, 1.0))
    return f"""
<body name="{name}" pos="0.45 0 {height_m}">
  <freejoint name="{name}"/>
  <geom name="{name}" class="cube" {geom}
    rgba="{rgba}"/>
</body>"""


def _about_z(yaw: float) -> np.ndarray:
    cosine, sine = math.cos(yaw), math.sin(yaw)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
