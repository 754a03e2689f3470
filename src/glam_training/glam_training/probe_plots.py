"""Pictures of a latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glam_training.gates import ForwardLosses, shuffled, swapped, tool_motion
from glam_training.latent_space import View
from glam_training.models.glam import Glam
from glam_training.replay import Replays

_POINTS = 1500
_DPI = 110


def plot_latents(path: Path, views: Sequence[View]) -> Path:
    """Latents on their first two principal axes, coloured by source, by vertical and by gripper motion."""
    z = torch.cat([view.z[:_POINTS] for view in views])
    centred = z - z.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    points = (centred @ axes.T).numpy()
    motion = torch.cat([tool_motion(view)[:_POINTS] for view in views]).numpy()
    figure, panels = _figure(1, 3, (13, 4))
    first = 0
    for i, view in enumerate(views):
        last = first + min(_POINTS, len(view.z))
        panels[0].scatter(*points[first:last].T, s=4, alpha=0.4, color=f"C{i}", label=view.name)
        first = last
    panels[0].legend()
    panels[0].set_title("by source")
    for panel, column, factor, limit, what in (
        (panels[1], 2, 1000, 20, "vertical tool motion per latent (mm)"),
        (panels[2], 3, 1, 0.3, "change of the gripper per latent"),
    ):
        dots = panel.scatter(*points.T, s=4, c=factor * motion[:, column], cmap="coolwarm", vmin=-limit, vmax=limit)
        figure.colorbar(dots, ax=panel, label=what)
        panel.set_title("by motion")
    for panel in panels:
        panel.set_xlabel("first principal axis of z")
        panel.set_ylabel("second")
    return _save(figure, path)


def plot_replay(path: Path, replays: Sequence[Replays]) -> Path:
    """Error over time of every source, with right and shuffled latents; and one way of each, axis by axis."""
    figure, panels = _figure(2, len(replays), (4.2 * len(replays), 6.5))
    panels = np.asarray(panels).reshape(2, len(replays))
    for column, replayed in zip(panels.T, replays, strict=True):
        for errors, colour, label in (
            (replayed.shuffled_errors, "0.6", "shuffled latents"),
            (replayed.errors, "C3", "its latents"),
        ):
            steps = np.arange(1, errors.shape[1] + 1)
            if len(errors):
                low, middle, high = 100 * np.percentile(errors, [10, 50, 90], axis=0)
                column[0].plot(steps, middle, color=colour, label=label)
                column[0].fill_between(steps, low, high, color=colour, alpha=0.2)
        column[0].axhline(2.0, color="k", lw=0.8, ls=":")
        column[0].set_title(f"{replayed.name}: {len(replayed.errors)} windows, F1 {replayed.f1:.2f}")
        column[0].set_xlabel("latent")
        column[0].set_ylabel("error (cm), median, 10 to 90 %")
        column[0].set_yscale("log")
        column[0].legend(fontsize=8)
        for axis, name in enumerate("xyz"):
            column[1].plot(100 * replayed.path[:, axis], color=f"C{axis}", label=name)
            column[1].plot(100 * replayed.replayed[:, axis], color=f"C{axis}", ls="--")
        column[1].set_xlabel("latent")
        column[1].set_ylabel("way of the tool (cm); dashed: robot")
        column[1].legend(fontsize=8)
    return _save(figure, path)


@torch.inference_mode()
def plot_forward(path: Path, glam: Glam, views: Sequence[View], losses: Mapping[str, ForwardLosses]) -> Path:
    """Predicted against true changes, with the right, shuffled and swapped latents."""
    pairs = [(views[0], views[1]), *((view, views[0]) for view in views[1:])]
    figure, panels = _figure(len(pairs), 3, (10, 3.3 * len(pairs)))
    panels = np.asarray(panels).reshape(len(pairs), 3)
    for row, (view, other) in zip(panels, pairs, strict=True):
        axis = torch.linalg.svd(view.change - view.change.mean(0), full_matrices=False).Vh[0]
        true = (view.change @ axis).numpy()
        limit = float(np.percentile(np.abs(true), 99.5))
        loss = losses[view.name]
        for panel, z, value, name in (
            (row[0], view.z, loss.true, "its latents"),
            (row[1], shuffled(view.z), loss.shuffled, "shuffled latents"),
            (row[2], swapped(view, other), loss.swapped, f"latents of {other.name}, nearest motion"),
        ):
            predicted = (glam.predict_change(view.o, z) @ axis).numpy()
            panel.scatter(true[:_POINTS], predicted[:_POINTS], s=3, alpha=0.4)
            panel.plot([-limit, limit], [-limit, limit], color="k", lw=0.8)
            panel.set_xlim(-limit, limit)
            panel.set_ylim(-limit, limit)
            panel.set_title(f"{view.name}: {name}\nloss {value:.3f}", fontsize=9)
            panel.set_xlabel("true change")
        row[0].set_ylabel("predicted change\n(first principal axis)")
    return _save(figure, path)


def plot_kl(path: Path, gap: np.ndarray, used: np.ndarray) -> Path:
    """KL of action encoder to IDM, and of IDM to the prior, by dimension."""
    figure, panels = _figure(1, 2, (9, 3.2))
    for panel, values, title in (
        (panels[0], gap, "KL(action encoder || IDM)"),
        (panels[1], used, "KL(IDM || prior): dimensions in use"),
    ):
        panel.bar(range(len(values)), values)
        panel.set_xlabel("dimension of z")
        panel.set_ylabel("nats")
        panel.set_title(title)
    return _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path
