"""The arrows of docs/architecture.md: which package may import which. Imports inside functions count, too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"

WORKSPACE = {"glam_core", "glam_msgs", "glam_ros", "glam_sim", "glam_training", "kinova_driver"}
ROS = {"rclpy", "launch", "launch_ros", "ament_index_python", "cv_bridge"}

ALLOWED = {
    "glam_core": set(),
    "glam_sim": {"glam_core"},
    "glam_training": {"glam_core", "glam_sim"},
    "glam_ros": {"glam_core", "glam_msgs"},
    "kinova_driver": {"glam_core", "glam_msgs", "glam_sim"},
}
NEVER = {
    "glam_core": {"torch", "mujoco"} | ROS,
    "glam_sim": {"torch"} | ROS,
    "glam_training": ROS,
    "glam_ros": {"torch", "mujoco"},
    "kinova_driver": {"torch"},
}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yields (line, module) of every import of a Python source, wherever it stands; relative ones stay inside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and is_import_call(node.func):
            names = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, name) for name in names if isinstance(name, str))


def is_import_call(function: ast.expr) -> bool:
    """Tells whether an expression is `import_module`, `importlib.import_module` or `__import__`."""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def violations(package: str, path: Path, source: str) -> list[str]:
    """Names the imports of a file that the architecture forbids, with what the package may import instead."""
    found = []
    for line, module in imports(source):
        top = module.partition(".")[0]
        if top in NEVER[package] or top in WORKSPACE - ALLOWED[package] - {package}:
            allowed = ", ".join(sorted(ALLOWED[package])) or "no other package of the workspace"
            found.append(f"{path}:{line} imports {module}; {package} may import {allowed} and never {top}")
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_the_architecture_allows(package: str) -> None:
    files = sorted((SOURCE / package / package).rglob("*.py"))
    assert files, f"{package} has no Python files below {SOURCE / package / package}"
    found = [
        message
        for path in files
        for message in violations(package, path.relative_to(SOURCE.parent), path.read_text(encoding="utf-8"))
    ]
    assert not found, "docs/architecture.md forbids:\n" + "\n".join(found)


def imported_when_loaded(path: Path) -> set[str]:
    """Names the modules that a file imports at its top, `from package import module` included."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_driver_of_the_real_arm_loads_without_the_simulator() -> None:
    waiting, seen = ["kinova_driver.driver_node"], set()
    while waiting:
        module = waiting.pop()
        path = SOURCE / "kinova_driver" / (module.replace(".", "/") + ".py")
        if module in seen or not path.exists():
            continue
        seen.add(module)
        loaded = imported_when_loaded(path)
        simulator = {name for name in loaded if name.partition(".")[0] in ("glam_sim", "mujoco")}
        assert not simulator, f"{module} is loaded with the driver node and imports {sorted(simulator)}"
        waiting += loaded
    assert "kinova_driver.watchdog" in seen


def test_every_package_of_the_workspace_has_its_arrows() -> None:
    python_packages = {path.parent.name for path in SOURCE.glob("*/setup.py")}
    assert python_packages == set(ALLOWED) == set(NEVER)


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import torch.nn as nn",
        "from torch import nn",
        "def late():\n    from torch import nn",
        "import importlib\nimportlib.import_module('torch.nn')",
        "from glam_training.train import main",
    ],
)
def test_a_forbidden_import_is_found_wherever_it_stands(source: str) -> None:
    (message,) = violations("glam_core", Path("example.py"), source)
    assert "example.py:" in message
    assert "glam_core may import" in message


def test_own_modules_and_similar_names_are_no_violation() -> None:
    assert not violations(
        "glam_core", Path("example.py"), "from . import torch\nimport torchless\nimport glam_core.pose"
    )
