"""The graph description, and the two ways in: launch files and the command line of every process."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from toy_model import write_toy_model

import glam_ros
from glam_core.errors import ConfigurationError, ModelFolderError
from glam_ros import resources, supervisor, topics
from glam_ros.camera_node import CameraParameters
from glam_ros.decoder_node import DecoderParameters
from glam_ros.graph import Graph, Place, Process, Simulation, deployment, robot
from glam_ros.policy_node import PolicyParameters
from kinova_driver.driver_node import DriverParameters
from kinova_driver.simulated_cell import CellParameters

pytestmark = pytest.mark.ros

PARAMETERS = {
    "camera_node": CameraParameters,
    "policy_node": PolicyParameters,
    "decoder_node": DecoderParameters,
    "driver_node": DriverParameters,
    "simulated_cell": CellParameters,
}
SAFETY = {"workspace_min": [0.2, -0.4, 0.0], "workspace_max": [0.8, 0.4, 0.5]}
TWO_REAL_ARMS = {
    "name": "lab",
    "safety": SAFETY,
    "arms": [
        {"name": side, "backend": "kortex", "address": f"192.168.1.1{number}", "namespace": f"/{side}"}
        for number, side in enumerate(("left", "right"))
    ],
    "cameras": [
        {"name": "front", "source": 0, "width": 640, "height": 480, "topic": "front/color"},
        {"name": "wrist", "source": "rtsp://192.168.1.10/color", "width": 640, "height": 480, "latency_s": 0.08},
    ],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_toy_model(tmp_path / "toy", task="stack_two")
    return tmp_path / "toy"


@pytest.fixture
def simulated() -> Place:
    return Place.read(resources.station_file("sim"))


@pytest.fixture
def real(tmp_path: Path) -> Place:
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(TWO_REAL_ARMS), encoding="utf-8")
    return Place.read(path)


def by_name(graph: Graph) -> dict[str, Process]:
    return {topics.of_arm(process.namespace, process.name): process for process in graph.processes}


def test_the_simulated_graph_runs_the_models_task(simulated: Place, model: Path) -> None:
    processes = by_name(deployment(simulated, model))
    assert list(processes) == ["/simulated_cell", "/driver", "/policy_node", "/decoder_node", "/monitor"]
    assert processes["/simulated_cell"].parameters["task"] == "stack_two"
    assert processes["/simulated_cell"].lifecycle == ()
    assert processes["/driver"].lifecycle == ("/driver",)
    chosen = by_name(deployment(simulated, model, Simulation("lift", 7)))["/simulated_cell"].parameters
    assert (chosen["task"], chosen["seed"]) == ("lift", 7)


def test_the_real_graph_has_a_driver_per_arm_and_a_process_per_camera(real: Place, model: Path) -> None:
    processes = by_name(deployment(real, model))
    assert list(processes)[:4] == ["/left/driver", "/right/driver", "/camera_front", "/camera_wrist"]
    assert processes["/right/driver"].parameters["arm"] == "right"
    assert processes["/camera_front"].parameters["source"] == "0"
    assert processes["/camera_wrist"].parameters["latency_s"] == 0.08
    assert processes["/policy_node"].parameters["camera_topics"] == ("front/color", "camera/wrist/image_raw")
    assert processes["/decoder_node"].parameters["namespaces"] == ("/left", "/right")
    assert deployment(real, model).lifecycle[:2] == ("/left/driver", "/right/driver")


def test_recording_needs_no_model(simulated: Place) -> None:
    assert [process.name for process in robot(simulated, Simulation("lift")).processes] == ["simulated_cell", "driver"]


def test_two_simulated_arms_have_a_driver_each(model: Path) -> None:
    place = Place.read(resources.station_file("sim_two"))
    processes = by_name(deployment(place, model, Simulation("stack_three")))
    assert list(processes)[:3] == ["/simulated_cell", "/left/driver", "/right/driver"]
    assert deployment(place, model).lifecycle[:2] == ("/left/driver", "/right/driver")


def test_the_hand_held_gripper_is_driven_in_the_process_of_its_cell(simulated: Place) -> None:
    (cell,) = robot(simulated, Simulation("lift", embodiment="umi")).processes
    assert cell.lifecycle == ("/driver",)


def test_no_two_processes_of_a_graph_have_one_label(real: Place, model: Path) -> None:
    labels = [process.label for process in deployment(real, model).processes]
    assert labels[:3] == ["left/driver", "right/driver", "camera_front"]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("place", ["simulated", "real"])
def test_every_parameter_is_one_that_its_node_declares(place: str, model: Path, request: pytest.FixtureRequest) -> None:
    for process in deployment(request.getfixturevalue(place), model).processes:
        if process.parameters:
            declared = {field.name for field in dataclasses.fields(PARAMETERS[process.executable])}
            assert set(process.parameters) <= declared


@pytest.mark.parametrize("place", ["simulated", "real"])
def test_every_process_has_a_main_that_can_be_found(place: str, model: Path, request: pytest.FixtureRequest) -> None:
    for process in deployment(request.getfixturevalue(place), model).processes:
        module = importlib.import_module(f"{process.package}.{process.executable}")
        assert callable(module.main)
        assert supervisor.command_line(process)[0] == sys.executable


def test_names_and_parameters_become_ros_arguments(real: Place, model: Path) -> None:
    arguments = supervisor.ros_arguments(by_name(deployment(real, model))["/left/driver"])
    assert arguments[:5] == ["--ros-args", "-r", "__node:=driver", "-r", "__ns:=/left"]
    assert 'arm:="left"' in arguments


def test_the_driver_of_an_arm_runs_with_its_own_python(real: Place, model: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n", encoding="utf-8")
    python.chmod(0o755)
    left, right = real.station.arms
    arms = (left.model_copy(update={"interpreter": "python"}), right)
    place = Place(tmp_path / "station.yaml", real.station.model_copy(update={"arms": arms}))
    processes = by_name(deployment(place, model))
    assert supervisor.command_line(processes["/left/driver"])[0] == str(python)
    assert supervisor.command_line(processes["/right/driver"])[0] == sys.executable
    python.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"interpreter of the arm 'left' is no program: .*make kortex-env"):
        deployment(place, model)


def test_an_executable_that_is_nowhere_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"lib/glam_ros/polcy_node was found; set the project up"):
        supervisor.command_line(Process("policy", "glam_ros", "polcy_node"))


def test_an_installed_executable_is_taken_where_there_is_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "lib" / "elsewhere" / "driver"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    assert supervisor.command_line(Process("driver", "elsewhere", "driver"))[0] == str(program)


def test_a_folder_without_a_model_is_refused(simulated: Place, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        deployment(simulated, tmp_path)


def test_unknown_stations_and_models_list_the_shipped_ones() -> None:
    with pytest.raises(ConfigurationError, match="unknown station 'simm'.*did you mean 'sim'"):
        resources.station_file("simm")
    with pytest.raises(ModelFolderError, match="unknown model 'nothing'.*give the path of a model folder"):
        resources.model_folder("nothing")


def test_rviz_shows_topics_that_the_graph_publishes(simulated: Place) -> None:
    view = yaml.safe_load((resources.folder("config") / "rviz" / "glam.rviz").read_text(encoding="utf-8"))
    shown = {each["Topic"]["Value"] for each in view["Visualization Manager"]["Displays"] if "Topic" in each}
    published = {f"/{camera.topic}" for camera in simulated.station.cameras}
    assert shown == published | {"/scene_markers", f"/{topics.PREDICTED_PATH}", f"/{topics.TOOL_PATH}"}
    assert view["Visualization Manager"]["Global Options"]["Fixed Frame"] == topics.base_frame("")


# Launch files: run with the real launch where it is installed, with stand-ins that keep what they are given elsewhere.


class Action:
    """Stands in for any class of launch: keeps its arguments under launch's own names."""

    def __init__(self, *positional: object, **named: object) -> None:
        self.positional, self.named = positional, named


def stand_ins(given: dict[str, str]) -> dict[str, ModuleType]:
    """Modules that look like launch to the launch files."""

    class Configuration(Action):
        def perform(self, _context: object) -> str:
            return given[self.positional[0]]

    names = {
        "launch": ("LaunchContext", "LaunchDescription"),
        "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable", "Shutdown"),
        "launch.substitutions": (),
        "launch_ros": (),
        "launch_ros.actions": ("Node",),
    }
    modules = {name: ModuleType(name) for name in names}
    for name, classes in names.items():
        for each in classes:
            setattr(modules[name], each, type(each, (Action,), {}))
    modules["launch.substitutions"].LaunchConfiguration = Configuration
    return modules


KINDS = ["stand-ins", *(["installed"] if importlib.util.find_spec("launch_ros") else [])]


@pytest.fixture(params=KINDS)
def launch_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in [name for name in sys.modules if name.split(".")[0] in ("launch", "launch_ros")]:
        monkeypatch.delitem(sys.modules, name)
    forget_launching()
    yield request.param
    forget_launching()


def forget_launching() -> None:
    """Makes the next import of glam_ros.launching look at launch again."""
    sys.modules.pop("glam_ros.launching", None)
    if hasattr(glam_ros, "launching"):
        del glam_ros.launching


def started(kind: str, file: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Runs a launch file with these arguments: package and executable of every node that it starts."""
    if kind == "stand-ins":
        for name, module in stand_ins(given).items():
            monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("launch_file", resources.folder("launch") / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate_launch_description()
    from launch import LaunchContext
    from launch_ros.actions import Node

    context = LaunchContext()
    if kind == "installed":
        context.launch_configurations.update(given)
    nodes = [action for action in module.start(context) if isinstance(action, Node)]
    if kind == "stand-ins":
        return [(node.named["package"], node.named["executable"]) for node in nodes]
    return [(node.node_package, node.node_executable) for node in nodes]


@pytest.mark.parametrize("station", ["", "sim"])
def test_the_deploy_launch_file_starts_the_graph(
    launch_kind: str, model: Path, monkeypatch: pytest.MonkeyPatch, station: str
) -> None:
    given = {"model": str(model), "station": station, "task": "", "seed": "3"}
    nodes = started(launch_kind, "deploy.launch.py", given, monkeypatch)
    assert nodes == [
        ("kinova_driver", "simulated_cell"),
        ("kinova_driver", "driver_node"),
        ("glam_ros", "policy_node"),
        ("glam_ros", "decoder_node"),
        ("glam_ros", "monitor"),
    ]


def test_the_sim_launch_file_starts_the_robot_alone(launch_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"station": "sim", "task": "lift", "seed": "0", "embodiment": "umi"}
    nodes = started(launch_kind, "sim.launch.py", given, monkeypatch)
    assert nodes == [("kinova_driver", "simulated_cell")]
