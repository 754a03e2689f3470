"""The set-up says what a machine lacks, and `source scripts/env.sh` gives a shell in which everything is found."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("bash", "env", "id", "grep", "ldconfig", "uname", "cc", "c++")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what a machine has that can be set up, and no package manager."""
    for tool in TOOLS:
        if found := shutil.which(tool, path="/usr/bin:/bin:/usr/sbin:/sbin"):
            (tmp_path / tool).symlink_to(found)
    (tmp_path / "python3").symlink_to(Path(sys.prefix) / "bin" / "python")
    return tmp_path


def check_system(path: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [path / "bash", ROOT / "scripts" / "check_system.sh"],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_complete_machine_passes_and_its_python_is_named(tools: Path) -> None:
    result = check_system(tools)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tools / "python3")


def test_a_missing_compiler_is_named_where_nothing_can_be_installed(tools: Path) -> None:
    (tools / "c++").unlink()
    result = check_system(tools)
    assert result.returncode == 1
    assert "g++" in result.stderr
    assert "make again" in result.stderr


def test_a_missing_python_is_named(tools: Path) -> None:
    result = check_system(tools, PYTHON="python3.9")
    assert result.returncode == 1
    assert "python3-venv" in result.stderr


def test_the_one_line_that_installs_is_printed_to_a_person_without_root(tools: Path) -> None:
    (tools / "c++").unlink()
    for name, body in {"apt-get": "exit 99", "id": "echo 1000", "sudo": "exit 1"}.items():
        (tools / name).unlink(missing_ok=True)
        (tools / name).write_text(f"#!{tools / 'bash'}\n{body}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    result = check_system(tools)
    assert result.returncode == 1
    assert "sudo apt-get install -y g++" in result.stderr


@pytest.mark.ros
def test_the_environment_script_gives_ros_and_the_message_types() -> None:
    result = subprocess.run(
        ["bash", "-c", 'source scripts/env.sh && python -c "import rclpy, glam_msgs.msg, glam_ros" && command -v glam'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(ROOT / ".venv" / "bin" / "glam")


@pytest.mark.ros
def test_the_type_of_tf_is_the_one_of_a_full_installation() -> None:
    """The hash of tf2_msgs/msg/TFMessage in Jazzy: a listener on a full installation understands what is broadcast."""
    code = """
import rclpy
from tf2_msgs.msg import TFMessage
rclpy.init()
node = rclpy.create_node("type_of_tf")
node.create_publisher(TFMessage, "type_of_tf", 1)
print(node.get_publishers_info_by_topic("/type_of_tf")[0].topic_type_hash)
"""
    result = subprocess.run(
        ["bash", "-c", 'source scripts/env.sh && exec python -c "$0"', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087" in result.stdout
