"""How a cell moves, as data; and what is drawn anew for every episode."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np


@dataclass(frozen=True)
class Dynamics:
    """How a cell differs from the one of the shipped models: factors, all 1, and a delay."""

    friction: float = 1.0
    """Factor of all friction."""
    gain: float = 1.0
    """Factor of the gains of the joints' servos, or of the springs of a floating gripper."""
    gripper_speed: float = 1.0
    """Factor of the speed of the fingers."""
    latency_s: float = 0.0
    """Time from a command to its taking effect; whole control steps."""
    spread: float = 0.0
    """Largest change of each factor, as a share, for a whole episode."""


class Tuner:
    """Gives a compiled scene the dynamics that are drawn for an episode."""

    def __init__(self, dynamics: Dynamics, model: mujoco.MjModel) -> None:
        self._dynamics, self._model = dynamics, model
        self._friction = model.geom_friction[:, 0].copy()
        self._servos = [i for i in range(model.nu) if "finger" not in model.actuator(i).name]
        self._gains = model.actuator_gainprm[self._servos].copy()
        self._biases = model.actuator_biasprm[self._servos].copy()

    def tune(self, rng: np.random.Generator) -> float:
        """Draws the dynamics and gives them to the scene; returns the factor of the fingers' speed."""
        dynamics = self._dynamics
        friction, gain, speed = 1.0 + rng.uniform(-1.0, 1.0, size=3) * dynamics.spread
        self._model.geom_friction[:, 0] = self._friction * (dynamics.friction * friction)
        self._model.actuator_gainprm[self._servos] = self._gains * (dynamics.gain * gain)
        self._model.actuator_biasprm[self._servos] = self._biases * (dynamics.gain * gain)
        return dynamics.gripper_speed * speed
