"""Driving one arm with keys: what each key does, where the tool is to go, and a terminal that gives keys at once."""

from __future__ import annotations

import math
import os
import select
import sys
import termios
import tty
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import numpy as np

from glam_core.errors import ConfigurationError, closest
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.pose import tool_down, wrap_angle, yaw_of
from glam_core.tool import ToolCommand, ToolState

SPEED_M_S = 0.2
TURN_RAD_S = 0.9


class Deed(StrEnum):
    """What a key does to a recording."""

    START = "begin an episode"
    SAVE = "save it"
    SAVE_FAILED = "save it, marked as failed"
    DISCARD = "discard it"
    ENABLE = "let the arm move again after a stop"
    HELP = "show these keys"


@dataclass(frozen=True)
class Move:
    """What a key does to the target: steps along x, y, z and yaw, and whether the gripper changes sides."""

    x: int = 0
    y: int = 0
    z: int = 0
    yaw: int = 0
    gripper: bool = False

    def __str__(self) -> str:
        if self.gripper:
            return "open or close the gripper"
        ((axis, sign),) = ((name, sign) for name, sign in vars(self).items() if sign)
        return f"{axis} {'+' if sign > 0 else '-'}"


KEYS: dict[str, Move | Deed] = {
    "w": Move(x=1),
    "s": Move(x=-1),
    "a": Move(y=1),
    "d": Move(y=-1),
    "r": Move(z=1),
    "f": Move(z=-1),
    "q": Move(yaw=1),
    "e": Move(yaw=-1),
    "g": Move(gripper=True),
    "b": Deed.START,
    "v": Deed.SAVE,
    "m": Deed.SAVE_FAILED,
    "x": Deed.DISCARD,
    "o": Deed.ENABLE,
    "?": Deed.HELP,
}


@dataclass(frozen=True)
class Steps:
    """How far one press goes."""

    step_m: float = 0.01
    step_rad: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigurationError(f"{name} is a positive number, not {value}")


def meaning(key: str) -> Move | Deed:
    """What a key does; raises ConfigurationError, with the legal ones, for one that does nothing."""
    if key not in KEYS:
        raise ConfigurationError(closest(key, KEYS, "key"))
    return KEYS[key]


def key_map(steps: Steps, moving: bool) -> str:
    """All keys, for people; without `moving` only those that are about the recording."""
    lines = [f"  {key}  {does}" for key, does in KEYS.items() if moving or isinstance(does, Deed)]
    title = f"keys ({steps.step_m:g} m and {steps.step_rad:g} rad per press)" if moving else "keys"
    return "\n".join([f"{title}:", *lines, "  Ctrl-C  end"])


class Teleoperation:
    """Turns presses into commands for one arm: a target that presses shift, approached at no more than a set speed."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._target: tuple[np.ndarray, float, float] | None = None

    def reset(self) -> None:
        """The target becomes the tool's next measurement."""
        self._target = None

    def press(self, move: Move, tool: ToolState) -> None:
        """Shifts the target; `tool` is the measured one."""
        position, yaw, gripper = self._target_or(tool)
        shift = self._steps.step_m * np.array([move.x, move.y, move.z], dtype=float)
        gripper = float(gripper < 0.5) if move.gripper else gripper
        self._target = (position + shift, yaw + self._steps.step_rad * move.yaw, gripper)

    def command(self, tool: ToolState) -> ToolCommand:
        """The next command: towards the target by no more than a decision step of motion."""
        position, yaw, gripper = self._target = self._target_or(tool)
        measured, measured_yaw = tool.T_base_tool[:3, 3], yaw_of(tool.T_base_tool)
        way, turn = position - measured, wrap_angle(yaw - measured_yaw)
        share = min(1.0, SPEED_M_S * COMMAND_STEP_S / max(float(np.linalg.norm(way)), 1e-9))
        most = TURN_RAD_S * COMMAND_STEP_S
        goal = tool_down(measured + share * way, measured_yaw + float(np.clip(turn, -most, most)))
        return ToolCommand(goal, gripper)

    def _target_or(self, tool: ToolState) -> tuple[np.ndarray, float, float]:
        if self._target is not None:
            return self._target
        T = tool.T_base_tool
        return T[:3, 3].copy(), yaw_of(T), float(tool.gripper > 0.5)


class Terminal(AbstractContextManager):
    """Keys from a terminal as they are pressed, without echo; from a pipe as they are written."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._before: list | None = None
        self._over = False

    def __enter__(self) -> Self:
        if os.isatty(self._descriptor):
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def pressed(self) -> bool:
        """Whether `read` has something to give."""
        return not self._over and bool(select.select([self._descriptor], [], [], 0.0)[0])

    def read(self) -> str:
        """The keys that were pressed since the last call; line ends are left out."""
        if not self.pressed():
            return ""
        content = os.read(self._descriptor, 64)
        self._over = not content
        return content.decode(errors="ignore").replace("\n", "").replace("\r", "")
