"""The command `glam`."""

import subprocess
import sys
import types

import pytest

from glam_core import cli
from glam_core.cli import COMMANDS, Command, main
from glam_core.errors import DataError


@pytest.fixture
def stage(monkeypatch):
    """A command whose function can be chosen by the test."""
    module = types.ModuleType("a_stage")
    monkeypatch.setitem(sys.modules, "a_stage", module)
    monkeypatch.setitem(cli.COMMANDS, "train", Command("a_stage:main", "a stage"))
    return module


def test_alone_it_prints_the_pipeline_in_order(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == list(COMMANDS)
    assert listed[:5] == ["demos", "train", "probe", "transfer", "relabel"]
    assert main(["--help"]) == 0


def test_an_unknown_command_lists_the_legal_ones(capsys):
    assert main(["exprot"]) == 2
    message = capsys.readouterr().err
    assert "unknown command 'exprot'; legal: demos, train" in message
    assert "did you mean 'export'?" in message


def test_arguments_are_handed_on(stage, monkeypatch):
    seen = []
    stage.main = lambda: seen.append(list(sys.argv))
    monkeypatch.setattr(sys, "argv", ["glam", "train", "--seed", "3"])
    assert main() == 0
    assert seen == [["glam train", "--seed", "3"]]
    assert sys.argv == ["glam", "train", "--seed", "3"]


def test_the_exit_code_is_the_commands(stage):
    stage.main = lambda: 3
    assert main(["train"]) == 3


def test_errors_of_the_project_are_printed_without_a_traceback(stage, capsys):
    def fail():
        raise DataError("no store at demos.zarr")

    stage.main = fail
    assert main(["train"]) == 1
    assert capsys.readouterr().err == "glam train: no store at demos.zarr\n"


def test_other_errors_are_not_hidden(stage):
    def fail():
        raise ZeroDivisionError

    stage.main = fail
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_a_missing_install_is_explained(stage, capsys):
    def fail():
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    stage.main = fail
    assert main(["train"]) == 1
    assert "glam train needs 'torch.nn', which is not installed" in capsys.readouterr().err


def test_a_missing_module_of_our_own_is_not_hidden(stage):
    def fail():
        raise ModuleNotFoundError("No module named 'unknown_thing'", name="unknown_thing")

    stage.main = fail
    with pytest.raises(ModuleNotFoundError):
        main(["train"])


def test_runs_as_a_module():
    output = subprocess.run([sys.executable, "-m", "glam_core", "--help"], check=True, capture_output=True, text=True)
    assert output.stdout == cli.usage()
