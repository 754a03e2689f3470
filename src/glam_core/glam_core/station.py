"""The station file: what stands in the lab. Arms, cameras, topics, limits, rates and latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import yaml
from pydantic import Field, model_validator

from glam_core.errors import ConfigurationError, GlamError, closest
from glam_core.safety import SafetyLimits
from glam_core.schema import Schema

NodeName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
Namespace = Annotated[str, Field(pattern="^(/[a-z][a-z0-9_]*)*$")]
Topic = Annotated[str, Field(pattern="^/?[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*$")]

SIMULATED = "simulated"


class StationSchema(Schema):
    """Base of the parts of a station."""

    error_type: ClassVar[type[GlamError]] = ConfigurationError


class ArmConfig(StationSchema):
    """One arm and its driver.

    Attributes:
        name: The arm's name in specs and topics.
        backend: `simulated`, or `kortex` for a real Kinova.
        address: Host name or address of a real arm.
        namespace: ROS namespace of the driver's topics, such as `/left`; empty for none.
        safety: The limits of this arm, where they differ from the station's.
    """

    name: NodeName
    backend: Literal["simulated", "kortex"] = SIMULATED
    address: str | None = None
    namespace: Namespace = ""
    safety: SafetyLimits | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.backend == "kortex" and not self.address:
            raise ValueError(f"arm '{self.name}' has the backend kortex; give its address")
        return self


class CameraConfig(StationSchema):
    """One camera.

    Attributes:
        name: The camera's name in specs: its place.
        source: `simulated`, a device index, a URL, or the path of a video file.
        width: Pixels.
        height: Pixels.
        rate_hz: Frames per second.
        topic: Where its images are published; `camera/<name>/image_raw` unless given.
        latency_s: Measured time from the capture to the stamp, s, taken off the stamp.
    """

    name: NodeName
    source: int | Annotated[str, Field(min_length=1)] = SIMULATED
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    rate_hz: float = Field(default=10.0, gt=0)
    topic: Topic = ""
    latency_s: float = Field(default=0.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _default_topic(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("name"), str) and not data.get("topic"):
            return data | {"topic": f"camera/{data['name']}/image_raw"}
        return data

    @property
    def simulated(self) -> bool:
        """Whether the simulated cell renders it."""
        return self.source == SIMULATED


class Rates(StationSchema):
    """How often things run, Hz."""

    policy_hz: float = Field(default=10.0, gt=0)
    control_hz: float = Field(default=40.0, gt=0)


class Station(StationSchema):
    """All that stands in one place and works together.

    Attributes:
        name: The station's name.
        arms: At least one.
        cameras: All cameras, those for people included.
        task: The task that a simulated cell sets up.
        safety: The limits of every arm that has none of its own.
        rates: Policy and control rate.
        max_observation_age_s: The oldest input that a policy acts on.
        domain: ROS domain id.
    """

    name: NodeName
    arms: tuple[ArmConfig, ...] = Field(min_length=1)
    cameras: tuple[CameraConfig, ...] = ()
    task: str = "stack_two"
    safety: SafetyLimits
    rates: Rates = Rates()
    max_observation_age_s: float = Field(default=0.3, gt=0)
    domain: int = Field(default=0, ge=0, le=101)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("arms", self.arm_names),
            ("cameras", self.camera_names),
            ("camera topics", [camera.topic for camera in self.cameras]),
            ("namespaces of arms", [arm.namespace for arm in self.arms]),
        ):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{what} must differ; repeated: {', '.join(repr(name) for name in repeated)}")
        return self

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Names of the arms, in the order of the file."""
        return tuple(arm.name for arm in self.arms)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of the file."""
        return tuple(camera.name for camera in self.cameras)

    def limits(self, arm: str) -> SafetyLimits:
        """The limits that hold for `arm`."""
        return self.arm(arm).safety or self.safety

    def arm(self, name: str) -> ArmConfig:
        """The arm called `name`."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise ConfigurationError(closest(name, self.arm_names, "arm"))

    def camera(self, name: str) -> CameraConfig:
        """The camera called `name`."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigurationError(closest(name, self.camera_names, "camera"))


def load_station(path: Path | str) -> Station:
    """Reads a station file.

    Raises:
        ConfigurationError: It is missing or wrong; the message names the line or the keys.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no station file {path}; see config/stations for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"station file {path} can not be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"station file {path}{where}: {problem}") from error
    if not isinstance(data, dict):
        keys = ", ".join(Station.model_fields)
        raise ConfigurationError(f"station file {path} must be a mapping with the keys {keys}")
    try:
        return Station.model_validate(data)
    except GlamError as error:
        raise ConfigurationError(f"station file {path}: {error}") from error
