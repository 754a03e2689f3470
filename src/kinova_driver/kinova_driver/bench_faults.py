"""How soon a broken arm is named, and whether it is recovered from: `python -m kinova_driver.bench_faults`.

A `kinova-sim` of its own is driven in circles by everything that stands between a command and the arm. In each trial
one thing goes wrong while the arm moves. Measured is the time until the measurement names it. Then everything is well
again, and three things are checked: commands are rejected, the arm stands still, and after `clear_faults` and `enable`,
in the same process, it moves again.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro

from glam_core.errors import GlamError, SafetyError
from glam_core.gen3 import COMMAND_STEP_S, CONTROL_STEP_S
from glam_core.safety import SafetyFilter
from glam_core.tool import ToolCommand
from kinova_driver import faults
from kinova_driver.actuation import JointActuation
from kinova_driver.arm import ArmError
from kinova_driver.bench_tracking import LIMITS, TrackingConfig, circle
from kinova_driver.driver import Driver, DriverLimits, Mode, Request
from kinova_driver.kortex_arm import KortexArm
from kinova_driver.simulator.process import Simulated, simulator
from kinova_driver.watchdog import Watchdog, WatchdogLimits, WatchdogThread

NAMED_S = 0.5
"""What has to be kept."""
_PATIENCE_S = 20.0
_REST_S = 0.3
_MOVING_RAD_S = 0.01
_ASTRAY_M = 0.02
_CIRCLE = TrackingConfig(speed_m_s=0.1)


@dataclass(frozen=True)
class FaultsConfig:
    """How often, and how long."""

    trials: int = 10
    """Trials of each kind; every named fault has one."""
    silences: int = 3
    """Trials of each kind of silence."""
    silence_s: float = 10.0
    """How long a silence lasts."""


@dataclass(frozen=True)
class Wrong:
    """Something that goes wrong.

    Attributes:
        begin: What the simulator is told.
        end: What it is told to be well again.
        named: The fault that has to be reported.
        lasts_s: How long it stays wrong after it was named.
    """

    begin: str
    end: str
    named: str
    lasts_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """One trial: how long until it was named, s, and what was not as it has to be, empty for nothing."""

    named_s: float
    problem: str


def named_faults() -> list[Wrong]:
    """Every fault of every bank of an arm."""
    devices = {
        "base": ("", faults.BASE_BITS),
        "joint_4": ("joint_4.", faults.ACTUATOR_BITS),
        "interconnect": ("interconnect.", faults.INTERCONNECT_BITS),
        "gripper": ("gripper.", faults.GRIPPER_BITS),
    }
    return [
        Wrong(f"fault {name} {device}", "mend", prefix + name)
        for device, (prefix, bits) in devices.items()
        for name in bits.values()
    ]


class Bench:
    """A driver that is told to follow a circle, on a thread that ticks at the control rate."""

    def __init__(self, simulated: Simulated, arm: KortexArm) -> None:
        self._simulated, self.arm = simulated, arm
        watchdog = Watchdog(WatchdogLimits.ahead_of(LIMITS.command_timeout_s, LIMITS.stop_timeout_s))
        self._driver = Driver(arm, JointActuation(arm, LIMITS, "arm"), SafetyFilter(LIMITS), watchdog, DriverLimits())
        self._watching = WatchdogThread(watchdog, arm.hold, arm.stop)
        self._lock = threading.Lock()  # one thread calls a driver at a time
        self._over = threading.Event()
        self.rejected = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._watching.start()
        self._thread.start()

    def close(self) -> None:
        """Ends the threads."""
        self._over.set()
        self._thread.join()
        self._watching.close()

    def trial(self, wrong: Wrong) -> Outcome:
        """One thing goes wrong, and is mended."""
        self._get_going()
        began = time.monotonic()
        self._simulated.tell(wrong.begin)
        self._await(lambda: wrong.named in self.arm.read().faults, f"{wrong.named} is not reported")
        named_s = time.monotonic() - began
        time.sleep(max(0.0, wrong.lasts_s - named_s))
        self._simulated.tell(wrong.end)
        self._simulated.tell("behave")
        return Outcome(named_s, self._problem())

    def _problem(self) -> str:
        """What is wrong after everything was mended, before anybody enabled anything."""
        self._await(lambda: self._connected(), "the arm does not come back")
        time.sleep(_REST_S)
        if not self.rejected:
            return "commands are accepted"
        return "the arm moves" if self._moves() else ""

    def _connected(self) -> bool:
        return faults.CONNECTION_LOST not in self.arm.read().faults

    def _get_going(self) -> None:
        """Clears and enables until the arm moves."""

        def moves() -> bool:
            if not self._enable():
                return False
            time.sleep(0.2)
            return self._moves()

        if self._is_astray():
            self._go_home()
        self._await(moves, "the arm does not move again")

    def _enable(self) -> bool:
        try:
            with self._lock:
                if self._driver.mode not in (Mode.HELD, Mode.ENABLED):
                    self._driver.clear_faults()
                    self._driver.enable(time.monotonic())
        except (ArmError, SafetyError):
            time.sleep(CONTROL_STEP_S)
            return False
        return True

    def _is_astray(self) -> bool:
        """Whether the arm went on far out of its walls while nobody could tell it anything."""
        position = self.arm.read().tool.T_base_tool[:3, 3]
        inside = np.clip(position, LIMITS.workspace_min, LIMITS.workspace_max)
        return float(np.linalg.norm(position - inside)) > _ASTRAY_M

    def _go_home(self) -> None:
        """What a person does with an arm that has folded up against its joints' limits: commands lead nowhere there."""

        def begun() -> bool:
            if not self._enable():
                return False
            with self._lock:
                self._driver.home(time.monotonic())
            return True

        self._await(begun, "the arm does not go home")
        self._await(lambda: not self.arm.read().homing, "the arm does not come home")

    def _moves(self) -> bool:
        speeds = json.loads(self._simulated.tell("state"))["speeds_rad_s"]
        return float(np.abs(speeds).max()) > _MOVING_RAD_S

    @staticmethod
    def _await(condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise GlamError(otherwise)
            time.sleep(0.001)

    def _run(self) -> None:
        start, due, sequence = time.monotonic(), time.monotonic(), 0
        while not self._over.is_set():
            now = time.monotonic()
            command = ToolCommand(circle(_CIRCLE, now - start + COMMAND_STEP_S), 0.0)
            with self._lock:
                try:
                    self._driver.accept(Request(command, sequence, now, now, now + COMMAND_STEP_S), now)
                    self.rejected = ""
                except SafetyError as error:
                    self.rejected = str(error)
                self._driver.tick(time.monotonic())
            sequence, due = sequence + 1, max(due + CONTROL_STEP_S, now)
            self._over.wait(max(0.0, due - time.monotonic()))


def kinds(config: FaultsConfig) -> dict[str, list[Wrong]]:
    """Everything that goes wrong, in groups."""
    return {
        "faults of the arm, each once": named_faults(),
        "20 % of all packets lost": [Wrong("drop 20", "drop 0", faults.PACKETS_LOST, 1.0)] * config.trials,
        f"silence of {config.silence_s:g} s": (
            [Wrong("freeze on", "freeze off", faults.CONNECTION_LOST, config.silence_s)] * config.silences
        ),
        f"cable pulled for {config.silence_s:g} s": (
            [Wrong("cable cut", "cable back", faults.CONNECTION_LOST, config.silence_s)] * config.silences
        ),
        "another session takes control": (
            [Wrong("control steal", "control release", faults.SESSION_LOST)] * config.trials
        ),
        "the arm ends our session": [Wrong("sessions end", "sessions accept", faults.SESSION_LOST)] * config.trials,
    }


def describe(kind: str, outcomes: list[Outcome]) -> str:
    """One line for people."""
    times = 1e3 * np.array([outcome.named_s for outcome in outcomes])
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    late = int(np.sum(times > 1e3 * NAMED_S))
    text = f"{kind:32s} n {len(outcomes):3d}  named after {np.median(times):4.0f} median {times.max():4.0f} max ms"
    return f"{text}  late {late}  then {', '.join(sorted(set(problems))) or 'at rest until enabled, and recovered'}"


def measure(config: FaultsConfig, say: Callable[[str], None] = print) -> dict[str, list[Outcome]]:
    """Runs all trials."""
    results: dict[str, list[Outcome]] = {}
    with simulator() as simulated:
        arm = KortexArm(simulated.arm)
        arm.connect()
        bench = Bench(simulated, arm)
        try:
            for kind, wrongs in kinds(config).items():
                results[kind] = [bench.trial(wrong) for wrong in wrongs]
                say(describe(kind, results[kind]))
        finally:
            bench.close()
            arm.disconnect()
    return results


def main() -> int:
    """The command line; fails where a single trial was late or did not end well."""
    sys.setswitchinterval(0.001)
    logging.disable(logging.ERROR)  # what is reported is the subject of the measurement
    results = measure(tyro.cli(FaultsConfig, description=__doc__))
    return int(any(o.named_s > NAMED_S or o.problem for outcomes in results.values() for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
