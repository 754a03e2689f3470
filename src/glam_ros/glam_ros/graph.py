"""The deployment graph as plain data: which processes, with which names, parameters and remappings.

Launch files turn it into actions of launch_ros; `glam up` starts the same processes where there is no launch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from glam_core.errors import ConfigurationError
from glam_core.manifest import read_manifest
from glam_core.station import SIMULATED, ArmConfig, CameraConfig, Station, load_station
from glam_ros import topics

ARM = "gen3"
"""The embodiment that is driven over Kortex, in simulation, too."""

Value = bool | int | float | str | tuple[str, ...]


@dataclass(frozen=True)
class Process:
    """One process, started as an executable of a package or as the module `<package>.<executable>`.

    Attributes:
        name: What the process is called, and its node too where it `renames` it.
        package: ROS package.
        executable: Its executable.
        renames: Whether its node takes `name`; false for a process with several nodes, which name themselves.
        namespace: Namespace of the node, empty for the root.
        parameters: Values for its parameters; an empty list is left out, since it is every list's default.
        remappings: Names to replace, old and new.
        lifecycle: Full names of its lifecycle nodes; the process is ready when they are active.
        interpreter: Path of the Python that runs it; empty for the one that runs everything.
    """

    name: str
    package: str
    executable: str
    renames: bool = True
    namespace: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    lifecycle: tuple[str, ...] = ()
    interpreter: str = ""

    @property
    def label(self) -> str:
        """What no other process of the graph is called."""
        return f"{self.namespace.strip('/')}/{self.name}".lstrip("/")


@dataclass(frozen=True)
class Graph:
    """The processes of a deployment, and the ROS domain of its station."""

    processes: tuple[Process, ...]
    domain: int = 0

    @property
    def lifecycle(self) -> tuple[str, ...]:
        """Full names of the lifecycle nodes of all processes."""
        return tuple(name for process in self.processes for name in process.lifecycle)


@dataclass(frozen=True)
class Place:
    """A station and the file that describes it."""

    path: Path
    station: Station

    @classmethod
    def read(cls, path: Path) -> Place:
        """Reads a station file; raises ConfigurationError where it is missing or wrong."""
        return cls(path.resolve(), load_station(path))

    @property
    def simulated(self) -> bool:
        """Whether its arms are simulated."""
        return all(arm.backend == SIMULATED for arm in self.station.arms)


@dataclass(frozen=True)
class Simulation:
    """What a simulated cell begins with; an empty task is the station's."""

    task: str = ""
    seed: int = 0
    embodiment: str = ARM


OF_THE_MODEL = Simulation()


def deployment(place: Place, model_folder: Path, simulation: Simulation = OF_THE_MODEL) -> Graph:
    """The whole graph of a station: its robot and cameras, the policy, the decoder and the monitor.

    Args:
        place: Where the arms and cameras stand.
        model_folder: The exported model to run.
        simulation: What a simulated cell begins with; an empty task is the model's.

    Raises:
        ModelFolderError: The folder holds no model.
    """
    task = simulation.task or read_manifest(model_folder).task
    robot_side = robot(place, replace(simulation, task=task))
    station = place.station
    processes = (*robot_side.processes, policy(station, model_folder), decoder(station, model_folder), monitor())
    return Graph(processes, station.domain)


def robot(place: Place, simulation: Simulation) -> Graph:
    """The robot and its cameras alone: what demonstrations are recorded on."""
    cameras = tuple(camera(config) for config in place.station.cameras if not config.simulated)
    drivers = tuple(driver(place, arm) for arm in place.station.arms)
    if not place.simulated:
        return Graph((*drivers, *cameras), place.station.domain)
    cell = simulated_cell(place, simulation)
    # The hand-held gripper speaks no Kortex: its driver is part of the cell's process.
    return Graph((cell, *(() if cell.lifecycle else drivers), *cameras), place.station.domain)


def simulated_cell(place: Place, simulation: Simulation) -> Process:
    """The process of a simulated cell: physics, cameras, and the arms behind Kortex sockets."""
    return Process(
        name="simulated_cell",
        package="kinova_driver",
        executable="simulated_cell",
        renames=False,
        parameters={
            "station": str(place.path),
            "task": simulation.task,
            "seed": simulation.seed,
            "embodiment": simulation.embodiment,
        },
        lifecycle=()
        if simulation.embodiment == ARM
        else tuple(topics.of_arm(arm.namespace, topics.DRIVER_NODE) for arm in place.station.arms),
    )


def driver(place: Place, arm: ArmConfig) -> Process:
    """The process of one arm's driver."""
    return Process(
        name=topics.DRIVER_NODE,
        package="kinova_driver",
        executable="driver_node",
        namespace=arm.namespace,
        parameters={"station": str(place.path), "arm": arm.name},
        lifecycle=(topics.of_arm(arm.namespace, topics.DRIVER_NODE),),
        interpreter=interpreter(place, arm),
    )


def interpreter(place: Place, arm: ArmConfig) -> str:
    """The Python of an arm's driver, which a station file names relative to itself; empty where it names none.

    Raises:
        ConfigurationError: There is no such program.
    """
    if arm.interpreter is None:
        return ""
    path = place.path.parent / arm.interpreter
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ConfigurationError(
            f"the interpreter of the arm '{arm.name}' is no program: {path}; `make kortex-env` makes one and prints "
            "where it is"
        )
    return str(path)


def camera(config: CameraConfig) -> Process:
    """The process of one real camera."""
    return Process(
        name=f"camera_{config.name}",
        package="glam_ros",
        executable="camera_node",
        parameters={
            "camera": config.name,
            "source": str(config.source),
            "topic": config.topic,
            "height": config.height,
            "width": config.width,
            "rate_hz": config.rate_hz,
            "latency_s": config.latency_s,
        },
        lifecycle=(f"/camera_{config.name}",),
    )


def policy(station: Station, model_folder: Path) -> Process:
    """The process that plans."""
    return Process(
        name="policy_node",
        package="glam_ros",
        executable="policy_node",
        parameters={
            "model_folder": str(model_folder.resolve()),
            "cameras": tuple(camera.name for camera in station.cameras),
            "camera_topics": tuple(camera.topic for camera in station.cameras),
            **_arms(station),
            "max_age_s": station.max_observation_age_s,
        },
        lifecycle=("/policy_node",),
    )


def decoder(station: Station, model_folder: Path) -> Process:
    """The process that turns plans into commands."""
    return Process(
        name="decoder_node",
        package="glam_ros",
        executable="decoder_node",
        parameters={
            "model_folder": str(model_folder.resolve()),
            **_arms(station),
            "rate_hz": station.rates.control_hz,
        },
        lifecycle=("/decoder_node",),
    )


def monitor() -> Process:
    """The process that watches the others."""
    return Process(name="monitor", package="glam_ros", executable="monitor")


def _arms(station: Station) -> dict[str, Value]:
    return {
        "arms": tuple(arm.name for arm in station.arms),
        "namespaces": tuple(arm.namespace for arm in station.arms),
    }
