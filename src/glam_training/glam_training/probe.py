"""`glam probe`: does the latent action space mean the same for every source? The gates before a policy is worth
training.

Every number is taken on held-out episodes that stage 1 has not seen: probe on stores of other seeds.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from glam_core.pose import transform
from glam_core.spec import ActionSpec
from glam_core.tool import ToolCommand, commands_from_action, state_vector, tools_from_state_vector
from glam_sim.cell import Cell
from glam_training.data.sampler import transitions
from glam_training.data.store import Store
from glam_training.models.glam import Glam
from glam_training.slots import Slots, Source, compute_slots
from glam_training.stage1 import TrainedGlam, chunk_actions, load_glam

REPLAY_STEPS = 20
"""Length of an open-loop replay: 2 s at 10 Hz."""
APPROACH_STEPS = 30
"""Steps to bring the tool to the start of a replay."""
PROBE_FILE = "probe.json"


@dataclass(frozen=True)
class ProbeConfig:
    """Measure the gates of a finished stage 1 on held-out demonstrations."""

    run: Path
    """Run folder of stage 1; probe.json and probe.png are written into it."""
    target: Path
    """Held-out store of the target robot."""
    auxiliary: Path
    """Held-out store of an auxiliary source; its hidden poses and actions are read here, for measuring only."""
    episodes: int | None = None
    """Use only the first so many episodes of each store."""


@dataclass(frozen=True)
class Gate:
    """One measurement and what is wanted of it."""

    name: str
    value: float
    wanted: str
    passed: bool


@dataclass(frozen=True)
class Latents:
    """One source's transitions: moments now, latent mean, normalised change, state now and later, gripper command."""

    o: Tensor
    z: Tensor
    change: Tensor
    state: Tensor
    next_state: Tensor
    action: Tensor


@torch.inference_mode()
def probe(config: ProbeConfig) -> list[Gate]:
    """Measure all gates; writes probe.json and probe.png into the run folder."""
    trained = load_glam(config.run)
    glam = trained.glam
    _, target = _latents(trained, config.target, config.episodes, config.run)
    auxiliary_slots, auxiliary = _latents(trained, config.auxiliary, config.episodes, config.run)

    gates = [*_forward_gates(glam, target, "target"), *_forward_gates(glam, auxiliary, "auxiliary")]
    q_psi = glam.encode_action(target.state, target.action).mean
    cosine = torch.cosine_similarity(target.z, q_psi, dim=-1).mean()
    gates.append(_gate("posterior gap: cosine of IDM and action-encoder means", cosine, "> 0.9", cosine > 0.9))
    u = glam.action(target.action)
    own = (glam.decode(target.state, q_psi) - u).square().mean()
    cross = (glam.decode(target.state, target.z) - u).square().mean()
    ratio = (cross / own).sqrt()
    gates.append(_gate("action error, IDM latents over action-encoder latents", ratio, "< 1.5", ratio < 1.5))

    replay = _replay(trained, auxiliary_slots)
    gates.append(_gate("cross-source replay, error after 2 s (m)", replay[0], "< 0.02", replay[0] < 0.02))
    gates.append(_gate("cross-source replay, gripper events F1", replay[1], "> 0.9", replay[1] > 0.9))

    motion = [_tool_motion(x) for x in (target, auxiliary)]
    weights = _ridge(target.z, motion[0])
    r2 = [_r_squared(_predict(weights, x.z), m) for x, m in zip((target, auxiliary), motion, strict=True)]
    gates.append(_gate("linear probe z to tool motion: R2 on the target", r2[0], "reported", True))
    gates.append(
        _gate("linear probe z to tool motion: drop of R2 on the auxiliary", r2[0] - r2[1], "< 0.1", r2[0] - r2[1] < 0.1)
    )
    accuracy = _source_accuracy(target, auxiliary, motion)
    gates.append(_gate("source classifier on motion-matched latents", accuracy, "near 0.5", accuracy < 0.65))

    record = {
        "target": str(config.target),
        "auxiliary": str(config.auxiliary),
        "transitions": [len(target.z), len(auxiliary.z)],
    }
    record["gates"] = [gate.__dict__ for gate in gates]
    (config.run / PROBE_FILE).write_text(json.dumps(record, indent=2) + "\n")
    _plot(config.run / "probe.png", target, auxiliary, motion)
    return gates


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam probe`: print the gates as a table."""
    config = tyro.cli(ProbeConfig, prog="glam probe", args=sys.argv[1:] if arguments is None else arguments)
    gates = probe(config)
    width = max(len(gate.name) for gate in gates)
    for gate in gates:
        print(f"{'pass' if gate.passed else 'FAIL'}  {gate.name:<{width}}  {gate.value:8.3f}  wanted {gate.wanted}")
    print(f"written: {config.run / PROBE_FILE}, {config.run / 'probe.png'}")


def _latents(trained: TrainedGlam, path: Path, episodes: int | None, run: Path) -> tuple[Slots, Latents]:
    source = Source(Store.open(path), episodes)
    slots = compute_slots(source, trained.perception, trained.contract.keys, run / "slots", labelled=False)
    hidden = source.store.load_hidden(["state", "action"], episodes)
    slots = Slots(
        slots.moments, slots.glimpses, slots.episode_ends, *(torch.from_numpy(hidden[x]) for x in ("state", "action"))
    )
    assert slots.state is not None and slots.action is not None
    k = trained.config.step
    now, later = torch.from_numpy(transitions(slots.episode_ends, k)).T
    glam = trained.glam
    o, o_next = slots.moments[now], slots.moments[later]
    change = glam.normalised_change(o, o_next)
    z = glam.infer(o, o_next).mean
    return slots, Latents(o, z, change, slots.state[now], slots.state[later], chunk_actions(slots.action, now, k))


def _forward_gates(glam: Glam, x: Latents, source: str) -> list[Gate]:
    shuffled = x.z[torch.randperm(len(x.z), generator=torch.Generator().manual_seed(0))]
    true, other, zero = (
        float((glam.predict_change(x.o, z) - x.change).square().mean()) for z in (x.z, shuffled, torch.zeros_like(x.z))
    )
    gain = 1.0 - true / other
    return [
        _gate(f"forward loss with the true z, share below shuffled z ({source})", gain, ">= 0.3", gain >= 0.3),
        _gate(f"forward loss with the true z, share below z = 0 ({source})", 1.0 - true / zero, "reported", True),
    ]


def _replay(trained: TrainedGlam, slots: Slots) -> tuple[float, float]:
    """Replay auxiliary latents open loop on the simulated target robot, cubes out of the way, against the hidden poses
    of their source.

    Returns:
        Median distance (m) of the tools after 2 s, one window per episode; and F1 of the decoded gripper commands'
        opening and closing events
        against the hidden ones, over whole episodes.
    """
    assert slots.state is not None and slots.action is not None
    glam, k = trained.glam, trained.config.step
    errors, hits, decoded_events, true_events = [], 0, 0, 0
    starts = np.concatenate([[0], slots.episode_ends[:-1]])
    with Cell(trained.contract.task, trained.contract.embodiment) as cell:
        for episode, (first, end) in enumerate(zip(starts, slots.episode_ends, strict=True)):
            rows = torch.arange(int(first), int(end) - k)
            z = glam.infer(slots.moments[rows], slots.moments[rows + k]).mean
            decoded = glam.action.inverse(glam.decode(slots.state[rows], z))[:, : slots.action.shape[1]]
            found, true = _events(decoded[:, 4]), _events(slots.action[rows][:, 4])
            decoded_events += len(found)
            true_events += len(true)
            hits += sum(any(abs(t - f) <= 2 and s == g for f, g in found) for t, s in true)
            if len(rows) > REPLAY_STEPS:
                start = episode % (len(rows) - REPLAY_STEPS)
                reached = _replay_window(cell, glam, z[start : start + REPLAY_STEPS], slots.state[rows[start]], k)
                errors.append(float((reached - slots.state[rows[start] + REPLAY_STEPS * k, :3]).norm()))
    return float(np.median(errors)) if errors else float("nan"), 2 * hits / max(1, decoded_events + true_events)


def _replay_window(cell: Cell, glam: Glam, z: Tensor, state: Tensor, k: int) -> Tensor:
    """Bring the tool to `state` (S,), then execute the latents (n, d) with live feedback: the tool's last position
    (3,), m."""
    spec = ActionSpec(arms=cell.arms)
    cell.reset(0)
    for i, name in enumerate(cell.objects):
        cell.move_object(name, transform(np.eye(3), np.array([1.5 + 0.2 * i, 0.0, 0.05])))
    start = tools_from_state_vector(state.numpy(), cell.arms)
    goal = {arm: ToolCommand(tool.T_base_tool, tool.gripper) for arm, tool in start.items()}
    for _ in range(APPROACH_STEPS):
        cell.command(goal)
        cell.advance(spec.step_s)
    for latent in z:
        live = torch.from_numpy(state_vector(cell.tools, cell.arms))
        actions = glam.action.inverse(glam.decode(live[None], latent[None]))[0].reshape(k, -1)
        for action in actions.numpy():
            cell.command(commands_from_action(action, cell.tools, spec))
            cell.advance(spec.step_s)
    return torch.from_numpy(state_vector(cell.tools, cell.arms)[:3])


def _events(gripper: Tensor) -> list[tuple[int, int]]:
    """Steps at which a gripper command crosses one half, with the direction."""
    closed = (gripper > 0.5).int()
    return [(int(i) + 1, int(closed[i + 1])) for i in torch.nonzero(closed.diff()).flatten()]


def _tool_motion(x: Latents) -> Tensor:
    """Displacement of the tool (m) and change of the gripper over one latent step: (M, 4)."""
    return torch.cat([x.next_state[:, :3] - x.state[:, :3], (x.next_state - x.state)[:, 9:10]], -1)


def _ridge(x: Tensor, y: Tensor, strength: float = 1e-3) -> Tensor:
    x = torch.cat([x, torch.ones(len(x), 1)], -1).double()
    return torch.linalg.solve(x.T @ x + strength * len(x) * torch.eye(x.shape[1]), x.T @ y.double())


def _predict(weights: Tensor, x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], -1).double() @ weights


def _r_squared(predicted: Tensor, true: Tensor) -> float:
    residual = (predicted - true).square().sum(0)
    return float((1.0 - residual / (true - true.mean(0)).double().square().sum(0)).mean())


def _source_accuracy(target: Latents, auxiliary: Latents, motion: list[Tensor]) -> float:
    """Held-out accuracy of a linear source classifier on pairs of latents with the nearest motion."""
    scale = motion[0].std(0)
    a, b = motion[0][:2000] / scale, motion[1][:4000] / scale
    distance, partner = torch.cdist(a, b).min(1)
    keep = distance < distance.quantile(0.5)
    x = torch.cat([target.z[:2000][keep], auxiliary.z[:4000][partner[keep]]])
    n = int(keep.sum())
    y = torch.cat([-torch.ones(n), torch.ones(n)])[:, None]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    train = torch.cat([order[: n // 2], order[: n // 2] + n])
    test = torch.cat([order[n // 2 :], order[n // 2 :] + n])
    weights = _ridge(x[train], y[train])
    return float((_predict(weights, x[test]).sign() == y[test]).double().mean())


def _gate(name: str, value: float | Tensor, wanted: str, passed: bool | Tensor) -> Gate:
    return Gate(name, float(value), wanted, bool(passed))


def _plot(path: Path, target: Latents, auxiliary: Latents, motion: list[Tensor]) -> None:
    """Latents on their first two principal axes, coloured by source and by vertical motion."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    z = torch.cat([target.z[:1500], auxiliary.z[:1500]])
    centred = z - z.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    points = (centred @ axes.T).numpy()
    count = min(1500, len(target.z))
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.scatter(*points[:count].T, s=4, alpha=0.5, label="target")
    left.scatter(*points[count:].T, s=4, alpha=0.5, label="auxiliary")
    left.legend()
    left.set_title("by source")
    vertical = torch.cat([motion[0][:1500, 2], motion[1][:1500, 2]]).numpy() * 1000
    dots = right.scatter(*points.T, s=4, c=vertical, cmap="coolwarm", vmin=-20, vmax=20)
    figure.colorbar(dots, ax=right, label="vertical tool motion per step (mm)")
    right.set_title("by motion")
    for axis in (left, right):
        axis.set_xlabel("first principal axis of z")
        axis.set_ylabel("second")
    figure.savefig(path, dpi=110)
