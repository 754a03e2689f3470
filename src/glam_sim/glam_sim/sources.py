"""Where demonstrations come from, as data: who moves, how it looks, how it moves, what is measured, how people act.

The target and the auxiliary sources can be told apart by their images and by their scene vectors: without that,
nothing would need to be aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glam_core.errors import ConfigurationError, closest
from glam_sim.appearance import Appearance
from glam_sim.dynamics import Dynamics
from glam_sim.noise import HAND_HELD, PEOPLE, TELEOPERATION, Noise

PLAIN = "simulation"
"""Name of a cell without a source: the one of the shipped models."""


@dataclass(frozen=True)
class Readings:
    """What a source takes for the tool and the gripper, in measurements and in commands."""

    tool_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """From the middle between the fingertips to the point that the source calls the tool, in the tool frame."""
    gripper_scale: float = 1.0
    gripper_bias: float = 0.0
    """A gripper that is closed by g is measured as scale * g + bias."""

    @property
    def T_tool_reported(self) -> np.ndarray:
        """The pose (4, 4) of the reported tool in the true one."""
        pose = np.eye(4)
        pose[:3, 3] = self.tool_offset_m
        return pose

    @property
    def T_reported_tool(self) -> np.ndarray:
        """The inverse of `T_tool_reported`."""
        pose = np.eye(4)
        pose[:3, 3] = np.negative(self.tool_offset_m)
        return pose

    def gripper(self, closed: float) -> float:
        """What is measured of a gripper, 0..1."""
        return min(1.0, max(0.0, self.gripper_scale * closed + self.gripper_bias))


@dataclass(frozen=True)
class Source:
    """One source of demonstrations.

    Attributes:
        name: as in `SOURCES`.
        embodiment: one of `glam_sim.model.EMBODIMENTS`.
        has_actions: whether training may see actions and robot state.
        appearance: how its cell looks.
        dynamics: how its cell moves.
        readings: what it measures.
        noise: how its people act.
    """

    name: str
    embodiment: str
    has_actions: bool
    appearance: Appearance = Appearance()
    dynamics: Dynamics = Dynamics()
    readings: Readings = Readings()
    noise: Noise = PEOPLE

    @property
    def is_plain(self) -> bool:
        """Whether this is a cell without a source, whose scene vectors have no appearance in them."""
        return self.name == PLAIN


GEN3 = Source(
    "gen3",
    "gen3",
    has_actions=True,
    appearance=Appearance(tint_spread=0.04, light_spread=0.06),
    noise=TELEOPERATION,
)
"""The target: the simulated Kinova, driven by a person."""

UMI = Source(
    "umi",
    "umi",
    has_actions=False,
    appearance=Appearance(
        table=(0.62, 0.68, 0.70),
        table_pattern=(0.54, 0.60, 0.62),
        floor=(0.40, 0.36, 0.33),
        sky=((0.80, 0.76, 0.70), (0.52, 0.47, 0.42)),
        finger=(0.85, 0.84, 0.80),
        lamp=0.42,
        lamp_direction=(0.5, -0.25, -1.0),
        ambient=0.48,
        tint_spread=0.06,
        light_spread=0.1,
    ),
    dynamics=Dynamics(friction=0.95, spread=0.08),
    readings=Readings(tool_offset_m=(0.006, -0.004, 0.007), gripper_scale=0.92, gripper_bias=0.05),
    noise=HAND_HELD,
)
"""The auxiliary source: a hand-held gripper on another table. No actions, no robot state."""

TWIN = Source(
    "twin",
    "gen3",
    has_actions=False,
    appearance=Appearance(
        table=(0.56, 0.47, 0.38),
        table_pattern=(0.51, 0.42, 0.34),
        floor=(0.33, 0.36, 0.34),
        sky=((0.70, 0.74, 0.72), (0.40, 0.44, 0.46)),
        arm=(0.70, 0.71, 0.75),
        lamp=0.62,
        lamp_direction=(0.3, 0.6, -1.0),
        ambient=0.36,
        camera_offset_m=(0.012, -0.010, 0.008),
        camera_spread_m=0.004,
        camera_spread_rad=0.006,
        tint_spread=0.06,
        light_spread=0.12,
    ),
    dynamics=Dynamics(friction=0.85, gain=0.6, gripper_speed=0.85, latency_s=0.05, spread=0.1),
    readings=Readings(tool_offset_m=(0.003, 0.002, -0.002), gripper_scale=0.97, gripper_bias=0.02),
    noise=TELEOPERATION,
)
"""A twin of the target cell that stands for the real robot."""

SOURCES: dict[str, Source] = {source.name: source for source in (GEN3, UMI, TWIN)}


def plain(embodiment: str) -> Source:
    """The cell of the shipped models, for an embodiment."""
    return Source(PLAIN, embodiment, has_actions=embodiment == "gen3")


def find_source(name: str) -> Source:
    """The source of that name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in SOURCES:
        raise ConfigurationError(closest(name, SOURCES, "source"))
    return SOURCES[name]


def recorded_source(name: str, embodiment: str) -> Source:
    """The source that a store of demonstrations names.

    Raises:
        ConfigurationError: no simulated cell has that name: the demonstrations come from elsewhere.
    """
    return plain(embodiment) if name == PLAIN else find_source(name)
