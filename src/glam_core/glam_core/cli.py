"""The command `glam`: one subcommand per stage of the pipeline, imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from glam_core.errors import GlamError, closest


@dataclass(frozen=True)
class Command:
    """A subcommand: where its function is, and what it does in one line."""

    target: str
    summary: str


# In the order of the pipeline.
COMMANDS = {
    "demos": Command("glam_training.demos:main", "record demonstrations of the scripted experts into a store"),
    "train": Command("glam_training.train:main", "train: stage 1 (GLAM), stage 2 (latent policy), or the MIP baseline"),
    "probe": Command("glam_training.probe:main", "check a stage 1 model before a policy is trained on it"),
    "transfer": Command("glam_training.transfer:main", "replay unseen episodes of any source from their latents"),
    "relabel": Command("glam_training.relabel:main", "label every transition of a store with its latent action"),
    "eval": Command("glam_training.evaluate:main", "roll a policy out in simulation: n, success, interval, video"),
    "export": Command("glam_training.export:main", "write a model folder: ONNX, manifest, golden vectors, card"),
    "bench": Command("glam_training.bench:main", "run the whole loop in miniature and print the table"),
    "import": Command("glam_training.data.importers:main", "put recordings of the robot or of others into a store"),
    "up": Command("glam_ros.cli:up", "start the graph of nodes of a station with a model"),
    "record": Command("glam_ros.cli:record", "record episodes of the running graph"),
    "demo": Command("glam_ros.cli:demo", "run episodes through the live graph and report"),
}

# What a missing package means: the part that it belongs to, and how to get it.
INSTALLS = {
    "torch": "the training install: pip install -r requirements/training.txt",
    "lightning": "the training install: pip install -r requirements/training.txt",
    "zarr": "the training install: pip install -r requirements/training.txt",
    "tyro": "the training install: pip install -r requirements/training.txt",
    "mujoco": "the simulation: pip install mujoco",
    "glam_training": "the package glam_training: make setup",
    "glam_sim": "the package glam_sim: make setup",
    "glam_ros": "the package glam_ros: make setup",
    "glam_msgs": "the ROS 2 messages: make setup, then source the workspace",
    "rclpy": "ROS 2: make setup, or source a ROS 2 installation",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `glam <command> ...`; see `dispatch`."""
    return dispatch("glam", COMMANDS, "The pipeline, in order:", arguments)


def usage() -> str:
    """The pipeline in order, one line per command."""
    return _usage("glam", COMMANDS, "The pipeline, in order:")


def dispatch(program: str, commands: Mapping[str, Command], title: str, arguments: Sequence[str] | None = None) -> int:
    """Runs `<program> <command> ...`.

    Args:
        program: What the program is called.
        commands: Its commands, by name.
        title: What stands above them in the help.
        arguments: Everything after the program; the command line's by default.

    Returns:
        The exit code: 0 done, 1 an error of the command, 2 an error in the call.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_usage(program, commands, title))
        return 0
    name, *rest = given
    if name not in commands:
        sys.stderr.write(f"{program}: {closest(name, commands, 'command')}\n")
        return 2
    return _run(program, name, commands[name].target, rest)


def _usage(program: str, commands: Mapping[str, Command], title: str) -> str:
    width = max(8, *map(len, commands))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join([f"usage: {program} <command> [--help] ...", "", title, *lines, ""])


def _run(program: str, name: str, target: str, arguments: list[str]) -> int:
    module_name, function_name = target.split(":")
    before = sys.argv
    sys.argv = [f"{program} {name}", *arguments]
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        return int(function() or 0)
    except ModuleNotFoundError as error:
        root = (error.name or "").split(".")[0]
        if root not in INSTALLS:
            raise
        sys.stderr.write(f"{program} {name} needs '{error.name}', which is not installed. Get {INSTALLS[root]}\n")
        return 1
    except GlamError as error:
        sys.stderr.write(f"{program} {name}: {error}\n")
        return 1
    finally:
        sys.argv = before
