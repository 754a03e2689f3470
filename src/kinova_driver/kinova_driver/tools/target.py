"""Which arm a tool works on: one of a station file, perhaps at another address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from glam_core.station import ArmConfig, Station, load_station

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Target:
    """One arm of a station."""

    station: Annotated[Path, tyro.conf.Positional]
    """Path of the station file."""
    arm: str = ""
    """Name of the arm in it; the first one where it is empty."""
    address: str = ""
    """Where the arm is, instead of the station file's address."""
    tcp_port: int = 0
    """Where it takes commands, instead of the station file's; 0 for that one."""
    udp_port: int = 0
    """Where it gives feedback, instead of the station file's; 0 for that one."""

    def load(self) -> tuple[Station, ArmConfig]:
        """The station, and the arm where the options say that it is; a simulated one is on this computer.

        Raises:
            ConfigurationError: The station file is wrong, or has no such arm.
        """
        station = load_station(self.station)
        config = station.arm(self.arm or station.arm_names[0])
        where: dict[str, object] = {"address": self.address or config.address or _LOOPBACK}
        where |= {name: port for name in ("tcp_port", "udp_port") if (port := getattr(self, name))}
        return station, ArmConfig.model_validate(config.model_dump() | where)
