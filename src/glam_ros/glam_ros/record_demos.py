"""`glam record`: episodes of a running graph, or of a simulated cell that it starts, one MCAP file each."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import rclpy
import tyro
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool

from glam_core.errors import ConfigurationError, DataError, GlamError, closest
from glam_msgs.srv import ResetCell
from glam_ros import graph, keyboard, resources, topics
from glam_ros.episodes import DRIVERS, EpisodeRecorder
from glam_ros.graph import Graph, Place, Process, Simulation
from glam_ros.keyboard import Deed, Steps, Terminal
from glam_ros.live import GraphError, Interrupted, LiveGraph
from glam_ros.records import EpisodeProgress
from glam_ros.teleop import TeleopDriver
from glam_ros.up import READY_TIMEOUT_S, enable

NODE = "record_demos"
LOG = "graph.log"
DRIVE = "/expert/drive"
DISCOVERY_S = 2.0
ANSWER_S = 20.0
STREAMS_S = 30.0
EPISODE_S = 120.0
LINGER_S = 0.5
"""How long an episode goes on after success."""
FOREVER_S = float("inf")


@dataclass(frozen=True)
class RecordOptions:
    """Records episodes of the running graph, or of the station's robot, which is started where no graph is running.

    The expert demonstrates episode after episode in a simulated cell. With the keyboard, or a policy of the running
    graph, a person begins and ends every episode, with keys or with the services ~/start, ~/save and ~/discard.
    """

    task: str = ""
    """Task; by default the one of the running cell, or of the station."""
    episodes: int = 5
    """How many to save."""
    driver: str = "expert"
    """Who moves the arm: expert, keyboard or policy."""
    out: Path = Path("recordings")
    """Folder of the episodes."""
    seed: int = 0
    """Seed of the first episode in a simulated cell; each next one has the next seed."""
    station: str = resources.DEFAULT_STATION
    """Name of a shipped station, or path of a station file."""
    cameras: tuple[str, ...] = ()
    """Cameras to record; by default all but the overview."""
    embodiment: str = "gen3"
    """What moves."""
    step_m: float = Steps.step_m
    """How far one press of a key moves the tool."""
    step_rad: float = Steps.step_rad
    """How far one press of a key turns the tool."""
    domain: int | None = None
    """ROS domain; the shell's where it is not given."""

    def __post_init__(self) -> None:
        if self.driver not in DRIVERS:
            raise ConfigurationError(closest(self.driver, DRIVERS, "driver"))
        if self.episodes < 1 or self.seed < 0:
            raise ConfigurationError(
                f"there is at least one episode and no negative seed, not {self.episodes}, {self.seed}"
            )
        Steps(self.step_m, self.step_rad)


def main() -> int:
    """Runs `glam record`; returns the exit status."""
    try:
        return record(tyro.cli(RecordOptions))
    except Interrupted:
        say("interrupted; an episode that was being recorded is kept without an end")
        return 1
    except GlamError as error:
        sys.stderr.write(f"record_demos: {error}\n")
        return 1


def record(options: RecordOptions) -> int:
    """Starts what is missing of the graph and records; returns the exit status."""
    place = Place.read(resources.station_file(options.station))
    if options.driver == "expert" and not place.simulated:
        raise ConfigurationError(
            f"the expert sees a simulated cell only, and the arms of station '{place.station.name}' are real; "
            "record with --driver keyboard"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(resources.graph_environment(options.domain))
    missing = missing_processes(options, place)
    say("starting " + ", ".join(process.name for process in missing) if missing else "joining the running graph")
    with (
        (options.out / LOG).open("w", encoding="utf-8") as log,
        LiveGraph(Graph(missing), lambda name, line: log.write(f"{name} | {line}\n"), NODE, options.domain) as live,
    ):
        episodes = EpisodeRecorder(live.node, place.station, options.cameras, options.out, options.embodiment)
        live.wait_ready(READY_TIMEOUT_S)
        if not live.wait(lambda: not episodes.silent, STREAMS_S):
            raise GraphError(f"nothing comes on {', '.join(episodes.silent)}; is every camera and driver running?")
        if place.simulated and not live.wait(lambda: episodes.progress is not None, STREAMS_S):
            raise GraphError(f"the simulated cell does not say how its episode stands, on {topics.EPISODE_STATUS}")
        session = Session(options, place, live, episodes)
        if options.driver == "expert":
            session.demonstrate()
        else:
            session.by_hand()
    say(
        f"{episodes.saved} episodes saved; glam import mcap --recordings {options.out} --out STORE makes them trainable"
    )
    return 0


def missing_processes(options: RecordOptions, place: Place) -> tuple[Process, ...]:
    """What has to be started: the station's robot, unless its drivers are running, and the expert.

    Raises:
        ConfigurationError: A policy is to be recorded where none is running, or somebody else already commands an arm.
    """
    running, commanded = look_around(place, DISCOVERY_S)
    if options.driver == "policy":
        if not running:
            raise ConfigurationError("no graph is running whose policy could be recorded; start one with `glam up`")
        return ()
    if commanded:
        raise ConfigurationError(f"a node already sends commands on {', '.join(commanded)}; end it first")
    simulation = Simulation(options.task, options.seed, options.embodiment)
    robot = () if running else graph.robot(place, simulation).processes
    return (*robot, expert(place, options.embodiment)) if options.driver == "expert" else robot


def look_around(place: Place, patience_s: float) -> tuple[bool, list[str]]:
    """Whether a graph of this station is running, and the command topics on which somebody publishes."""
    arms = place.station.arms
    states = [topics.of_arm(arm.namespace, topics.TOOL_STATE) for arm in arms]
    commands = [topics.of_arm(arm.namespace, topics.COMMAND) for arm in arms]
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node("look_around", context=context)
    try:
        # Nothing is subscribed to: what is asked is who is there, and that is known after discovery.
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and not all(map(node.count_publishers, (*states, *commands))):
            time.sleep(0.05)
        return any(map(node.count_publishers, states)), [each for each in commands if node.count_publishers(each)]
    finally:
        node.destroy_node()
        context.try_shutdown()
        context.destroy()


def expert(place: Place, embodiment: str) -> Process:
    """The process of the scripted expert."""
    return Process(
        name="expert",
        package="kinova_driver",
        executable="expert_node",
        parameters={"station": str(place.path), "embodiment": embodiment},
    )


class Session:
    """What is done around every episode: reset, enable, begin, end."""

    def __init__(self, options: RecordOptions, place: Place, live: LiveGraph, episodes: EpisodeRecorder) -> None:
        self._options, self._place, self._live, self._episodes = options, place, live, episodes
        self._seed = options.seed

    def demonstrate(self) -> None:
        """The expert demonstrates every episode; one that does not succeed is saved, marked as failed.

        Raises:
            GlamError: An episode can not be recorded.
        """
        for number in range(1, self._options.episodes + 1):
            self._demonstrate_once(number)

    def by_hand(self) -> None:
        """A person begins and ends the episodes, with keys or services, until enough are saved."""
        options, episodes = self._options, self._episodes
        moving = options.driver == "keyboard"
        steps = Steps(options.step_m, options.step_rad)
        teleop = TeleopDriver(self._live.node, self._place.station, episodes, steps) if moving else None
        say(keyboard.key_map(steps, moving))
        with Terminal() as terminal:
            while episodes.saved < options.episodes:
                self._live.wait(lambda: terminal.pressed() or episodes.saved >= options.episodes, FOREVER_S)
                for key in terminal.read():
                    try:
                        self._press(key, teleop, steps)
                    except Interrupted:
                        raise
                    except GlamError as error:
                        say(str(error))

    def _demonstrate_once(self, number: int) -> None:
        options, episodes, live = self._options, self._episodes, self._live
        self._reset()
        task = self._begin()
        self._drive(True)
        deadline = time.monotonic() + EPISODE_S
        while not live.wait(lambda: self._over() or bool(episodes.stopped), max(0.0, deadline - time.monotonic())) or (
            episodes.stopped and not self._over()
        ):
            if time.monotonic() > deadline:
                raise GraphError(f"the episode was not over after {EPISODE_S:g} s; {options.out / LOG} says more")
            self._enable_again()
        live.wait(lambda: not episodes.recording, LINGER_S)
        self._drive(False)
        if episodes.failure:
            raise DataError(episodes.failure)
        outcome = "discarded"
        if episodes.recording:
            path = episodes.save()
            outcome = ("success, " if self._progress.success else "no success, ") + path
        say(f"episode {number:3}/{options.episodes}  {task}  seed {self._seed - 1}  {outcome}")

    @property
    def _progress(self) -> EpisodeProgress:
        """How the episode of the simulated cell stands; it was heard before the session began."""
        assert self._episodes.progress is not None
        return self._episodes.progress

    def _over(self) -> bool:
        return self._progress.success or self._progress.timed_out or not self._episodes.recording

    def _press(self, key: str, teleop: TeleopDriver | None, steps: Steps) -> None:
        does = keyboard.meaning(key)
        if does is Deed.START:
            if self._episodes.recording:
                raise DataError("an episode is being recorded already; save or discard it first")
            if teleop is not None and self._place.simulated:
                self._reset()
            self._begin()
            if teleop is not None:
                teleop.begin()
            say("recording")
        elif does is Deed.SAVE or does is Deed.SAVE_FAILED:
            say("saved " + self._episodes.save(success=does is Deed.SAVE))
        elif does is Deed.DISCARD:
            say("discarded " + self._episodes.discard())
        elif does is Deed.ENABLE:
            self._enable_again()
        elif does is Deed.HELP:
            say(keyboard.key_map(steps, teleop is not None))
        elif teleop is not None:
            teleop.press(does)

    def _begin(self) -> str:
        """Begins an episode with the arms enabled, and returns its task; what is recorded first is at rest."""
        options, episodes = self._options, self._episodes
        task = options.task or (episodes.progress.task if episodes.progress else self._place.station.task)
        if options.driver != "policy":
            enable(self._live, self._place)
        episodes.stopped.clear()
        episodes.start(task, self._seed - 1, options.driver)
        return task

    def _reset(self) -> None:
        """Puts the simulated cell into the initial state of the next seed, and waits until it says so."""
        live, before = self._live, self._progress.episode
        client = live.node.create_client(ResetCell, topics.RESET_CELL)
        answer = live.call(client, ResetCell.Request(seed=self._seed, task=self._options.task), ANSWER_S)
        live.node.destroy_client(client)
        if not answer.success:
            raise GraphError(f"the cell can not be reset: {answer.message}")
        seed, self._seed = self._seed, self._seed + 1

        def announced() -> bool:
            return self._progress.episode != before and self._progress.seed == seed

        if not live.wait(announced, ANSWER_S):
            raise GraphError(f"the cell does not announce the episode with seed {seed}")

    def _enable_again(self) -> None:
        """After a stop; episodes count how often."""
        self._episodes.stops += 1
        enable(self._live, self._place)
        self._episodes.stopped.clear()

    def _drive(self, on: bool) -> None:
        client = self._live.node.create_client(SetBool, DRIVE)
        self._live.call(client, SetBool.Request(data=on), ANSWER_S)
        self._live.node.destroy_client(client)


def say(text: str) -> None:
    """Writes a line to the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
