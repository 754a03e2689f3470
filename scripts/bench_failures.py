"""How fast the arm is stopped when a process of the live graph fails: `python scripts/bench_failures.py`.

The whole graph runs as in `glam demo`: simulated cell with its cameras, driver, policy, decoder, monitor. In each trial
one process is stopped (SIGSTOP) or killed while the policy moves the arm. A relay between the driver and the arm notes
what the arm is told; measured is the time from the signal until nothing but zero speed or a Stop has come, and until
the Stop. `python -m kinova_driver.bench_watchdog` does the same for failures inside of the driver.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import tyro

from glam_msgs.srv import ResetCell
from glam_ros import graph, resources, topics
from glam_ros.domains import own_domain
from glam_ros.graph import Graph, Place, Simulation
from glam_ros.live import GraphError, LiveGraph
from glam_ros.up import READY_TIMEOUT_S, enable
from kinova_driver.relay import STOP_S, ZERO_S, Relay, Trial, describe

Failure = Literal["policy_frozen", "decoder_frozen", "policy_killed", "decoder_killed"]
FAILURES: tuple[Failure, ...] = get_args(Failure)

_ANSWER_S = 20.0
_ENOUGH_S = 0.6
"""A trial is over this long after the failure."""
_STEADY_S = 0.3
"""An arm that was told to move for this long without a break is under way."""
_LONGEST_GAP_S = 0.08


@dataclass(frozen=True)
class FailuresConfig:
    """What fails, and how often."""

    failures: tuple[Failure, ...] = FAILURES
    """Kinds of failure. The killed ones need a new graph for every trial."""
    trials: int = 50
    """Trials of each kind of freezing."""
    kills: int = 5
    """Trials of each kind of killing."""
    model: str = "lift"
    """Name of a shipped model, or path of a model folder."""
    station: str = resources.DEFAULT_STATION
    """Name of a shipped station with one simulated arm, or path of a station file."""
    seed: int = 0
    """Decides where things stand, and when in a trial the failure comes."""


class Bench:
    """A running graph whose driver reaches the arm through a relay."""

    def __init__(self, live: LiveGraph, place: Place, relay: Relay, task: str) -> None:
        self._live, self._place, self._relay, self._task = live, place, relay, task

    def trial(self, failure: Failure, seed: int, wait_s: float) -> Trial:
        """One failure while the policy moves the arm."""
        self._get_going(seed)
        self._live.wait(lambda: False, wait_s)
        who, _, what = failure.partition("_")
        pid = self._live.pids[f"{who}_node"]
        failed_at = time.monotonic()
        os.kill(pid, signal.SIGSTOP if what == "frozen" else signal.SIGKILL)
        time.sleep(_ENOUGH_S)
        result = self._relay.judge(failed_at, _ENOUGH_S)
        if what == "frozen":
            os.kill(pid, signal.SIGCONT)
        return result

    def _get_going(self, seed: int) -> None:
        """A new episode, in which the policy moves the arm steadily."""
        for attempt in range(10):
            client = self._live.node.create_client(ResetCell, topics.RESET_CELL)
            request = ResetCell.Request(seed=seed + 1000 * attempt, task=self._task)
            answer = self._live.call(client, request, _ANSWER_S)
            self._live.node.destroy_client(client)
            if not answer.success:
                raise GraphError(f"the cell can not be reset: {answer.message}")
            enable(self._live, self._place)
            if self._live.wait(self._moves, 3.0):
                return
        raise GraphError("the policy does not move the arm")

    def _moves(self) -> bool:
        now, moving = time.monotonic(), np.array(self._relay.passed.moving[-100:])
        recent = moving[moving > now - _STEADY_S]
        if len(recent) < 3 or recent[0] > now - _STEADY_S + _LONGEST_GAP_S:
            return False
        return bool(np.diff([*recent, now]).max() < _LONGEST_GAP_S)


@contextmanager
def running(config: FailuresConfig) -> Iterator[Bench]:
    """A graph of its own, ready to move."""
    place = Place.read(resources.station_file(config.station))
    (arm,) = place.station.arms
    folder = resources.model_folder(config.model)
    task = graph.read_manifest(folder).task
    with own_domain() as domain:
        reached = place.station.reached(arm.name, domain)
        assert reached.tcp_port is not None
        relay = Relay(("127.0.0.1", reached.tcp_port))
        whole = graph.deployment(place, folder, Simulation(task, config.seed))
        processes = tuple(
            replace(each, parameters={**each.parameters, "tcp_port": relay.port})
            if each.executable == "driver_node"
            else each
            for each in whole.processes
        )
        try:
            with LiveGraph(Graph(processes, whole.domain), lambda name, line: None, "bench", domain) as live:
                live.wait_ready(READY_TIMEOUT_S)
                yield Bench(live, place, relay, task)
        finally:
            relay.close()


def measure(config: FailuresConfig) -> dict[Failure, list[Trial]]:
    """Runs all trials, and says what came out."""
    rng = np.random.default_rng(config.seed)
    results: dict[Failure, list[Trial]] = {}
    for failure in config.failures:
        trials = results[failure] = []
        if failure.endswith("frozen"):
            with running(config) as bench:
                for number in range(config.trials):
                    trials.append(bench.trial(failure, config.seed + number, rng.uniform(0.0, 0.5)))
        else:
            for number in range(config.kills):
                with running(config) as bench:
                    trials.append(bench.trial(failure, config.seed + number, rng.uniform(0.0, 0.5)))
        sys.stdout.write(describe(failure, trials) + "\n")
        sys.stdout.flush()
    return results


def main() -> int:
    """The command line; fails where a single trial was late."""
    results = measure(tyro.cli(FailuresConfig, description=__doc__))
    return int(any(t.zero_s > ZERO_S or t.stop_s > STOP_S for trials in results.values() for t in trials))


if __name__ == "__main__":
    sys.exit(main())
