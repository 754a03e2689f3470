"""The whole graph as real processes: it becomes ready, moves the simulated arm, and ends without leaving anything behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_model import write_toy_model

from glam_core.errors import ModelFolderError
from glam_ros import report, resources, supervisor
from glam_ros.demo import DemoOptions, expected_rates, free_domain, run
from glam_ros.choice import Choice
from glam_ros.graph import Graph, Place, Process, Simulation, deployment
from glam_ros.live import GraphError, Interrupted, LiveGraph
from glam_ros.watching import COMMANDS, JOINT_STATES, POLICY_AND_DECODER, TO_DRIVER, EpisodeRecord
from glam_core.manifest import read_manifest

pytestmark = [pytest.mark.ros, pytest.mark.sim]

READY_S, PATIENCE_S = 60.0, 30.0


def shared_memory() -> set[str]:
    """The shared-memory files of FastDDS that belong to processes of ours, by the user who made them."""
    return {name for name in os.listdir("/dev/shm") if name.startswith("fastrtps")} if sys.platform == "linux" else set()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def place() -> Place:
    return Place.read(resources.station_file("sim"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_toy_model(tmp_path / "toy", cameras=("front", "side"), motion=(0.0, 0.0, 0.01))
    return tmp_path / "toy"
