"""`glam demo`: episodes through the live graph, watched from its topics alone, and a report of what was seen."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from glam_core.errors import ConfigurationError
from glam_core.station import Station
from glam_msgs.srv import ResetCell
from glam_ros import graph, report, resources, topics, watching
from glam_ros.choice import Choice, choose, station_file
from glam_ros.domains import own_domain
from glam_ros.graph import Place, Simulation
from glam_ros.live import GraphError, Interrupted, LiveGraph
from glam_ros.up import READY_TIMEOUT_S, enable
from glam_ros.video import write_video
from glam_ros.watching import EpisodeRecord, Watcher

FILM_CAMERA = "overview"
VIDEO = "episodes.mp4"
LOG = "graph.log"
ANSWER_S = 20.0
EPISODE_S = 90.0
LINGER_S = 0.5


@dataclass(frozen=True)
class DemoOptions:
    """Runs episodes of a shipped model through the live ROS 2 graph; reports success, latencies, rates and faults."""

    task: str = ""
    """Task to run; by default the hardest whose shipped image model is good enough."""
    episodes: int = 10
    """Consecutive episodes."""
    seed: int = 1000
    """Seed of the first episode; each next one has the next seed."""
    out: Path = Path("out/demo")
    """Folder of the report."""
    model: str = ""
    """Name of a shipped model, or path of a model folder; by default the best one of the task."""
    station: str = ""
    """Name of a shipped station, or path of a station file; its arms have to be simulated. By default the
    simulated cell with as many arms as the model has."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.seed < 0:
            raise ConfigurationError(
                f"a demo has at least one episode and no negative seed, not {self.episodes} and {self.seed}"
            )


def main() -> int:
    """Runs `glam demo`; returns the exit status."""
    options = tyro.cli(DemoOptions)
    choice = chosen(options)
    place = Place.read(station_file(options.station, choice.folder))
    if not place.simulated:
        raise ConfigurationError(f"the demo enables arms by itself; those of station '{place.station.name}' are real")
    options.out.mkdir(parents=True, exist_ok=True)
    episodes: list[EpisodeRecord] = []
    try:
        run(options, place, choice, episodes)
    except Interrupted:
        say(f"interrupted after {len(episodes)} episodes")
    if not episodes:
        return 1
    say("writing the report")
    manifest = choice.manifest
    results = report.evaluate(episodes, manifest, choice.folder.name, expected_rates(place.station, choice))
    frames = write_video(options.out / VIDEO, episodes, f"{manifest.task}, {manifest.method}")
    report.write(options.out, results, episodes, VIDEO if frames else "")
    say(f"\n{report.as_text(results)}\n\n{options.out}/report.html")
    return 0 if len(episodes) == options.episodes else 1


def chosen(options: DemoOptions) -> Choice:
    """The model that the options ask for."""
    if not options.model:
        return choose(resources.shipped_models(), options.task)
    folder = resources.model_folder(options.model)
    return Choice(folder, graph.read_manifest(folder))


def run(options: DemoOptions, place: Place, choice: Choice, episodes: list[EpisodeRecord]) -> None:
    """Starts the graph, runs the episodes and appends each one that is over."""
    manifest = choice.manifest
    task = options.task or manifest.task
    description = graph.deployment(place, choice.folder, Simulation(task, options.seed))
    with (
        own_domain() as domain,
        (options.out / LOG).open("w", encoding="utf-8") as log,
        LiveGraph(description, lambda name, line: log.write(f"{name} | {line}\n"), "demo", domain) as live,
    ):
        say(f"{task}: model {choice.folder.name}, {len(description.processes)} processes in ROS domain {domain}")
        cameras = [image.name for image in manifest.obs_spec.images]
        watcher = Watcher(live.node, place.station, cameras, FILM_CAMERA)
        live.wait_ready(READY_TIMEOUT_S)
        for number in range(1, options.episodes + 1):
            episode = EpisodeRecord(number, options.seed + number - 1)
            run_episode(live, watcher, place, task, episode)
            episodes.append(episode)
            result = "success" if episode.success else "no success"
            say(f"episode {number:2}/{options.episodes}  seed {episode.seed}  {result:<10} {episode.duration_s:5.1f} s")


def run_episode(live: LiveGraph, watcher: Watcher, place: Place, task: str, episode: EpisodeRecord) -> None:
    """Resets the cell, enables the arms, and watches until success or the time limit.

    A reset leaves the drivers disabled. They are enabled when the first command comes that was planned on an
    observation of the new episode, so that no plan of the old one can act in it.
    """
    before = watcher.progress
    client = live.node.create_client(ResetCell, topics.RESET_CELL)
    answer = live.call(client, ResetCell.Request(seed=episode.seed, task=task), ANSWER_S)
    live.node.destroy_client(client)
    if not answer.success:
        raise GraphError(f"the cell can not be reset: {answer.message}")

    def planned() -> bool:
        now = watcher.progress
        if now is None or now.seed != episode.seed or (before is not None and now.episode == before.episode):
            return False
        return watcher.newest_plan_s >= now.began_at

    if not live.wait(planned, ANSWER_S):
        raise GraphError(f"no command came for the episode with seed {episode.seed}; {LOG} says why")
    enable(live, place)
    watcher.begin(episode)
    watcher.stopped.clear()

    def over() -> bool:
        now = watcher.progress
        if now is not None:
            episode.success, episode.duration_s = now.success, now.elapsed_s
        return now is not None and (now.success or now.timed_out)

    while live.wait(lambda: over() or bool(watcher.stopped), EPISODE_S) and not over():
        # A driver stops an arm that hears nothing for too long, or has a fault as after touching something too hard. A
        # person clears the fault and enables it again: here the demo, counting.
        episode.stops += watcher.stopped.values()
        enable(live, place)
        watcher.stopped.clear()
    live.wait(lambda: False, LINGER_S)
    watcher.end()


def expected_rates(station: Station, choice: Choice) -> dict[str, float]:
    """Stream to the rate that it should hold, Hz."""
    manifest = choice.manifest
    cameras = {f"camera {image.name}": station.camera(image.name).rate_hz for image in manifest.obs_spec.images}
    control_hz, arms = station.rates.control_hz, len(station.arms)
    streams = {
        watching.CHUNKS: manifest.action_spec.rate_hz / manifest.execute_length,
        watching.COMMANDS: control_hz * arms,
        watching.JOINT_STATES: control_hz * arms,
    }
    return cameras | {f"{watching.SENT} '{arm.name}'": control_hz for arm in station.arms} | streams


def say(text: str) -> None:
    """Writes a line to the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
