"""How much people differ from a robot when they demonstrate, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """How much people differ, tremble, pause and err; all zero is a robot."""

    speed: float = 0.12
    """Largest change of speed, as a share, for a whole episode."""
    grasp_m: float = 0.004
    """Standard deviation of where an object is grasped, for a whole episode."""
    place_m: float = 0.003
    """Standard deviation of where an object is put down, for a whole episode."""
    tremble: float = 0.12
    """Standard deviation of a step, as a share of the step, slowly varying."""
    detour_m: float = 0.02
    """Size of an occasional detour that is then corrected."""
    detour_chance: float = 0.3
    """Chance of a detour in an episode."""
    pause_chance: float = 0.0
    """Chance, at each step, of a pause."""
    pause_steps: tuple[int, int] = (2, 6)
    """Shortest and longest pause, steps of 0.1 s."""
    miss_chance: float = 0.0
    """Chance of a first grasp that closes beside the object, in an episode."""
    slip_chance: float = 0.0
    """Chance that what is carried slips once, in an episode."""
    retry_chance: float = 0.0
    """Chance of an approach that is broken off and begun anew, in an episode."""


PEOPLE = Noise()
"""Small differences; nothing goes wrong."""

TELEOPERATION = Noise(
    speed=0.2,
    tremble=0.16,
    detour_chance=0.5,
    pause_chance=0.01,
    miss_chance=0.12,
    slip_chance=0.08,
    retry_chance=0.12,
)
"""A person who drives an arm: pauses, corrects, and recovers from small mishaps."""

HAND_HELD = Noise(speed=0.15, tremble=0.14, detour_chance=0.4, pause_chance=0.005, miss_chance=0.05, slip_chance=0.05)
"""A person with a gripper in the hand: quicker and surer."""
