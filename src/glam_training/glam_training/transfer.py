"""`glam transfer`: unseen episodes of any source, encoded with the IDM, decoded for the target robot, and replayed.

A latent action has a meaning of its own only if the robot can do what another embodiment has shown, without being told
how. Errors are those of `glam_training.replay`; the videos show whole episodes side by side.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro

from glam_core.gen3 import COMMAND_STEP_S
from glam_core.tool import ToolCommand, commands_from_action, state_vector, tools_from_state_vector
from glam_sim.cell import Cell
from glam_sim.scene import scene_from_vector, scene_spec
from glam_training.latent_space import LatentSpace, View, look, open_latent_space
from glam_training.probe_plots import plot_replay
from glam_training.provenance import command_line, git_commit, package_versions
from glam_training.replay import Replays, approach, decode, replay_source
from glam_training.video import Clip, write_video

ERROR_M = 0.02
F1 = 0.9
SHUFFLED_RATIO = 5.0
FRAME_SIZE = (240, 320)


@dataclass(frozen=True)
class TransferConfig:
    """Replay unseen demonstrations of several sources on the simulated target robot, from their latents alone."""

    run: Path
    """Run folder of stage 1, or of GLAM in the bench."""
    sources: tuple[Path, ...]
    """Stores of unseen episodes: of the hand-held gripper, the target, its twin."""
    episodes: int | None = 20
    """Use only the first so many episodes of each store; all when None."""
    out: Path = Path("runs/transfer")
    """Folder of the report, its plot and videos."""
    videos: int = 3
    """Episodes of each source in its video; 0 makes none."""


def transfer(config: TransferConfig) -> list[Replays]:
    """Replay all sources; writes transfer.json, transfer.md, a plot and a video per source."""
    space = open_latent_space(config.run)
    views = [look(space, path, config.episodes) for path in config.sources]
    with Cell(space.contract.task, space.contract.embodiment) as cell:
        replays = [replay_source(space, view, cell) for view in views]
        config.out.mkdir(parents=True, exist_ok=True)
        for view in views if config.videos else []:
            clips = [clip for i in range(min(config.videos, view.episodes)) for clip in _clips(space, view, i, cell)]
            write_video(config.out / f"transfer_{view.name}.mp4", clips, frame_rate_hz=1.0 / COMMAND_STEP_S)
    plot_replay(config.out / "transfer.png", replays)
    record = {
        "run": str(config.run),
        "task": space.contract.task,
        "sources": [
            {
                "name": replayed.name,
                "store": str(view.store.path),
                "fingerprint": view.store.fingerprint,
                "windows": len(replayed.errors),
                "error_median_m": replayed.error_m,
                "error_p90_m": replayed.worst_m,
                "shuffled_error_median_m": replayed.shuffled_error_m,
                "gripper_events": replayed.events,
                "gripper_f1": replayed.f1,
                "shuffled_gripper_f1": replayed.shuffled_f1,
                "errors_m": replayed.errors[:, -1].round(5).tolist(),
            }
            for view, replayed in zip(views, replays, strict=True)
        ],
        "command": command_line(),
        "commit": git_commit(),
        "versions": package_versions("mujoco", "torch", "numpy"),
    }
    (config.out / "transfer.json").write_text(json.dumps(record, indent=2) + "\n")
    page = f"# Transfer of {space.contract.task}\n\n{transfer_table(replays)}\n\n![Replays](transfer.png)\n"
    (config.out / "transfer.md").write_text(page)
    return replays


def transfer_table(replays: list[Replays]) -> str:
    """Errors of all sources against their bars, as a Markdown table."""
    rows = [
        "| source | windows | error after 2 s, median | 90th percentile | shuffled latents | times worse | F1 of the "
        "gripper | shuffled | |",
        "|---" * 9 + "|",
    ]
    for r in replays:
        ratio = r.shuffled_error_m / r.error_m
        reached = r.error_m < ERROR_M and r.f1 > F1 and ratio >= SHUFFLED_RATIO
        rows.append(
            f"| {r.name} | {len(r.errors)} | {100 * r.error_m:.2f} cm | {100 * r.worst_m:.2f} cm | "
            f"{100 * r.shuffled_error_m:.2f} cm | {ratio:.1f} | {r.f1:.2f} | {r.shuffled_f1:.2f} | "
            f"{'reached' if reached else '**not reached**'} |"
        )
    bar = f"Bar: < {100 * ERROR_M:.0f} cm, F1 > {F1}, shuffled latents at least {SHUFFLED_RATIO:.0f} times worse."
    return "\n".join([*rows, "", bar])


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam transfer`."""
    config = tyro.cli(TransferConfig, prog="glam transfer", args=sys.argv[1:] if arguments is None else arguments)
    print(transfer_table(transfer(config)))
    print(f"written: {config.out}")


@torch.inference_mode()
def _clips(space: LatentSpace, view: View, episode: int, cell: Cell) -> tuple[Clip, Clip]:
    """An episode of a source, and the robot doing the same from its latents, among the same objects."""
    span = view.store.episode_slices()[episode]
    rows = torch.nonzero(view.episode == episode).flatten()[:: space.step]
    arrays = view.store.load_hidden(["state", "scene"], view.episodes)
    state, scene = arrays["state"][span], arrays["scene"][span]
    shown = list(_source_frames(view, span, state, scene, space))
    cell.reset(0)
    approach(cell, state[0])
    _place_objects(cell, scene[0])
    frames = [cell.render("overview", *FRAME_SIZE)]
    for z in view.z[rows]:
        for action in decode(space, z, torch.from_numpy(state_vector(cell.tools, cell.arms))):
            cell.command(commands_from_action(action, cell.tools, space.action_spec))
            cell.advance(COMMAND_STEP_S)
            frames.append(cell.render("overview", *FRAME_SIZE))
    return (
        Clip(np.stack(shown), f"{view.name} {episode}", None),
        Clip(np.stack(frames), "robot, from its latents", None),
    )


def _source_frames(
    view: View, span: slice, state: np.ndarray, scene: np.ndarray, space: LatentSpace
) -> Iterator[np.ndarray]:
    """What the source's own first camera saw; without images, its poses shown by the simulator."""
    images = [image.name for image in view.store.info.obs_spec.images]
    if images:
        key = f"images/{images[0]}"
        for frame in view.store.load_hidden([key], view.episodes)[key][span]:
            height, width = FRAME_SIZE
            square = cv2.resize(frame, (height, height), interpolation=cv2.INTER_NEAREST)
            margin = (width - height) // 2
            yield cv2.copyMakeBorder(square, 0, 0, margin, width - height - margin, cv2.BORDER_CONSTANT)
        return
    with Cell(space.contract.task, view.store.info.embodiment) as cell:
        approach(cell, state[0])
        for row, objects in zip(state, scene, strict=True):
            goals = tools_from_state_vector(row, cell.arms)
            cell.command({arm: ToolCommand(tool.T_base_tool, tool.gripper) for arm, tool in goals.items()})
            cell.advance(COMMAND_STEP_S)
            _place_objects(cell, objects)
            yield cell.render("overview", *FRAME_SIZE)


def _place_objects(cell: Cell, scene: np.ndarray) -> None:
    """Put the objects where a scene vector has them; what it says of the look stands at its end."""
    for name, placed in scene_from_vector(scene[: scene_spec(cell.task).size], cell.task).objects.items():
        cell.move_object(name, placed.T_world_object)
