"""What can go wrong with a simulated arm, and the words that make it go wrong: from a command line, a port or a test.

drop 20 · delay 5 2 · freeze on · cable cut · sessions refuse · control steal · fault FOLLOWING_ERROR joint_3
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from glam_core.errors import ConfigurationError, closest
from kinova_driver.simulator.devices import DEVICES, device, reporter_of
from kinova_driver.simulator.limits import JOINT_COUNT
from kinova_driver.simulator.robot import THIEF
from kinova_driver.simulator.router import Router


@dataclass(frozen=True)
class Network:
    """How the way between a client and the arm misbehaves."""

    drop: float = 0.0
    """Share of the frames that are lost, each way, 0 to 1."""
    delay_s: float = 0.0
    """Before an answer leaves."""
    jitter_s: float = 0.0
    """Up to so much more, at random: answers may overtake each other."""
    frozen: bool = False
    """The arm's computer does nothing but keep what comes in, and answers it later."""
    cable_cut: bool = False
    """Nothing gets through. Datagrams are lost; what was sent on TCP arrives once the cable is back."""


class Mischief:
    """Makes one arm misbehave. May be called from any thread."""

    def __init__(self, router: Router, network: Callable[[], Network], set_network: Callable[[Network], None]) -> None:
        """Misbehaves on behalf of one arm.

        Args:
            router: What answers for the arm.
            network: How the network misbehaves now.
            set_network: Takes how it misbehaves from now on.
        """
        self._router, self._network, self._set_network = router, network, set_network
        self._words: dict[str, Callable[[list[str]], str | None]] = {
            "drop": self._drop,
            "delay": self._delay,
            "freeze": self._freeze,
            "cable": self._cable,
            "sessions": self._sessions,
            "control": self._control,
            "fault": self._fault,
            "mend": self._mend,
            "lose": self._lose,
            "follow": self._follow,
            "jam": self._jam,
            "emergency_stop": self._emergency_stop,
            "clear_faults": self._clear_faults,
            "behave": self._behave,
            "state": self._state,
        }

    def tell(self, text: str) -> str:
        """Does what the words say; returns what there is to say about it.

        Raises:
            ConfigurationError: The words are not understood; the message says what would be.
        """
        words = text.split()
        if not words or words[0] not in self._words:
            raise ConfigurationError(closest(words[0] if words else "", self._words, "misbehaviour"))
        with self._router.lock:
            return self._words[words[0]](words[1:]) or "done"

    def _drop(self, words: list[str]) -> None:
        (percent,) = _numbers(words, ("percent",), 100.0)
        self._set_network(replace(self._network(), drop=percent / 100.0))

    def _delay(self, words: list[str]) -> None:
        delay, jitter = _numbers(words + ["0"] * (len(words) == 1), ("milliseconds", "jitter"), 60e3)
        self._set_network(replace(self._network(), delay_s=delay / 1e3, jitter_s=jitter / 1e3))

    def _freeze(self, words: list[str]) -> None:
        self._set_network(replace(self._network(), frozen=_choice(words, "freeze", ("off", "on")) == "on"))

    def _cable(self, words: list[str]) -> None:
        self._set_network(replace(self._network(), cable_cut=_choice(words, "cable", ("back", "cut")) == "cut"))

    def _sessions(self, words: list[str]) -> None:
        choice = _choice(words, "sessions", ("refuse", "accept", "end"))
        if choice == "end":
            self._router.end_all_sessions()
        else:
            self._router.sessions.refusing = choice == "refuse"

    def _control(self, words: list[str]) -> None:
        self._router.robot.steal(_choice(words, "control", ("steal", "release")) == "steal")

    def _fault(self, words: list[str]) -> str:
        lasting = words[-1:] == ["lasting"]
        words = words[: len(words) - lasting]
        if not 1 <= len(words) <= 2:
            raise ConfigurationError("fault NAME [device] [lasting], such as: fault FOLLOWING_ERROR joint_3")
        owner = reporter_of(*words)
        self._router.robot.add_fault(owner.identifier, words[0], lasting)
        return f"{owner.name} reports {words[0]}"

    def _mend(self, words: list[str]) -> None:
        self._router.robot.mend()

    def _lose(self, words: list[str]) -> None:
        names = [f"joint_{n}" for n in range(1, JOINT_COUNT + 1)]
        if not words or set(words) - set(names):
            raise ConfigurationError(closest(" ".join(words), names, "joint to lose"))
        self._router.robot.lost_joints = frozenset(device(word).identifier - 1 for word in words)

    def _follow(self, words: list[str]) -> None:
        self._router.robot.lost_joints = frozenset()

    def _jam(self, words: list[str]) -> None:
        self._router.robot.jammed = _choice(words, "jam", ("off", "on")) == "on"

    def _emergency_stop(self, words: list[str]) -> None:
        self._router.robot.emergency_stop(THIEF)

    def _clear_faults(self, words: list[str]) -> None:
        self._router.robot.clear_faults()

    def _behave(self, words: list[str]) -> None:
        """Everything is well again; faults are still to be cleared."""
        self._set_network(Network())
        self._router.sessions.refusing = False
        robot = self._router.robot
        robot.lost_joints, robot.jammed = frozenset(), False
        robot.mend()
        if robot.controller == THIEF:
            robot.steal(False)

    def _state(self, words: list[str]) -> str:
        robot = self._router.robot
        return json.dumps(
            {
                "arm_state": robot.state.name,
                "servoing_mode": robot.mode.name,
                "controller": robot.controller,
                "faults": [f"{DEVICES[number].name}: {name}" for number, name in robot.faults],
                "sessions": [str(session.connection) for session in self._router.sessions.all()],
                "positions_rad": np.round(robot.measured.positions, 4).tolist(),
                "speeds_rad_s": np.round(robot.measured.speeds, 4).tolist(),
                "gripper": round(robot.gripper.measured, 3),
            }
        )


def _numbers(words: list[str], names: tuple[str, ...], highest: float) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != len(names) or not all(math.isfinite(v) and 0.0 <= v <= highest for v in values):
        raise ConfigurationError(f"expected {' '.join(names)}, each 0 to {highest:g}, not '{' '.join(words)}'")
    return values


def _choice(words: list[str], what: str, legal: tuple[str, ...]) -> str:
    if len(words) != 1 or words[0] not in legal:
        raise ConfigurationError(closest(" ".join(words), legal, f"word after '{what}'"))
    return words[0]
