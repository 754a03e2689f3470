"""Starts the processes of a graph, passes their output on, and ends them all: no orphan, no shared memory is left."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from glam_core.errors import ConfigurationError
from glam_ros.graph import Process

Sink = Callable[[str, str], object]
"""Takes the label of a process and one line of its output; called from threads, one at a time."""

STEPS = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
"""Signals that end a process, and the time that it is given after each, s."""

READER_S = 2.0

PR_SET_PDEATHSIG = 1


def command_line(process: Process) -> list[str]:
    """How to start a process: as a module of its interpreter, or as an installed executable of a ROS package.

    Raises:
        ConfigurationError: Neither is there.
    """
    module = f"{process.package}.{process.executable}"
    if _importable(module):
        python = process.interpreter or sys.executable
        start = [python, "-c", f"import sys; from {module} import main; sys.exit(main())"]
    elif installed := _installed_executable(process.package, process.executable):
        start = [process.interpreter, str(installed)] if process.interpreter else [str(installed)]
    else:
        raise ConfigurationError(
            f"neither the module {module} nor the executable lib/{process.package}/{process.executable} was found; "
            "set the project up with `make setup`, or build the workspace and source install/setup.bash"
        )
    return start + ros_arguments(process)


def ros_arguments(process: Process) -> list[str]:
    """The ROS arguments of a process: node name, namespace, remappings, parameters."""
    arguments = ["--ros-args"]
    names = (("__node", process.name if process.renames else ""), ("__ns", process.namespace))
    for old, new in (*((key, name) for key, name in names if name), *process.remappings):
        arguments += ["-r", f"{old}:={new}"]
    for name, value in process.parameters.items():
        # A list without elements has no type for rcl; leaving it out means the same, since it is every list's default.
        if value != ():
            arguments += ["-p", f"{name}:={json.dumps(list(value) if isinstance(value, tuple) else value)}"]
    return arguments


class Supervisor:
    """The running processes of a graph. A context manager: leaving it ends them all."""

    def __init__(self, processes: Iterable[Process], sink: Sink, environment: Mapping[str, str] | None = None) -> None:
        """Starts every process.

        Args:
            processes: What to start.
            sink: Takes every line of their output, with the label of the process.
            environment: Variables to set on top of this process's own.
        """
        self._sink, self._sink_lock = sink, threading.Lock()
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        # Unbuffered, so that a line arrives when it is written.
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0", **(environment or {})}
        try:
            for process in processes:
                self._start(process, variables)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Label of a process to its id."""
        return {name: running.pid for name, running in self._running.items()}

    def ended(self) -> dict[str, int]:
        """The processes that are over, with their exit status; one that a signal ended has a negative one."""
        return {name: running.returncode for name, running in self._running.items() if running.poll() is not None}

    def stop(self) -> None:
        """Ends every process, the patient way first, and removes what a killed one left in shared memory."""
        killed = False
        for number, patience_s in STEPS:
            alive = [running for running in self._running.values() if running.poll() is None]
            killed |= bool(alive) and number is signal.SIGKILL
            for running in alive:
                running.send_signal(number)
            _wait(alive, patience_s)
        for reader in self._readers:
            reader.join(timeout=READER_S)
        if killed:
            clean_shared_memory()

    def _start(self, process: Process, variables: Mapping[str, str]) -> None:
        running = subprocess.Popen(
            command_line(process),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(variables),
            # A session of its own: the terminal's Ctrl-C reaches this process alone, which passes it on once, in order.
            start_new_session=True,
            preexec_fn=self._die_with_parent,
        )
        self._running[process.label] = running
        reader = threading.Thread(target=self._read, args=(process.label, running), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _die_with_parent(self) -> None:
        """Runs in the child: it is told to end when this process dies without having ended it."""
        if self._libc is not None:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def _read(self, name: str, running: subprocess.Popen[str]) -> None:
        assert running.stdout is not None
        for line in running.stdout:
            with self._sink_lock:
                self._sink(name, line.rstrip("\n"))


def clean_shared_memory() -> None:
    """Removes the shared-memory files of FastDDS whose processes are gone."""
    tool = shutil.which("fastdds") or shutil.which("fastdds", path=str(Path(sys.executable).parent))
    if tool:
        subprocess.run([tool, "shm", "clean"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _installed_executable(package: str, executable: str) -> Path | None:
    """`lib/<package>/<executable>` of the first ament prefix that has it."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix, "lib", package, executable)
        if prefix and os.access(path, os.X_OK):
            return path
    return None


def _wait(running: list[subprocess.Popen[str]], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    for process in running:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
