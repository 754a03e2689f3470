"""Decides, at every control tick, what one arm is told: the newest command after the safety filter, a hold, or a stop.

      enable            first command            no command for hold_s / a hold command / deadman released
disabled ─────► held ───────────────► enabled ───────────────────────────────────────────► held
   ▲                                     │ no motion commanded for stop_s, a fault, a person
   └── disable, reset ── stopped ◄───────┘            emergency is left by `reset` alone

Only commands to move keep the arm from being stopped. One to hold holds it, and says that there is nothing to do: when
that lasts, whoever commands has run out of plans, and the arm is stopped as after silence.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from glam_core.deadman import Deadman
from glam_core.errors import SafetyError
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.safety import Clamp, SafetyFilter
from glam_core.tool import ToolCommand
from kinova_driver.actuation import Actuation
from kinova_driver.arm import Arm, ArmError, ArmState
from kinova_driver.watchdog import Verdict, Watchdog


class Mode(StrEnum):
    """What the driver does with commands."""

    DISABLED = "disabled"
    """Nothing moves until a person enables."""
    HELD = "held"
    """Enabled, at rest; the next command moves the arm."""
    ENABLED = "enabled"
    """The arm follows commands."""
    HOMING = "homing"
    """The arm is on its own way home; commands are rejected."""
    STOPPED = "stopped"
    """Stopped by the watchdog, a fault or a person; inhibited until a person enables."""
    EMERGENCY = "emergency"
    """Emergency stop: latched until `reset`."""


@dataclass(frozen=True)
class DriverLimits:
    """When the driver distrusts the arm."""

    max_state_age_s: float = 0.1
    """An older measurement holds the arm; when that lasts, the arm is stopped as after a silence of the commands."""
    max_following_error_m: float = 0.1
    """Distance between the command that was sent and the measured tool."""
    following_timeout_s: float = 0.5
    """How long the following error may last."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise SafetyError(f"driver: {name} is a positive number, not {value}")


@dataclass(frozen=True, eq=False)
class Request:
    """A command as it came in. Every time is a reading of the monotonic clock, s."""

    command: ToolCommand
    sequence: int
    issued_at: float
    observed_at: float
    expires: float
    hold: bool = False
    """Stay at the measured pose instead of going anywhere."""
    joint_speeds: NDArray[np.float64] | None = None
    """`(7,)` rad/s in the order of the arm's joints, instead of the command of the tool, where they are given."""
    due: float | None = None
    """When the tool shall be there; None: `COMMAND_STEP_S` after the command was issued."""

    @property
    def due_at(self) -> float:
        """When the tool shall be there."""
        return self.issued_at + COMMAND_STEP_S if self.due is None else self.due


@dataclass(frozen=True, eq=False)
class Sent:
    """What the arm was really told in answer to a request."""

    request: Request
    command: ToolCommand
    """After the safety filter; the measured tool where the arm is held."""
    clamps: tuple[Clamp, ...]
    hold: bool


@dataclass(frozen=True, eq=False)
class Tick:
    """The outcome of one control tick."""

    mode: Mode
    reason: str
    """Why the arm does not follow commands; empty while it does."""
    state: ArmState | None
    """The measurement, unless there is none that can be trusted."""
    sent: Sent | None


class Driver:
    """Stands between commands and one arm.

    One thread calls it. The watchdog's thread shares only the watchdog and the arm, so nothing here can hold it up.
    """

    def __init__(
        self,
        arm: Arm,
        actuation: Actuation,
        safety: SafetyFilter,
        watchdog: Watchdog,
        limits: DriverLimits,
        deadman: Deadman | None = None,
    ) -> None:
        self.arm, self.safety, self.watchdog, self.limits = arm, safety, watchdog, limits
        self.actuation = actuation
        self.deadman = deadman or Deadman(False, watchdog.limits.hold_s)
        self.mode = Mode.DISABLED
        self.reason = "not enabled yet; call enable"
        self.clamp_counts: Counter[str] = Counter()
        self.rejected = 0
        self._request: Request | None = None
        self._doubtful_since: float | None = None
        self._astray_since: float | None = None
        self._endings = watchdog.endings

    def accept(self, request: Request, now: float) -> None:
        """Takes the newest command, for `tick` to act on.

        Raises:
            SafetyError: The command is rejected; the message says why.
        """
        try:
            self._check(request, now)
        except SafetyError:
            self.rejected += 1
            raise
        self._request = request
        if request.hold:
            self.watchdog.hold(now)
        else:
            self.watchdog.feed(now)

    def tick(self, now: float) -> Tick:
        """Reads the arm, judges it and the newest command, and tells the arm what to do. Called at control rate."""
        state, doubt = self._read(now)
        sent = None
        if self.mode in (Mode.HELD, Mode.ENABLED, Mode.HOMING):
            if state is None:
                self._doubt(doubt, now)
            elif state.faults:
                self._stop(f"the arm reports {', '.join(state.faults)}; call clear_faults, then enable")
            elif self.mode is Mode.HOMING:
                self._follow_home(state, now)
            else:
                self._doubtful_since = None
                sent = self._act(state, now)
        return Tick(self.mode, self.reason, state, sent)

    def enable(self, now: float) -> None:
        """Lets the next command move the arm.

        Raises:
            SafetyError: An emergency stop is latched, or the arm is not well.
            ConfigurationError: It is another arm than this driver is for.
        """
        if self.mode is Mode.EMERGENCY:
            raise SafetyError("an emergency stop is latched; call reset first")
        state, doubt = self._read(now)
        if state is None:
            raise SafetyError(f"{doubt}; the arm can not be enabled")
        if state.faults:
            raise SafetyError(f"the arm reports {', '.join(state.faults)}; call clear_faults first")
        self.actuation.check(state)
        self._rest(Mode.HELD, "waiting for the first command")
        self.watchdog.enable()

    def disable(self, reason: str = "disabled; call enable") -> None:
        """Stops the arm; an emergency stop stays latched."""
        if self.mode is not Mode.EMERGENCY:
            self._stop(reason, Mode.DISABLED)

    def stop(self) -> None:
        """Stops the arm, inhibited until `enable`."""
        if self.mode is not Mode.EMERGENCY:
            self._stop("stopped by a person; call enable")

    def emergency_stop(self) -> None:
        """Stops the arm hard, latched until `reset`."""
        self.watchdog.inhibit()
        self._rest(Mode.EMERGENCY, "emergency stop; call reset, then enable")
        self.watchdog.end(self.arm.emergency_stop)

    def reset(self) -> None:
        """Leaves a stop or an emergency stop; the arm stays disabled.

        Raises:
            ArmError: The arm does not clear its faults.
        """
        self.arm.clear_faults()
        self._stop("reset; call enable", Mode.DISABLED)

    def clear_faults(self) -> None:
        """Acknowledges the arm's faults.

        Raises:
            SafetyError: An emergency stop is latched.
            ArmError: The arm does not clear its faults.
        """
        if self.mode is Mode.EMERGENCY:
            raise SafetyError("an emergency stop is latched; call reset first")
        self.arm.clear_faults()

    def home(self, now: float) -> None:
        """Sends the arm home; commands are rejected on the way.

        Raises:
            SafetyError: The driver is not enabled, or the deadman switch is released.
            ArmError: The arm does not go home.
        """
        self._require_enabled(now)
        self.watchdog.end(self.arm.hold)
        self._rest(Mode.HOMING, "on the way home")
        self.watchdog.rest()
        self.arm.home()

    def move_gripper(self, position: float, now: float) -> None:
        """Opens (0) or closes (1) the gripper while no command does.

        Raises:
            SafetyError: The driver is not enabled, follows commands, or the deadman switch is released.
            ArmError: The gripper does not move.
        """
        self._require_enabled(now)
        if self.mode is Mode.ENABLED:
            raise SafetyError("the driver follows commands, and they have the gripper; end them first")
        self.arm.command_gripper(position)

    def _require_enabled(self, now: float) -> None:
        if self.mode not in (Mode.HELD, Mode.ENABLED):
            raise SafetyError(f"the driver is {self.mode} ({self.reason}); call enable first")
        if released := self.deadman.released(now):
            raise SafetyError(f"{released}; hold it")

    def _check(self, request: Request, now: float) -> None:
        """Raises SafetyError for a command that must not be executed."""
        if self.mode not in (Mode.HELD, Mode.ENABLED):
            raise SafetyError(f"command rejected: the driver is {self.mode} ({self.reason})")
        if released := self.deadman.released(now):
            raise SafetyError(f"command rejected: {released}")
        if not now <= request.expires:
            raise SafetyError(f"command rejected: it expired {now - request.expires:.3f} s ago")
        if request.joint_speeds is not None:
            return
        pose, gripper = request.command.T_base_tool, request.command.gripper
        if not (np.isfinite(pose).all() and math.isfinite(gripper)):
            raise SafetyError("command rejected: the pose or the gripper is not finite")
        rotation = pose[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0.0:
            raise SafetyError("command rejected: the rotation of the pose is not a rotation")
        if not 0.0 <= gripper <= 1.0:
            raise SafetyError(f"command rejected: the gripper is 0 (open) to 1 (closed), not {gripper}")

    def _read(self, now: float) -> tuple[ArmState | None, str]:
        """The measurement; or None, and why there is none that can be trusted."""
        try:
            state = self.arm.read()
        except ArmError as error:
            return None, str(error)
        if not state.is_finite():
            return None, "the measurement is not finite"
        if state.faults:  # whoever has lost its connection has an old measurement, and a fault that says why
            return state, ""
        age = now - state.stamp
        if age > self.limits.max_state_age_s:
            return None, f"the measurement is {age:.3f} s old"
        return state, ""

    def _doubt(self, doubt: str, now: float) -> None:
        """Without a trusted measurement: hold at once, stop when it lasts."""
        if self._doubtful_since is None:
            self._rest(Mode.HELD, doubt)
            self._doubtful_since = now
            try:
                self._hold_arm()
            except ArmError as error:
                self._stop(f"{doubt}; {error}; call enable when it is well")
        elif now - self._doubtful_since >= self.watchdog.limits.stop_s - self.watchdog.limits.hold_s:
            self._stop(f"{doubt}; call enable when it is well")

    def _follow_home(self, state: ArmState, now: float) -> None:
        if released := self.deadman.released(now):
            self._stop(f"{released} on the way home; call enable")
        elif not state.homing:
            self._rest(Mode.HELD, "home; waiting for a command")

    def _act(self, state: ArmState, now: float) -> Sent | None:
        """Executes the newest request as far as its age allows."""
        verdict = self.watchdog.verdict(now)
        if verdict is Verdict.STOP:
            self._stop(self._why_stopped())
            return None
        request = self._request
        if request is None:
            return None
        released = self.deadman.released(now)
        if verdict in (Verdict.HOLD, Verdict.IDLE) or now > request.expires or request.hold or released:
            reason = released or ("told to hold" if request.hold else "no fresh command")
            return self._hold(request, state, reason)
        if self.mode is not Mode.ENABLED:
            self.mode, self.reason = Mode.ENABLED, ""
        if self._endings != self.watchdog.endings:  # the watchdog's thread held the arm meanwhile: it is at rest
            self._endings = self.watchdog.endings
            self.actuation.reset()
        try:
            command, clamps, clamped_after = self._send(request, state, now)
        except (SafetyError, ArmError) as error:
            self._stop(f"{error}; call enable")
            return None
        if self.watchdog.inhibited:  # the watchdog's thread stopped the arm while the command was on its way
            self._stop(self._why_stopped())
            return None
        self.clamp_counts.update(clamp.name for clamp in clamps)
        if not clamped_after and self._lost(command, state, now):
            self._stop("the arm does not follow its commands; find out why, then call enable")
        return Sent(request, command, clamps, False)

    def _send(
        self, request: Request, state: ArmState, now: float
    ) -> tuple[ToolCommand, tuple[Clamp, ...], tuple[Clamp, ...]]:
        """Sends a request; what was sent, all clamps, and those that came after the filter of the tool."""
        if request.joint_speeds is not None:
            clamps = self.actuation.send_joint_speeds(request.joint_speeds, state, now)
            return ToolCommand(state.tool.T_base_tool, state.tool.gripper), clamps, clamps
        filtered = self.safety.filter(request.command, state.tool, now)
        clamps = self.actuation.send(filtered.command, request.due_at, state, now)
        return filtered.command, (*filtered.clamps, *clamps), clamps

    def _why_stopped(self) -> str:
        if self.watchdog.tripped:
            return "the guardian stopped the arm, because this driver did not in time; find out why, then call enable"
        return f"no motion commanded for {self.watchdog.limits.stop_s:.3g} s; call enable"

    def _hold_arm(self) -> None:
        """Zero speed; whatever comes next grows from rest."""
        self.watchdog.end(self.arm.hold)
        self._endings = self.watchdog.endings
        self.actuation.reset()

    def _hold(self, request: Request, state: ArmState, reason: str) -> Sent | None:
        if self.mode is Mode.ENABLED:
            try:
                self._hold_arm()
            except ArmError as error:
                self._stop(f"{error}; call enable")
                return None
            self._astray_since = None
        self.mode, self.reason = Mode.HELD, reason
        return Sent(request, ToolCommand(state.tool.T_base_tool, state.tool.gripper), (), True)

    def _lost(self, command: ToolCommand, state: ArmState, now: float) -> bool:
        """Whether the arm has been too far from its commands for too long."""
        error = np.linalg.norm(command.T_base_tool[:3, 3] - state.tool.T_base_tool[:3, 3])
        if error <= self.limits.max_following_error_m:
            self._astray_since = None
        elif self._astray_since is None:
            self._astray_since = now
        return self._astray_since is not None and now - self._astray_since >= self.limits.following_timeout_s

    def _stop(self, reason: str, mode: Mode = Mode.STOPPED) -> None:
        self.watchdog.inhibit()
        self._rest(mode, reason)
        try:
            self.watchdog.end(self.arm.stop)
        except ArmError as error:  # the watchdog's thread goes on trying
            self.reason = f"{reason}; the arm did not take the stop: {error}"

    def _rest(self, mode: Mode, reason: str) -> None:
        """Forgets what was commanded: whatever comes next starts from rest."""
        self.mode, self.reason = mode, reason
        self._request = self._doubtful_since = self._astray_since = None
        self.safety.reset()
        self.actuation.reset()
