"""Specs: the only description of names, shapes, units, frames, rates and history.

The data set, the network, the manifest and the nodes hold the same object; one arm or two is a matter of `arms`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from glam_core.errors import SpecError, closest
from glam_core.gen3 import JOINTS
from glam_core.schema import Schema

Name = Annotated[str, Field(min_length=1)]

ARM_STATE_COMPONENTS = ("x", "y", "z", "r00", "r10", "r20", "r01", "r11", "r21", "gripper")
ARM_STATE_UNITS = ("m", "m", "m", "1", "1", "1", "1", "1", "1", "1")
ARM_JOINT_STATE_COMPONENTS = (*(f"cos_{joint}" for joint in JOINTS), *(f"sin_{joint}" for joint in JOINTS))
"""What is added to the state of an arm whose actions move joints: a turn more or less is the same posture."""
ARM_ACTION_COMPONENTS = ("x", "y", "z", "yaw", "gripper")
JOINT_ACTION_COMPONENTS = (*JOINTS, "gripper")


class ImageSpec(Schema):
    """One camera as a model sees it: `(height, width, 3) uint8 RGB`."""

    name: Name
    height: int = Field(gt=0)
    width: int = Field(gt=0)


class VectorSpec(Schema):
    """One vector of numbers: `(size,) float32`."""

    name: Name
    components: tuple[Name, ...] = Field(min_length=1)
    units: tuple[str, ...]
    frame: str = "base"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _require_unique(self.components, f"components of vector '{self.name}'")
        if len(self.units) != len(self.components):
            raise ValueError(
                f"vector '{self.name}' has {len(self.components)} components but {len(self.units)} units; give one each"
            )
        return self

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.components)


class ObsSpec(Schema):
    """What a policy sees: images and vectors at `rate_hz`, the last `history` of them."""

    images: tuple[ImageSpec, ...] = ()
    vectors: tuple[VectorSpec, ...] = ()
    rate_hz: float = Field(default=10.0, gt=0)
    history: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _require_unique([image.name for image in self.images], "cameras")
        _require_unique([vector.name for vector in self.vectors], "vectors")
        return self

    def image(self, name: str) -> ImageSpec:
        """The image spec of the camera `name`."""
        for spec in self.images:
            if spec.name == name:
                return spec
        raise SpecError(closest(name, (spec.name for spec in self.images), "camera"))

    def vector(self, name: str) -> VectorSpec:
        """The vector spec called `name`."""
        for spec in self.vectors:
            if spec.name == name:
                return spec
        raise SpecError(closest(name, (spec.name for spec in self.vectors), "vector"))


class ActionSpec(Schema):
    """What a policy does: per arm a motion relative to what is measured, of the tool or of the joints, and the
    absolute gripper target."""

    arms: tuple[Name, ...] = Field(default=("arm",), min_length=1)
    components: tuple[Name, ...] = Field(default=ARM_ACTION_COMPONENTS, min_length=1)
    units: tuple[str, ...] = ("m", "m", "m", "rad", "1")
    frame: str = "base"
    rate_hz: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _require_unique(self.arms, "arms")
        _require_unique(self.components, "action components")
        if len(self.units) != len(self.components):
            raise ValueError(
                f"an action has {len(self.components)} components but {len(self.units)} units; give one each"
            )
        return self

    @property
    def size(self) -> int:
        """Length of an action vector: all arms, one after the other."""
        return len(self.arms) * len(self.components)

    @property
    def moves_joints(self) -> bool:
        """Whether an action moves the joints, rather than the tool."""
        return self.components == JOINT_ACTION_COMPONENTS

    @property
    def step_s(self) -> float:
        """Seconds between two actions."""
        return 1.0 / self.rate_hz


def joint_action_spec(arms: tuple[str, ...] = ("arm",)) -> ActionSpec:
    """Actions that move joints: per arm the turn of each joint (rad), relative to what is measured, and the gripper."""
    units = ("rad",) * len(JOINTS) + ("1",)
    return ActionSpec(arms=arms, components=JOINT_ACTION_COMPONENTS, units=units, frame="joints")


def robot_state_spec(arms: tuple[str, ...] = ("arm",), with_joints: bool = False) -> VectorSpec:
    """The robot state `s_t`: per arm the tool position (m, base), rotation 6D and gripper, arms in the given order.

    Args:
        arms: Which arms.
        with_joints: Cosines, then sines of the joints follow, for actions that move joints.
    """
    components = ARM_STATE_COMPONENTS + (ARM_JOINT_STATE_COMPONENTS if with_joints else ())
    units = ARM_STATE_UNITS + ("1",) * (len(components) - len(ARM_STATE_UNITS))
    return VectorSpec(
        name="state",
        components=tuple(f"{arm}.{component}" for arm in arms for component in components),
        units=units * len(arms),
        frame="base",
    )


def _require_unique(names: list[str] | tuple[str, ...], what: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{what} must have different names; repeated: {', '.join(repeated)}")
