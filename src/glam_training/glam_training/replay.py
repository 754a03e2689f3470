"""Latents of any source, decoded open loop on the simulated target robot, against what the source really did.

A replay starts where the source's tools were, executes one latent after the other with the live robot state, and never
looks at the scene again. What is compared is the way that the tools have gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glam_core.pose import transform
from glam_core.tool import ToolCommand, commands_from_action, state_vector, tools_from_state_vector
from glam_sim.cell import Cell
from glam_training.gates import shuffled
from glam_training.latent_space import LatentSpace, View

REPLAY_S = 2.0
APPROACH_STEPS = 30
"""Steps to bring the tools to the start of a replay."""
EVENT_STEPS = 2
"""A gripper event counts as found within so many steps."""


@dataclass(frozen=True)
class Replays:
    """Replays of one source, one window per episode.

    Attributes:
        name: of the source.
        errors: (W, T) m, distance between the ways of the tools after each step; of two arms, the farther.
        shuffled_errors: (W, T) m, the same with latents in another order.
        path: (T + 1, 3) m, way of the source's first tool in the window with the median error.
        replayed: (T + 1, 3) m, way of the robot's tool there.
        events: gripper events of the source.
        decoded_events: gripper events of the decoded commands.
        hits: events of the source that were decoded, too.
        shuffled_f1: F1 with shuffled latents.
    """

    name: str
    errors: np.ndarray
    shuffled_errors: np.ndarray
    path: np.ndarray
    replayed: np.ndarray
    events: int
    decoded_events: int
    hits: int
    shuffled_f1: float

    @property
    def error_m(self) -> float:
        """Median error after 2 s."""
        return float(np.median(self.errors[:, -1])) if len(self.errors) else float("nan")

    @property
    def shuffled_error_m(self) -> float:
        """Median error after 2 s with shuffled latents."""
        return float(np.median(self.shuffled_errors[:, -1])) if len(self.errors) else float("nan")

    @property
    def worst_m(self) -> float:
        """90th percentile of the error after 2 s."""
        return float(np.percentile(self.errors[:, -1], 90)) if len(self.errors) else float("nan")

    @property
    def f1(self) -> float:
        """F1 of opening and closing the gripper; 1 where neither source nor robot ever does."""
        return f1_score(self.hits, self.events, self.decoded_events)


@torch.inference_mode()
def replay_source(space: LatentSpace, view: View, cell: Cell) -> Replays:
    """Replay a window of every episode of a source.

    Args:
        space: whose decoder is used.
        view: the source.
        cell: of the target robot.

    Raises:
        ConfigurationError: the decoder gives no tool motions.
    """
    space.require_tool_actions()
    k = space.step
    count = round(REPLAY_S * space.action_spec.rate_hz / k)
    mixed = shuffled(view.z)
    errors, wrong, ways = [], [], []
    for episode in range(view.episodes):
        rows = torch.nonzero(view.episode == episode).flatten()
        last = len(rows) - count * k
        if last <= 0:
            continue
        steps = rows[(episode * 7) % last :][: count * k : k]
        start = view.state[steps[0]]
        truth = torch.cat([start[None], view.next_state[steps]])
        reached = replay(space, cell, view.z[steps], start)
        errors.append(_distance(truth, reached, view.arms))
        wrong.append(_distance(truth, replay(space, cell, mixed[steps], start), view.arms))
        ways.append((_ways(truth, view.arms)[:, 0], _ways(reached, view.arms)[:, 0]))
    hits, events, decoded = count_events(space, view, view.z)
    middle = int(np.argsort([e[-1] for e in errors])[len(errors) // 2]) if errors else 0
    empty = np.zeros((0, count))
    path, replayed = ways[middle] if ways else (np.zeros((1, 3)), np.zeros((1, 3)))
    return Replays(
        name=view.name,
        errors=np.stack(errors) if errors else empty,
        shuffled_errors=np.stack(wrong) if wrong else empty,
        path=path,
        replayed=replayed,
        events=events,
        decoded_events=decoded,
        hits=hits,
        shuffled_f1=f1_score(*count_events(space, view, mixed)),
    )


@torch.inference_mode()
def replay(space: LatentSpace, cell: Cell, z: Tensor, start: Tensor, clear: bool = True) -> Tensor:
    """Bring the tools to a state, then execute latents.

    Args:
        space: whose decoder is used.
        cell: of the target robot.
        z: (n, d) latents.
        start: (S,) robot state.
        clear: whether the objects are put out of the way first.

    Returns:
        (n + 1, S) measured states: at the start, and after each latent.
    """
    if clear:
        cell.reset(0)
        put_away(cell)
    approach(cell, start.numpy())
    states = [state_vector(cell.tools, cell.arms)]
    for latent in z:
        for action in decode(space, latent, torch.from_numpy(states[-1])):
            cell.command(commands_from_action(action, cell.tools, space.action_spec))
            cell.advance(space.action_spec.step_s)
        states.append(state_vector(cell.tools, cell.arms))
    return torch.from_numpy(np.stack(states))


@torch.inference_mode()
def decode(space: LatentSpace, z: Tensor, state: Tensor) -> np.ndarray:
    """The actions (k, A) of one latent (d,) in a robot state (S,)."""
    raw = space.glam.action.inverse(space.glam.decode(state[None], z[None]))[0]
    return raw.unflatten(0, (space.step, -1)).numpy()


def approach(cell: Cell, state: np.ndarray) -> None:
    """Bring the tools to a robot state (S,)."""
    goals = tools_from_state_vector(state, cell.arms)
    for _ in range(APPROACH_STEPS):
        cell.command({arm: ToolCommand(tool.T_base_tool, tool.gripper) for arm, tool in goals.items()})
        cell.advance(0.1)


def put_away(cell: Cell) -> None:
    """Put the objects where no tool comes."""
    for i, item in enumerate(cell.task.objects):
        cell.move_object(item.name, transform(np.eye(3), np.array([1.5 + 0.2 * i, 1.5, 0.05])))


def count_events(space: LatentSpace, view: View, z: Tensor) -> tuple[int, int, int]:
    """Gripper events over whole episodes, all arms: found ones, those of the source, those decoded from `z` (M, d)."""
    size = space.action_spec.size
    decoded = space.glam.action.inverse(space.glam.decode(view.state, z))[:, :size]
    arms = len(space.action_spec.arms)
    found = decoded.unflatten(1, (arms, -1))[..., -1]
    true = view.action[:, :size].unflatten(1, (arms, -1))[..., -1]
    hits = events = decoded_events = 0
    for episode in range(view.episodes):
        rows = view.episode == episode
        for arm in range(arms):
            a, b = _events(true[rows, arm]), _events(found[rows, arm])
            events, decoded_events = events + len(a), decoded_events + len(b)
            hits += sum(any(abs(t - f) <= EVENT_STEPS and s == g for f, g in b) for t, s in a)
    return hits, events, decoded_events


def _events(gripper: Tensor) -> list[tuple[int, int]]:
    """Steps at which a gripper command crosses one half, with the direction."""
    closed = (gripper > 0.5).int()
    return [(int(i) + 1, int(closed[i + 1])) for i in torch.nonzero(closed.diff()).flatten()]


def f1_score(hits: int, events: int, decoded: int) -> float:
    """F1 of `hits` among true and decoded events; 1 where there was nothing to find and nothing was found."""
    return 2 * hits / (events + decoded) if events + decoded else 1.0


def _ways(states: Tensor, arms: int) -> np.ndarray:
    """Displacement of each tool since the first of the states (T, S): (T, arms, 3) m."""
    positions = states.unflatten(1, (arms, -1))[..., :3]
    return (positions - positions[:1]).numpy()


def _distance(truth: Tensor, reached: Tensor, arms: int) -> np.ndarray:
    """(T,) m after each step; of two arms, the farther."""
    return np.linalg.norm(_ways(truth, arms) - _ways(reached, arms), axis=-1).max(-1)[1:]
