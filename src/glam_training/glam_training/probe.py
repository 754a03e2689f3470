"""`glam probe`: does the latent action space mean the same for every source? The gates before a policy is worth
training, as a report with plots.

Every number is taken on held-out episodes that stage 1 has not seen: probe on stores of other seeds.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from glam_core.errors import ConfigurationError
from glam_sim.cell import Cell
from glam_sim.sources import Source, recorded_source
from glam_training.gates import (
    ForwardLosses,
    Gate,
    forward_gates,
    forward_losses,
    gate,
    grounding_gates,
    kl_per_dimension,
    kl_to_prior_per_dimension,
    motion_gates,
    paired_gate,
    posteriors,
    tilt_gate,
)
from glam_training.latent_space import LatentSpace, View, look, open_latent_space
from glam_training.pairs import record_pairs
from glam_training.probe_plots import plot_forward, plot_kl, plot_latents, plot_replay
from glam_training.provenance import command_line, git_commit, package_versions
from glam_training.replay import Replays, replay_source

log = logging.getLogger(__name__)

PROBE_FILE = "probe.json"
REPORT_FILE = "probe.md"


@dataclass(frozen=True)
class ProbeConfig:
    """Measure the gates of a finished stage 1 on held-out demonstrations."""

    run: Path
    """Run folder of stage 1, or of GLAM in the bench."""
    target: Path
    """Held-out store of the target robot."""
    auxiliary: tuple[Path, ...]
    """Held-out stores of other sources; their hidden poses and actions are read here, for measuring only."""
    paired: int = 10
    """Motions that are shown in the cells of the target and of the first auxiliary source, for paired renders; 0 leaves
    them out, and so does a source that is no simulated cell."""
    paired_seed: int = 60000
    """Seed of the first of them."""
    episodes: int | None = None
    """Use only the first so many episodes of each store."""
    out: Path | None = None
    """Folder of the report; the run folder when unset."""

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.out or self.run


@torch.inference_mode()
def probe(config: ProbeConfig) -> list[Gate]:
    """Measure all gates; writes probe.json, probe.md and its plots."""
    space = open_latent_space(config.run)
    target = look(space, config.target, config.episodes, "target")
    others = [look(space, path, config.episodes) for path in config.auxiliary]
    gates: list[Gate] = []
    losses: dict[str, ForwardLosses] = {}
    for view, other in [(target, others[0]), *((view, target) for view in others)]:
        losses[view.name] = forward_losses(space.glam, view, other)
        gates += forward_gates(losses[view.name], view.name)
    gates += grounding_gates(space.glam, target)
    gates.append(tilt_gate(space.glam, target))
    with Cell(space.contract.task, space.contract.embodiment) as cell:
        replays = [replay_source(space, view, cell) for view in [target, *others]]
    for replayed in replays:
        gates += replay_gates(replayed)
    for i, view in enumerate(others):
        gates += motion_gates(target, view)[0 if i == 0 else 1 :]
    pair = _cells(target, others[0]) if config.paired else None
    if pair:
        gates.append(paired_gate(*_paired(space, config, pair)))
    _write(config, space, gates, losses, replays, [target, *others])
    return gates


def replay_gates(replayed: Replays) -> list[Gate]:
    """The latents of a source move the robot as the source has moved."""
    name = replayed.name
    error, f1 = replayed.error_m, replayed.f1
    ratio = replayed.shuffled_error_m / error
    return [
        gate(f"replay of {name} on the robot, error after 2 s (m)", error, "< 0.02", error < 0.02),
        gate(f"replay of {name}, gripper events F1", f1, "> 0.9", f1 > 0.9),
        gate(f"replay of {name}, error with shuffled latents over it", ratio, ">= 5", ratio >= 5.0),
    ]


def gate_table(gates: list[Gate]) -> str:
    """The gates as a Markdown table."""
    verdict = {True: "pass", False: "**FAIL**", None: ""}
    rows = [f"| {g.name} | {g.value:.3f} | {g.wanted} | {verdict[g.passed]} |" for g in gates]
    return "\n".join(["| gate | value | wanted | |", "|---|---|---|---|", *rows])


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam probe`: print the gates as a table."""
    config = tyro.cli(ProbeConfig, prog="glam probe", args=sys.argv[1:] if arguments is None else arguments)
    gates = probe(config)
    width = max(len(g.name) for g in gates)
    for g in gates:
        verdict = {True: "pass", False: "FAIL", None: "    "}[g.passed]
        print(f"{verdict}  {g.name:<{width}}  {g.value:8.3f}  wanted {g.wanted}")
    print(f"written: {config.folder / PROBE_FILE}, {config.folder / REPORT_FILE}")


def _cells(*views: View) -> list[Source] | None:
    """The cells in which demonstrations were made: what a run has learned to look at. None if one was not simulated."""
    try:
        return [recorded_source(view.store.info.source, view.store.info.embodiment) for view in views]
    except ConfigurationError as error:
        log.warning("paired renders are left out, they need simulated cells: %s", error)
        return None


def _paired(space: LatentSpace, config: ProbeConfig, sources: list[Source]) -> tuple[View, View]:
    cameras = space.contract.obs_spec["images"]
    size = cameras[0]["height"] if cameras else 96
    folder = config.folder / "paired"
    names = tuple(camera["name"] for camera in cameras)
    first, second = record_pairs(folder, space.contract.task, config.paired, config.paired_seed, names, size, sources)
    return look(space, first, config.paired), look(space, second, config.paired)


def _write(
    config: ProbeConfig,
    space: LatentSpace,
    gates: list[Gate],
    losses: dict[str, ForwardLosses],
    replays: list[Replays],
    views: list[View],
) -> None:
    folder = config.folder
    folder.mkdir(parents=True, exist_ok=True)
    target = views[0]
    q_phi, q_psi = posteriors(space.glam, target)
    gap, used = kl_per_dimension(q_psi, q_phi), kl_to_prior_per_dimension(q_phi)
    record = {
        "run": str(config.run),
        "sources": {
            view.name: {
                "store": str(view.store.path),
                "fingerprint": view.store.fingerprint,
                "episodes": view.episodes,
                "transitions": len(view.z),
            }
            for view in views
        },
        "gates": [asdict(g) for g in gates],
        "forward_losses": {name: asdict(loss) for name, loss in losses.items()},
        "kl_action_encoder_to_idm": gap.tolist(),
        "kl_idm_to_prior": used.tolist(),
        "command": command_line(),
        "commit": git_commit(),
        "versions": package_versions("mujoco", "torch", "numpy"),
    }
    (folder / PROBE_FILE).write_text(json.dumps(record, indent=2) + "\n")
    plots = {
        "Latents by source and by motion": plot_latents(folder / "probe_latents.png", views),
        "Replay on the robot": plot_replay(folder / "probe_replay.png", replays),
        "Forward model with right and wrong latents": plot_forward(
            folder / "probe_forward.png", space.glam, views, losses
        ),
        "KL by dimension": plot_kl(folder / "probe_kl.png", gap.numpy(), used.numpy()),
    }
    parts = [
        f"# Gates of {space.contract.task}",
        f"`{config.run}` on held-out demonstrations: "
        + ", ".join(f"{view.name} ({view.episodes} episodes, {len(view.z)} transitions)" for view in views)
        + ".",
        gate_table(gates),
        *(f"## {title}\n\n![{title}]({path.name})" for title, path in plots.items()),
    ]
    (folder / REPORT_FILE).write_text("\n\n".join(parts) + "\n")
