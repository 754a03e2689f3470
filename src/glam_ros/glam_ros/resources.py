"""Where the folders that are shipped with the project lie: config, models, launch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from glam_core.errors import ConfigurationError, ModelFolderError, closest
from glam_core.manifest import MANIFEST_FILE

DEFAULT_STATION = "sim"
SIMULATED_PAIR = "sim_two"
DDS_PROFILE = "fastdds.xml"


def folder(name: str) -> Path:
    """The shipped folder `name`: of the working copy, or of an installed glam_ros.

    Raises:
        ConfigurationError: It is in neither.
    """
    for base in _bases():
        if (base / name).is_dir():
            return base / name
    raise ConfigurationError(f"the project's folder {name}/ was not found; run from a checkout, or install glam_ros")


def station_file(name: str | Path) -> Path:
    """A station file, by its path or by the name of a shipped one.

    Raises:
        ConfigurationError: There is none; the message lists the shipped ones.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = {path.stem: path for path in sorted((folder("config") / "stations").glob("*.yaml"))}
    if str(name) not in shipped:
        raise ConfigurationError(closest(str(name), shipped, "station") + "; or give the path of a station file")
    return shipped[str(name)]


def simulated_station(arms: Sequence[str]) -> str:
    """Name of the shipped simulated cell for a model of these arms."""
    return DEFAULT_STATION if len(arms) == 1 else SIMULATED_PAIR


def model_folder(name: str | Path) -> Path:
    """A model folder, by its path or by the name of a shipped one.

    Raises:
        ModelFolderError: There is none; the message lists the shipped ones.
    """
    if Path(name).is_dir():
        return Path(name)
    models = shipped_models()
    if str(name) not in models:
        raise ModelFolderError(closest(str(name), models, "model") + "; or give the path of a model folder")
    return models[str(name)]


def shipped_models() -> dict[str, Path]:
    """Name to folder of every shipped model; empty where none is shipped."""
    return {
        path.parent.name: path.parent
        for base in _bases()
        if (base / "models").is_dir()
        for path in sorted((base / "models").glob(f"*/{MANIFEST_FILE}"))
    }


def graph_environment(domain: int | None, station_domain: int = 0) -> dict[str, str]:
    """Variables that every process of a graph runs with; what the shell has set already stays.

    Args:
        domain: ROS domain of the graph, None for the shell's, or else the station's.
        station_domain: The station's.
    """
    variables = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(station_domain)}
    profile = folder("config") / DDS_PROFILE
    if profile.is_file():
        variables["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
    variables = {name: os.environ.get(name, value) for name, value in variables.items()}
    return variables if domain is None else variables | {"ROS_DOMAIN_ID": str(domain)}


def _bases() -> Iterator[Path]:
    """Folders that hold the shipped ones: the package's own in a checkout, share/glam_ros in an installation."""
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    for base in (Path(__file__).resolve().parents[1], *(Path(prefix, "share", "glam_ros") for prefix in prefixes)):
        if (base / "package.xml").is_file():
            yield base
