"""The files that describe the workspace agree with the code."""

import ast
import contextlib
import json
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/package.xml"))
PYTHON_PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/setup.py"))

ROS_MODULES = {
    "ament_index_python",
    "builtin_interfaces",
    "cv_bridge",
    "diagnostic_msgs",
    "geometry_msgs",
    "glam_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "nav_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "tf2_ros",
    "trajectory_msgs",
    "visualization_msgs",
}

# import name -> distribution, where they differ
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "lightning_fabric": "lightning",
    "ruamel": "ruamel-yaml",
    "yaml": "pyyaml",
}


def top_level_imports(package: str) -> set[str]:
    """Collects the first part of every module that a package imports, at any depth of its code."""
    files = [*(SOURCE / package / package).rglob("*.py")]
    if package == "glam_ros":
        files += (ROOT / "launch").glob("*.py")
    modules = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules.add(node.module.partition(".")[0])
    return modules


def manifest(package: str) -> ElementTree.Element:
    return ElementTree.parse(SOURCE / package / "package.xml").getroot()


def dependencies(package: str) -> set[str]:
    """Names every dependency that a package.xml declares, of whatever kind."""
    return {element.text or "" for element in manifest(package) if element.tag.endswith("depend")}


def setup_arguments(package: str) -> dict:
    """Runs a setup.py and hands back what it passes to setuptools."""
    with mock.patch("setuptools.setup") as setup, contextlib.chdir(SOURCE / package):
        runpy.run_path("setup.py")
    return setup.call_args.kwargs


def requirements(name: str) -> set[str]:
    """Names the distributions that a requirement file brings, those of the files that it includes as well."""
    names = set()
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r"):
            names |= requirements(line.split()[1])
        elif line and not line.startswith("-"):
            names.add(normalised(re.split(r"[\[=<>~ ]", line)[0]))
    return names


def normalised(distribution: str) -> str:
    """Writes the name of a distribution the way in which package indices compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_colcon_meta_parses_and_names_real_packages() -> None:
    meta = json.loads((ROOT / "colcon.meta").read_text(encoding="utf-8"))
    assert set(meta) == {"names"}
    unknown = set(meta["names"]) - set(PACKAGES)
    assert not unknown, f"colcon.meta names {sorted(unknown)}; the packages are {PACKAGES}"
    for name, options in meta["names"].items():
        assert all(isinstance(argument, str) for argument in options["cmake-args"]), name


@pytest.mark.parametrize("package", PACKAGES)
def test_package_xml_describes_its_package(package: str) -> None:
    root = manifest(package)
    assert root.findtext("name") == package
    assert re.fullmatch(r"\d+\.\d+\.\d+", root.findtext("version", ""))
    assert root.findtext("description")
    assert root.findtext("license")
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", root.find("maintainer").get("email"))
    build_type = "ament_python" if package in PYTHON_PACKAGES else "ament_cmake"
    assert root.findtext("export/build_type") == build_type


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_package_xml_declares_what_the_code_imports(package: str) -> None:
    imported = top_level_imports(package) & (ROS_MODULES | set(PACKAGES))
    missing = imported - dependencies(package) - {package}
    assert not missing, f"src/{package}/package.xml lacks <exec_depend> for {sorted(missing)}"


def test_package_xml_declares_the_ros_parts_that_are_used_where_installed() -> None:
    assert {"rclpy", "launch", "launch_ros", "ros2launch", "cv_bridge"} <= dependencies("glam_ros")


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_setup_agrees_with_package_xml(package: str) -> None:
    arguments = setup_arguments(package)
    assert arguments["name"] == package
    assert arguments["version"] == manifest(package).findtext("version")
    assert package in arguments["packages"], f"src/{package}/{package}/__init__.py is missing"
    assert (SOURCE / package / "resource" / package).exists()
    assert ("share/ament_index/resource_index/packages", [f"resource/{package}"]) in arguments["data_files"]


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_entry_points_exist(package: str) -> None:
    for entry in setup_arguments(package).get("entry_points", {}).get("console_scripts", []):
        module, _, function = entry.partition("=")[2].strip().partition(":")
        path = SOURCE / package / (module.replace(".", "/") + ".py")
        assert path.exists(), f"{entry}: {path.relative_to(ROOT)} is missing"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function in defined, f"{entry}: {path.relative_to(ROOT)} has no function {function}"


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_nodes_land_where_ros2_run_looks(package: str) -> None:
    text = (SOURCE / package / "setup.cfg").read_text(encoding="utf-8")
    folder = "bin" if package == "glam_core" else f"lib/{package}"
    assert f"script_dir=$base/{folder}" in text
    assert f"install_scripts=$base/{folder}" in text


def test_launch_files_models_and_configuration_are_installed_with_glam_ros() -> None:
    installed = {
        f"{folder.removeprefix('share/glam_ros/')}/{Path(file).name}"
        for folder, files in setup_arguments("glam_ros")["data_files"]
        for file in files
        if folder.startswith("share/glam_ros/")
    }
    there = {
        str(path.relative_to(ROOT))
        for folder in ("launch", "models", "config")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"launch/deploy.launch.py", "config/fastdds.xml"} <= there
    assert installed == there


def test_every_required_distribution_has_an_exact_version() -> None:
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line) for line in pins)
    pinned = {normalised(line.partition("==")[0]) for line in pins}
    for path in (ROOT / "requirements").glob("*.txt"):
        if path.name != "constraints.txt":
            missing = requirements(path.name) - pinned
            assert not missing, f"{path.name} asks for {sorted(missing)}, which constraints.txt does not pin"


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("glam_core", "robot.txt"),
        ("glam_ros", "demo.txt"),
        ("kinova_driver", "demo.txt"),
        ("glam_sim", "demo.txt"),
        ("glam_training", "cluster.txt"),  # the training, and Ray where it is wanted
    ],
)
def test_requirements_bring_what_the_code_imports(package: str, file: str) -> None:
    known = {*sys.stdlib_module_names, *ROS_MODULES, *PACKAGES, "_typeshed"}
    third_party = top_level_imports(package) - known
    missing = {DISTRIBUTIONS.get(module, normalised(module)) for module in third_party} - requirements(file)
    assert not missing, f"{package} imports {sorted(missing)}, which requirements/{file} does not bring"


def test_the_robot_needs_neither_torch_nor_the_simulator() -> None:
    assert not requirements("robot.txt") & {"torch", "lightning", "mujoco"}
    assert "torch" not in requirements("demo.txt")


def test_discovery_profile_is_well_formed() -> None:
    namespace = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"
    root = ElementTree.parse(ROOT / "config" / "fastdds.xml").getroot()
    segment = int(root.find(f".//{namespace}segment_size").text)
    assert segment >= 20 * 640 * 480 * 3


def test_make_prints_its_targets() -> None:
    listing = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "loop", "setup", "setup-robot", "lint", "format", "build", "clean"):
        assert re.search(rf"^  make {target} ", listing, re.MULTILINE), f"make help does not list {target}"


def test_continuous_integration_runs_the_tests() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    assert "make test" in run.read_text(encoding="utf-8")
