"""`kinova replay`: the commands of a recorded episode once more. Rehearsed against the limits first, moved on demand.

Both go through the driver of the graph: the same safety filter, motion, joint limits and watchdog, at the same rate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from glam_core.gen3 import COMMAND_STEP_S
from glam_core.safety import SafetyFilter
from glam_core.station import ArmConfig, Station
from kinova_driver.actuation import JointActuation
from kinova_driver.arm import Arm, ArmError
from kinova_driver.driver import Driver, DriverLimits, Mode, Request
from kinova_driver.guardian import AFTER_S, Guardian
from kinova_driver.kortex_arm import KortexArm
from kinova_driver.tools.recording import RecordedCommand, read_commands
from kinova_driver.tools.rehearsal import RehearsalArm
from kinova_driver.tools.target import Target
from kinova_driver.watchdog import Watchdog, WatchdogLimits, WatchdogThread

_SHOWN = 20
_EASING = "joint_acceleration."
_APPROACH_S = 30.0
_SETTLE_S = 0.5


@dataclass(frozen=True)
class ReplayOptions:
    """Replays the commands of a recorded episode on one arm: a rehearsal first, and the arm only with --move."""

    recording: Annotated[Path, tyro.conf.Positional]
    """An .mcap file, or the folder of a rosbag2 recording."""
    target: tyro.conf.OmitArgPrefixes[Target]
    recorded_arm: str = ""
    """Name of the arm in the recording; that of the station where it is empty."""
    move: bool = False
    """Let the arm move, after the rehearsal."""
    clamped_too: bool = False
    """Move even where limits change some commands; the limits hold all the same."""
    show_all: bool = False
    """Print every command, not only those that limits change."""


@dataclass
class Course:
    """What became of the commands.

    Attributes:
        commands: How many there were.
        clamped: Number of a command, and the limits that changed it.
        eased: Commands that joints began more gently than asked, for their accelerations; that is no harm.
        worst_error_m: Largest distance of the tool from the command it was to follow.
        ended: Why it ended early; empty where it did not.
    """

    commands: int
    clamped: dict[int, tuple[str, ...]] = field(default_factory=dict)
    eased: set[int] = field(default_factory=set)
    worst_error_m: float = 0.0
    ended: str = ""


def main() -> int:
    """Runs `kinova replay`; returns the exit code: 1 where limits change commands, or the replay ended early."""
    options = tyro.cli(ReplayOptions)
    station, config = options.target.load()
    commands = read_commands(options.recording, options.recorded_arm or config.name)
    _say(f"{len(commands)} commands for arm '{config.name}' in {commands[-1].at:.1f} s; limits:")
    _say(station.limits(config.name).describe())
    course = rehearse(commands, station, config)
    _report("rehearsal", course, commands, options.show_all)
    well = not course.ended and not course.clamped
    if not options.move:
        _say("nothing was moved; with --move it is")
        return 0 if well else 1
    if course.ended or (course.clamped and not options.clamped_too):
        raise ArmError(
            "the rehearsal did not go well, so nothing is moved; --clamped-too moves where limits change commands"
        )
    course = move(commands, station, config)
    _report("replay", course, commands, show_all=False)
    return 1 if course.ended else 0


def rehearse(commands: Sequence[RecordedCommand], station: Station, config: ArmConfig) -> Course:
    """Goes through the commands on an arm of numbers, which begins at the first of them."""
    arm = RehearsalArm(commands[0].command.T_base_tool)
    watchdog = Watchdog(_limits(station, config))
    return _play(commands, station, config, arm, watchdog, lambda: arm.now, arm.sleep_until)


def move(commands: Sequence[RecordedCommand], station: Station, config: ArmConfig) -> Course:
    """Moves to the first pose with the arm's own motion, and goes through the commands from there."""

    def sleep_until(at: float) -> None:
        time.sleep(max(at - time.monotonic(), 0.0))

    arm = KortexArm(config)
    limits = _limits(station, config)
    with ExitStack() as stack:
        arm.connect()
        stack.callback(arm.disconnect)
        _approach(arm, commands[0])
        guardian = Guardian(config, limits.hold_s + AFTER_S)
        stack.callback(guardian.close)
        guardian.start()
        watchdog = Watchdog(limits, guardian.heartbeat)
        watching = WatchdogThread(watchdog, arm.hold, arm.stop)
        watching.start()
        stack.callback(watching.close)
        return _play(commands, station, config, arm, watchdog, time.monotonic, sleep_until)


def _play(
    commands: Sequence[RecordedCommand],
    station: Station,
    config: ArmConfig,
    arm: Arm,
    watchdog: Watchdog,
    clock: Callable[[], float],
    sleep_until: Callable[[float], None],
) -> Course:
    """Hands every command to a driver when its time has come, and ticks at the control rate."""
    safety = station.limits(config.name)
    actuation = JointActuation(arm, safety, config.name, config.command, config.command_latency_s)
    driver = Driver(arm, actuation, SafetyFilter(safety, config.name), watchdog, DriverLimits())
    course = Course(len(commands))
    period = 1.0 / station.rates.control_hz
    started = now = clock()
    driver.enable(now)
    index, due = 0, now
    while now - started <= commands[-1].at + _SETTLE_S:
        while index + 1 < len(commands) and commands[index + 1].at <= now - started:
            index += 1
        recorded = commands[index]
        expires = now + safety.command_timeout_s
        reached_at = started + recorded.at + COMMAND_STEP_S
        request = Request(recorded.command, index, now, now, expires, recorded.hold, due=reached_at)
        driver.accept(request, now)
        tick = driver.tick(now)
        if tick.mode not in (Mode.ENABLED, Mode.HELD):
            course.ended = tick.reason
            break
        if tick.sent is not None and tick.state is not None and not recorded.hold:
            names = [clamp.name for clamp in tick.sent.clamps]
            hard = tuple(name for name in names if not name.startswith(_EASING))
            if hard:
                course.clamped.setdefault(index, hard)
            elif names:
                course.eased.add(index)
            error = tick.sent.command.T_base_tool[:3, 3] - tick.state.tool.T_base_tool[:3, 3]
            course.worst_error_m = max(course.worst_error_m, float(np.linalg.norm(error)))
        due += period
        sleep_until(due)
        now = clock()
    driver.disable("the replay is over")
    return course


def _approach(arm: KortexArm, first: RecordedCommand) -> None:
    """The arm's own motion to where the episode begins."""
    arm.command_gripper(min(max(first.command.gripper, 0.0), 1.0))
    arm.command_pose(first.command.T_base_tool)
    deadline = time.monotonic() + _APPROACH_S
    while (state := arm.read()).homing:
        if time.monotonic() > deadline:
            arm.stop()
            raise ArmError(f"the arm does not reach the first pose of the episode within {_APPROACH_S} s")
        time.sleep(0.02)
    if state.faults:
        raise ArmError(f"the arm did not reach the first pose of the episode: {', '.join(state.faults)}")


def _limits(station: Station, config: ArmConfig) -> WatchdogLimits:
    safety = station.limits(config.name)
    return WatchdogLimits.ahead_of(safety.command_timeout_s, safety.stop_timeout_s)


def _report(what: str, course: Course, commands: Sequence[RecordedCommand], show_all: bool) -> None:
    shown = [index for index in range(course.commands) if show_all or index in course.clamped]
    for index in shown if show_all else shown[:_SHOWN]:
        recorded = commands[index]
        position = np.round(recorded.command.T_base_tool[:3, 3], 4).tolist()
        limits = ", ".join(course.clamped.get(index, ())) or ("hold" if recorded.hold else "within the limits")
        _say(f"  {recorded.at:8.3f} s  {position} m  gripper {recorded.command.gripper:.2f}  {limits}")
    if not show_all and len(shown) > _SHOWN:
        _say(f"  and {len(shown) - _SHOWN} more")
    _say(
        f"{what}: {course.commands} commands, {len(course.clamped)} changed by limits, {len(course.eased)} eased, "
        f"the tool at most {1e3 * course.worst_error_m:.1f} mm from its command"
        + (f"; ended early: {course.ended}" if course.ended else "")
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
