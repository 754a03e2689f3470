"""The station file: what stands in the lab. Arms, cameras, topics, limits, rates and latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import yaml
from pydantic import Field, model_validator

from glam_core.errors import ConfigurationError, GlamError, closest
from glam_core.limits import SafetyLimits
from glam_core.schema import Schema

NodeName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
Namespace = Annotated[str, Field(pattern="^(/[a-z][a-z0-9_]*)*$")]
Topic = Annotated[str, Field(pattern="^/?[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*$")]

Port = Annotated[int, Field(ge=1, le=65535)]

SIMULATED = "simulated"
LOOPBACK = "127.0.0.1"
FIRST_PORT, PORTS_PER_DOMAIN, CONTROL_PORT_OFFSET = 2000, 20, 19
"""Simulated arms of a ROS domain have ports of their own: two each, TCP and UDP; the last one controls their cell.

All of them lie below 7400, where the ports of DDS begin, which any other graph may have taken.
"""


class StationSchema(Schema):
    """Base of the parts of a station."""

    error_type: ClassVar[type[GlamError]] = ConfigurationError


class Timeouts(StationSchema):
    """How long a Kortex arm is waited for, s, and how long it waits for us.

    Attributes:
        command_s: For the answer to a speed, a twist, a stop or a movement of the gripper.
        feedback_s: For one measurement.
        request_s: For everything that is not part of the control loop: log-in, faults, modes, lists.
        session_s: The arm ends our session after this silence, so that a killed driver leaves none behind.
        connection_s: The arm ends a motion that we started after this silence.
        max_losses: Measurements lost in a row that count as a lost connection.
        silence_s: So long without any answer to commands and questions counts as a lost connection.
    """

    command_s: float = Field(default=0.03, ge=0.003, le=1.0)
    feedback_s: float = Field(default=0.01, ge=0.003, le=0.1)
    request_s: float = Field(default=1.0, ge=0.03, le=10.0)
    session_s: float = Field(default=2.0, ge=0.5, le=60.0)
    connection_s: float = Field(default=1.0, ge=0.5, le=60.0)
    max_losses: int = Field(default=20, ge=1, le=1000)
    silence_s: float = Field(default=0.35, ge=0.2, le=10.0)


class GripperConfig(StationSchema):
    """The gripper of a Kortex arm, which locks up under a stream of commands.

    Attributes:
        dead_band: A change of the target below this is not sent, as part of the way from open to closed.
        rate_hz: The most commands per second.
        open_at: Its measured position where it is open, as part of the way that it reports; see `kinova gripper-range`.
        closed_at: Its measured position where it is closed on nothing.
    """

    dead_band: float = Field(default=0.01, ge=0.0, le=0.2)
    rate_hz: float = Field(default=5.0, gt=0.0, le=5.0)
    open_at: float = Field(default=0.0, ge=0.0, le=1.0)
    closed_at: float = Field(default=1.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.closed_at - self.open_at < 0.1:
            raise ValueError(
                f"the gripper closes from open_at {self.open_at} to closed_at {self.closed_at}; it must close"
            )
        return self


class ArmConfig(StationSchema):
    """One arm and its driver.

    Attributes:
        name: The arm's name in specs and topics.
        backend: `simulated`, or `kortex` for a real Kinova.
        address: Host name or address of a real arm.
        tcp_port: Where it takes commands; 10000 for a real arm, and chosen by the graph for a simulated one.
        udp_port: Where it gives feedback; 10001 for a real arm, and chosen by the graph for a simulated one.
        username: Who logs in.
        password: The password of a fresh arm, or the one that was set.
        password_env: The environment variable that holds the password instead, so that no file does.
        namespace: ROS namespace of the driver's topics, such as `/left`; empty for none.
        command: What is streamed to the arm: speeds of the joints, or the twist of the tool.
        feedback_hz: How often the arm is measured.
        feedback_latency_s: Measured time from a motion to its measurement, taken off the stamp; see `kinova latency`.
        command_latency_s: Measured time from a command to its motion.
        timeouts: How long is waited for what.
        gripper: The gripper.
        deadman: Commands count only while a person holds a switch, which says so on the topic `deadman`; true unless
            the file says otherwise, or the arm is simulated.
        interpreter: The Python of the driver's own environment, where the official Kortex package lives; relative to
            the station file.
        trust_unofficial_client_with_a_real_arm: Lets the client of this project, which was never tried on a real arm,
            reach other addresses than this computer where the official package is missing.
        safety: The limits of this arm, where they differ from the station's.
    """

    name: NodeName
    backend: Literal["simulated", "kortex"] = SIMULATED
    address: str | None = None
    tcp_port: Port | None = None
    udp_port: Port | None = None
    username: Annotated[str, Field(min_length=1)] = "admin"
    password: str = Field(default="admin", repr=False)
    password_env: Annotated[str, Field(min_length=1)] | None = None
    namespace: Namespace = ""
    command: Literal["joint_speeds", "twist"] = "joint_speeds"
    feedback_hz: float = Field(default=520.0, ge=40.0, le=1000.0)
    feedback_latency_s: float = Field(default=0.0, ge=0.0, le=0.5)
    command_latency_s: float = Field(default=0.0, ge=0.0, le=1.0)
    timeouts: Timeouts = Timeouts()
    gripper: GripperConfig = GripperConfig()
    deadman: bool = True
    interpreter: Annotated[str, Field(min_length=1)] | None = None
    trust_unofficial_client_with_a_real_arm: bool = False
    safety: SafetyLimits | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_deadman_in_simulation(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("backend", SIMULATED) == SIMULATED:
            return {"deadman": False} | data
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.backend == "kortex" and not self.address:
            raise ValueError(f"arm '{self.name}' has the backend kortex; give its address")
        if self.tcp_port is not None and self.tcp_port == self.udp_port:
            raise ValueError(f"arm '{self.name}' has tcp_port and udp_port {self.tcp_port}; they must differ")
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

    def reached(self, name: str, domain: int) -> ArmConfig:
        """The arm called `name`, with address and ports.

        Args:
            name: The arm's name.
            domain: The ROS domain of the graph. A simulated arm that names no ports has those of the domain, so that
                graphs side by side do not meet.
        """
        arm = self.arm(name)
        if arm.backend != SIMULATED:
            return arm
        first = FIRST_PORT + PORTS_PER_DOMAIN * domain + 2 * self.arm_names.index(name)
        ports = {"tcp_port": arm.tcp_port or first, "udp_port": arm.udp_port or first + 1}
        return arm.model_copy(update={"address": LOOPBACK, **ports})

    def camera(self, name: str) -> CameraConfig:
        """The camera called `name`."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigurationError(closest(name, self.camera_names, "camera"))


def control_port(domain: int) -> int:
    """Where the simulated cell of a ROS domain takes words from other processes of this computer."""
    return FIRST_PORT + PORTS_PER_DOMAIN * domain + CONTROL_PORT_OFFSET


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
