"""Curves of the matrix as pictures: success with its interval, against a number of demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from glam_training.matrix.pooling import Pooled


def plot_curves(
    path: Path, curves: Mapping[str, Sequence[tuple[int, Pooled]]], colours: Mapping[str, str], title: str, axis: str
) -> Path:
    """Success against a number.

    Args:
        path: of the PNG.
        curves: label to points (number, entry), the smallest number first.
        colours: label to colour.
        title: of the plot.
        axis: what the number is.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    ticks = sorted({x for points in curves.values() for x, _ in points})
    for label, points in curves.items():
        x = [point[0] for point in points]
        y = [point[1].rate for point in points]
        bounds = [point[1].interval for point in points]
        errors = [
            [rate - low for rate, (low, _) in zip(y, bounds, strict=True)],
            [high - rate for rate, (_, high) in zip(y, bounds, strict=True)],
        ]
        axes.errorbar(x, y, yerr=errors, marker="o", capsize=3, color=colours[label], label=label)
        for value, entry in points:
            axes.scatter([value] * len(entry.rates), entry.rates, s=10, color=colours[label], alpha=0.4)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(axis)
    axes.set_ylabel("success (bars: 95 % interval, dots: seeds)")
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def plot_tasks(path: Path, rows: Mapping[str, Mapping[str, Pooled]], colours: Mapping[str, str], title: str) -> Path:
    """Bars of success by task and method.

    Args:
        path: of the PNG.
        rows: task to (label to entry).
        colours: label to colour, in the order of the bars.
        title: of the plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = [label for label in colours if any(label in row for row in rows.values())]
    figure = Figure(figsize=(3.5 + 1.6 * len(rows), 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = 0.85 / max(1, len(labels))
    for i, label in enumerate(labels):
        x, y, below, above = [], [], [], []
        for j, row in enumerate(rows.values()):
            if (entry := row.get(label)) is not None:
                low, high = entry.interval
                x.append(j + (i - (len(labels) - 1) / 2) * width)
                y.append(entry.rate)
                below.append(entry.rate - low)
                above.append(high - entry.rate)
        axes.bar(x, y, width, yerr=[below, above], color=colours[label], label=label, error_kw={"lw": 0.8})
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("success (95 % interval)")
    figure.suptitle(title, wrap=True)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7, ncols=2, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
