"""The whole graph as real processes: it becomes ready, lifts a simulated cube, and ends without a trace."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lift_model import write_lift_model
from toy_model import write_toy_model

from glam_core.manifest import read_manifest
from glam_core.station import control_port
from glam_ros import demo, report, resources
from glam_ros.choice import Choice
from glam_ros.demo import DemoOptions
from glam_ros.domains import own_domain
from glam_ros.graph import Graph, Place, Process, deployment
from glam_ros.live import GraphError, Interrupted, LiveGraph
from glam_ros.supervisor import Supervisor, command_line
from glam_ros.up import enable
from glam_ros.video import write_video
from glam_ros.watching import CAMERA_TO_POLICY, COMMANDS, DECODE, INFERENCE, JOINT_STATES, TO_DRIVER, EpisodeRecord
from kinova_driver.simulator.control_port import ask

pytestmark = [pytest.mark.ros, pytest.mark.sim]

READY_S, PATIENCE_S = 60.0, 30.0


@pytest.fixture
def place() -> Place:
    return Place.read(resources.station_file("sim"))


@pytest.fixture
def domain() -> Iterator[int]:
    with own_domain() as domain:
        yield domain


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def maps(pids: list[int]) -> set[str]:
    """The shared-memory files that processes have open: `/dev/shm/...`."""
    files: set[str] = set()
    for pid in pids:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            files |= {word for word in line.split() if word.startswith("/dev/shm/fastrtps_")}
    return files


def test_the_live_graph_lifts_a_cube_and_leaves_nothing_behind(place: Place, tmp_path: Path) -> None:
    write_lift_model(tmp_path / "rule")
    choice = Choice(tmp_path / "rule", read_manifest(tmp_path / "rule"))
    options = DemoOptions(task="lift", episodes=2, seed=1003, out=tmp_path)
    episodes: list[EpisodeRecord] = []
    demo.run(options, place, choice, episodes)

    log = (tmp_path / demo.LOG).read_text(encoding="utf-8")
    assert [episode.seed for episode in episodes] == [1003, 1004]
    # On a machine that is busy with other things, real time may not be enough for every episode.
    assert any(episode.success for episode in episodes), log
    assert all(2.0 < episode.duration_s < 12.0 for episode in episodes)
    assert all(len(episode.frames) > 10 for episode in episodes)
    results = report.evaluate(episodes, choice.manifest, "rule", demo.expected_rates(place.station, choice))
    for stage in (CAMERA_TO_POLICY, INFERENCE, DECODE, TO_DRIVER):
        assert 0.0 < results.latencies_ms[stage].median < 100.0
    for stream in (COMMANDS, JOINT_STATES):
        assert results.rates[stream].achieved_hz > 20.0
    assert write_video(tmp_path / "film.mp4", episodes, "rule") > 40
    assert (tmp_path / "film.mp4").stat().st_size > 10_000


def test_a_fault_before_the_first_enabling_is_cleared_for_a_simulated_arm_alone(
    place: Place, tmp_path: Path, domain: int
) -> None:
    write_toy_model(tmp_path / "toy")
    arms = tuple(arm.model_copy(update={"backend": "kortex"}) for arm in place.station.arms)
    real = replace(place, station=place.station.model_copy(update={"arms": arms}))
    with LiveGraph(deployment(place, tmp_path / "toy"), lambda _name, _line: None, "onlooker", domain) as live:
        live.wait_ready(READY_S)
        ask(control_port(domain), "fault MAXIMUM_TORQUE joint_3")
        with pytest.raises(GraphError, match=r"'arm' can not be enabled.*joint_3\.MAXIMUM_TORQUE; call clear_faults"):
            enable(live, real, timeout_s=2.0)
        enable(live, place)


def test_ctrl_c_ends_every_process_and_frees_the_shared_memory(place: Place, tmp_path: Path, domain: int) -> None:
    write_toy_model(tmp_path / "toy")
    before = signal.getsignal(signal.SIGINT)
    live = LiveGraph(deployment(place, tmp_path / "toy"), lambda _name, _line: None, "onlooker", domain)
    with pytest.raises(Interrupted), live:
        live.wait_ready(READY_S)
        pids = list(live.pids.values())
        mapped = maps(pids)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        live.wait(lambda: False, PATIENCE_S)
    assert len(pids) == 5
    assert not any(alive(pid) for pid in pids)
    assert not [file for file in mapped if os.path.exists(file) and "port" not in file]
    assert signal.getsignal(signal.SIGINT) is before
    assert os.environ.get("ROS_DOMAIN_ID") != str(domain)


def test_a_refused_model_ends_the_graph_with_its_message(place: Place, tmp_path: Path, domain: int) -> None:
    write_toy_model(tmp_path / "toy")
    graph = deployment(place, tmp_path / "toy")
    (tmp_path / "toy" / "golden.npz").write_bytes(b"no golden vectors")
    policy = Graph(tuple(process for process in graph.processes if process.name == "policy_node"))
    with (
        pytest.raises(GraphError, match=r"policy_node ended with status 1.*\n.*golden\.npz was altered"),
        LiveGraph(policy, lambda _name, _line: None, "onlooker", domain) as live,
    ):
        live.wait_ready(READY_S)


def test_a_node_that_is_never_ready_is_named(place: Place, tmp_path: Path, domain: int) -> None:
    write_toy_model(tmp_path / "toy")
    graph = deployment(place, tmp_path / "toy")
    monitor = next(process for process in graph.processes if process.name == "monitor")
    with (
        pytest.raises(GraphError, match="not become ready within 0.5 s: /nobody is not there"),
        LiveGraph(
            Graph((Process("monitor", monitor.package, monitor.executable, lifecycle=("/nobody",)),)),
            lambda _name, _line: None,
            "onlooker",
            domain,
        ) as live,
    ):
        live.wait_ready(0.5)


def test_a_second_ctrl_c_does_no_harm(tmp_path: Path, domain: int) -> None:
    """As under ros2 launch, where the terminal and launch both send one."""
    write_toy_model(tmp_path / "toy")
    folder = f'model_folder:="{tmp_path / "toy"}"'
    process = Process("decoder_node", "glam_ros", "decoder_node")
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    command = [*command_line(process), "-p", folder]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
        assert running.wait(PATIENCE_S) == 0, first + rest
    assert "passed its self-test" in first
    assert "Traceback" not in rest


def test_a_process_that_ignores_signals_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ((signal.SIGINT, 0.1), (signal.SIGTERM, 0.1), (signal.SIGKILL, PATIENCE_S))
    stubborn = ["sh", "-c", "trap '' INT TERM; echo ready; while :; do sleep 0.05; done"]
    monkeypatch.setattr("glam_ros.supervisor.STEPS", steps)
    monkeypatch.setattr("glam_ros.supervisor.command_line", lambda _process: stubborn)
    ready = threading.Event()
    with Supervisor([Process("stubborn", "none", "none")], lambda _name, _line: ready.set()) as running:
        assert ready.wait(PATIENCE_S)
    assert running.ended() == {"stubborn": -signal.SIGKILL}


PARENT = """
import sys
from glam_ros import supervisor
from glam_ros.graph import Process

child = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
supervisor.command_line = lambda process: [sys.executable, "-c", child]
with supervisor.Supervisor([Process("child", "none", "none")], lambda name, line: print(line, flush=True)):
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_no_process_outlives_a_parent_that_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    deadline = time.monotonic() + PATIENCE_S
    while alive(child):
        assert time.monotonic() < deadline
