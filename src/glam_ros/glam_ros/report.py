"""The report of a demo: numbers as JSON, a table for the terminal, a page in Markdown and HTML, and its plots."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from glam_core.manifest import Manifest
from glam_core.stats import Summary, summarize, wilson_interval
from glam_ros.watching import COMMANDS, POLICY_AND_DECODER, STAGES, EpisodeRecord

RATE_TOLERANCE = 0.05
LATENCY_BAR_MS = 50.0
PLOTS = {
    "success.png": "Success and duration of every episode",
    "latency.png": "Latency per stage",
    "tool_path.png": "Path of each tool in its arm's base frame, from above and from the side",
}


@dataclass(frozen=True)
class Rate:
    """What a stream should have held, and what it held, Hz; how far its gaps are from the period, where it had any."""

    expected_hz: float
    achieved_hz: float
    jitter_p99_ms: float | None

    @property
    def held(self) -> bool:
        """Whether the rate was held within the tolerance."""
        return abs(self.achieved_hz - self.expected_hz) <= RATE_TOLERANCE * self.expected_hz


@dataclass(frozen=True)
class Offline:
    """The offline evaluation that the manifest tells of."""

    n: int
    successes: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Results:
    """All numbers of a demo. Latencies are in milliseconds."""

    task: str
    model: str
    method: str
    episodes: int
    successes: int
    interval: tuple[float, float]
    offline: Offline | None
    latencies_ms: dict[str, Summary]
    rates: dict[str, Rate]
    slowest_real_time_factor: float | None
    clamps: dict[str, int]
    faults: dict[str, int]
    stops: dict[str, int]
    outcomes: list[dict[str, float | int | bool]]

    @property
    def agrees_with_offline(self) -> bool | None:
        """Whether the intervals of the demo and of the offline evaluation overlap; None without an evaluation."""
        if self.offline is None:
            return None
        low, high = self.offline.interval
        return self.interval[0] <= high and low <= self.interval[1]


def evaluate(
    episodes: Sequence[EpisodeRecord], manifest: Manifest, model: str, expected_hz: dict[str, float]
) -> Results:
    """The numbers of a series of episodes, of which there is at least one.

    Args:
        episodes: As they were seen.
        manifest: Of the model that ran.
        model: Its name.
        expected_hz: Stream to the rate that it should have held.
    """
    successes = sum(episode.success for episode in episodes)
    offline = None
    if manifest.evaluation is not None:
        measured = manifest.evaluation
        offline = Offline(measured.n, measured.successes, measured.interval)
    latencies = {stage: [1e3 * s for episode in episodes for s in episode.latencies[stage]] for stage in STAGES}
    return Results(
        task=manifest.task,
        model=model,
        method=manifest.method,
        episodes=len(episodes),
        successes=successes,
        interval=wilson_interval(successes, len(episodes)),
        offline=offline,
        latencies_ms={stage: summarize(values) for stage, values in latencies.items() if values},
        rates={
            stream: Rate(hz, _rate_hz(episodes, stream), _jitter_p99_ms(episodes, stream, hz))
            for stream, hz in expected_hz.items()
        },
        slowest_real_time_factor=min((f for episode in episodes for f in episode.real_time_factors), default=None),
        clamps=dict(sum((episode.clamps for episode in episodes), Counter()).most_common()),
        faults=dict(sum((episode.faults for episode in episodes), Counter()).most_common()),
        stops=dict(Counter(stop for episode in episodes for stop in episode.stops).most_common()),
        outcomes=[
            {"seed": each.seed, "success": each.success, "duration_s": round(each.duration_s, 3)} for each in episodes
        ],
    )


def tables(results: Results) -> dict[str, list[tuple[str, ...]]]:
    """Title to rows, the first of which is the header: what the terminal and the pages show."""
    low, high = results.interval
    success = [
        ("", "success", "95 % interval"),
        ("live graph", f"{results.successes}/{results.episodes}", f"{low:.2f} to {high:.2f}"),
    ]
    if results.offline is not None:
        offline = results.offline
        low, high = offline.interval
        success.append(("offline evaluation", f"{offline.successes}/{offline.n}", f"{low:.2f} to {high:.2f}"))
        success.append(("the two agree", "yes" if results.agrees_with_offline else "no", ""))
    latency = [("stage", "median ms", "p99 ms", "n")]
    latency += [(s, f"{v.median:.1f}", f"{v.p99:.1f}", str(v.n)) for s, v in results.latencies_ms.items()]
    rates = [("stream", "expected Hz", "achieved Hz", f"within {RATE_TOLERANCE:.0%}", "jitter p99 ms")]
    for stream, rate in results.rates.items():
        held, jitter = "yes" if rate.held else "no", "-" if rate.jitter_p99_ms is None else f"{rate.jitter_p99_ms:.1f}"
        rates.append((stream, f"{rate.expected_hz:g}", f"{rate.achieved_hz:.2f}", held, jitter))
    return {
        f"Success: {results.task}, model {results.model} ({results.method})": success,
        "Latency": latency,
        "Rates": rates,
        "Clamps": [("limit", "commands"), *((name, str(count)) for name, count in results.clamps.items())],
        "Stops, after which the demo enabled the arm again": [
            ("reason", "times"),
            *((name, str(count)) for name, count in results.stops.items()),
        ],
        "Faults": [("fault", "reports"), *((name, str(count)) for name, count in results.faults.items())],
    }


def verdict(results: Results) -> str:
    """The demo in one paragraph."""
    both = results.latencies_ms.get(POLICY_AND_DECODER)
    control = results.rates[COMMANDS]
    words = [f"{results.successes} of {results.episodes} episodes succeeded."]
    if both is not None:
        fast = "within" if both.p99 <= LATENCY_BAR_MS else "above"
        allowed = f"{fast} the {LATENCY_BAR_MS:g} ms allowed"
        words.append(f"Policy and decoder together take {both.p99:.1f} ms (p99), {allowed}.")
    held = "held" if control.held else "not held"
    words.append(f"The control rate was {held}: {control.achieved_hz:.2f} Hz of {control.expected_hz:g} Hz.")
    if results.slowest_real_time_factor is not None:
        words.append(f"The simulation ran at {results.slowest_real_time_factor:.2f} of real time at its slowest.")
    words.append(
        f"{sum(results.clamps.values())} clamps, {sum(results.stops.values())} stops, "
        f"{sum(results.faults.values())} reports of faults."
    )
    return " ".join(words)


def as_text(results: Results) -> str:
    """The tables for a terminal."""
    blocks = []
    for title, rows in tables(results).items():
        rows = rows if len(rows) > 1 else [("none",)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        blocks.append("\n  ".join([title, *lines]))
    return "\n\n".join([*blocks, verdict(results)])


def write(folder: Path, results: Results, episodes: Sequence[EpisodeRecord], video: str) -> None:
    """Writes numbers.json, report.md, report.html and the plots into a folder that exists.

    Args:
        folder: Where to.
        results: The numbers.
        episodes: For the plots.
        video: File name of the video beside the report, empty where there is none.
    """
    numbers = asdict(results) | {"agrees_with_offline": results.agrees_with_offline}
    (folder / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    _plot(folder, episodes)
    (folder / "report.md").write_text(_markdown(results, video), encoding="utf-8")
    (folder / "report.html").write_text(_html(results, video), encoding="utf-8")


def _rate_hz(episodes: Sequence[EpisodeRecord], stream: str) -> float:
    """Messages per second over all episodes, the pauses between them left out."""
    stamps = [sorted(episode.stamps[stream]) for episode in episodes if len(episode.stamps[stream]) > 1]
    duration = sum(times[-1] - times[0] for times in stamps)
    return sum(len(times) - 1 for times in stamps) / duration if duration > 0.0 else 0.0


def _jitter_p99_ms(episodes: Sequence[EpisodeRecord], stream: str, hz: float) -> float | None:
    """99th percentile of how far the time between two messages is from the period."""
    gaps = [np.diff(sorted(episode.stamps[stream])) for episode in episodes if len(episode.stamps[stream]) > 1]
    return float(1e3 * np.percentile(np.abs(np.concatenate(gaps) - 1.0 / hz), 99)) if gaps else None


def _markdown(results: Results, video: str) -> str:
    parts = ["# Demo through the live graph", verdict(results)]
    if video:
        parts.append(f"[All episodes, back to back]({video})")
    for title, rows in tables(results).items():
        parts.append(f"## {title}")
        if len(rows) == 1:
            parts.append("None.")
            continue
        header, *body = ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join([header, "|" + "---|" * len(rows[0]), *body]))
    parts += [f"![{caption}]({name})" for name, caption in PLOTS.items()]
    return "\n\n".join(parts) + "\n"


def _html(results: Results, video: str) -> str:
    parts = ["<h1>Demo through the live graph</h1>", f"<p>{html.escape(verdict(results))}</p>"]
    if video:
        parts.append(f'<video src="{video}" controls muted width="640"></video>')
    for title, rows in tables(results).items():
        parts.append(f"<h2>{html.escape(title)}</h2>")
        if len(rows) == 1:
            parts.append("<p>None.</p>")
            continue
        cells = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(rows)]
        parts.append("<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>")
    for name, caption in PLOTS.items():
        parts.append(f'<figure><img src="{name}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    style = (
        "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .7em;text-align:left}"
        "img{max-width:100%}figure{margin:1.5em 0}"
    )
    head = f'<meta charset="utf-8"><title>Demo: {html.escape(results.task)}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _tagged(rows: list[tuple[str, ...]]) -> list[tuple[str, tuple[str, ...]]]:
    """The rows with the HTML tag of their cells: the first one is the header."""
    return [("th" if number == 0 else "td", row) for number, row in enumerate(rows)]


def _plot(folder: Path, episodes: Sequence[EpisodeRecord]) -> None:
    """Draws the plots; matplotlib is imported here, where it is needed, with a backend that opens no window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    green, red = "#2e9e4f", "#d1493f"
    colors = [green if episode.success else red for episode in episodes]

    figure, axes = pyplot.subplots(figsize=(8, 2.6))
    axes.bar([str(episode.seed) for episode in episodes], [episode.duration_s for episode in episodes], color=colors)
    axes.set(xlabel="seed", ylabel="time to success or to the end, s")
    _save(figure, folder / "success.png")

    figure, panels = pyplot.subplots(2, 3, figsize=(10, 5))
    for stage, axes in zip(STAGES, panels.flat, strict=True):
        values = 1e3 * np.array([s for episode in episodes for s in episode.latencies[stage]])
        axes.set(title=stage, xlabel="ms", ylabel="count")
        if values.size:
            axes.hist(values, bins=40, color="#3b6fb6")
            axes.axvline(np.percentile(values, 99), color=red, linestyle="--", label="p99")
            axes.legend()
    _save(figure, folder / "latency.png")

    figure, (above, side) = pyplot.subplots(1, 2, figsize=(10, 4))
    for episode, color in zip(episodes, colors, strict=True):
        for path in episode.tool_paths.values():
            x, y, z = np.array(path).T
            above.plot(y, x, color=color, linewidth=1)
            side.plot(x, z, color=color, linewidth=1)
    above.set(title="from above", xlabel="y, m", ylabel="x, m", aspect="equal")
    above.invert_xaxis()
    side.set(title="from the side", xlabel="x, m", ylabel="z, m", aspect="equal")
    _save(figure, folder / "tool_path.png")


def _save(figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    figure.clear()
