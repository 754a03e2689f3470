"""`glam bench report`: the page and the plots of the matrix, made from its records and from reports of the shipped
models, and nothing else."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from glam_core.errors import DataError
from glam_training.experiment import METHODS, Experiment, Switches
from glam_training.matrix.bars import OURS, Bar, all_bars
from glam_training.matrix.plots import plot_curves, plot_tasks
from glam_training.matrix.pooling import Pooled, Table
from glam_training.matrix.presets import (
    ABLATIONS,
    AUXILIARY,
    AUXILIARY_CURVE,
    ENCODERS,
    IMAGE_SCARCE,
    SCARCE,
    TASKS,
    Encoder,
    normalised,
    preset,
)
from glam_training.matrix.record import CellRecord, cell_path, read_records
from glam_training.matrix.shipped import shipped_bars, shipped_costs
from glam_training.matrix.variants import METHOD_NAMES, variant_colours, variants

SUITES = {"state": "State suite", "images": "Image suite"}


@dataclass(frozen=True)
class ReportConfig:
    """Write the page and the plots of the matrix from its records."""

    results: Path = Path("docs/results/matrix")
    """Folder of the records."""
    page: Path = Path("docs/results/matrix.md")
    """Markdown file to write; plots stand beside it."""
    reports: Path = Path("docs/results")
    """Folder of the reports of single models, as of the shipped ones: eval_, probe_ and transfer_<task>.json."""
    models: Path = Path("models")
    """Folder of the shipped models, whose manifests say what their training took."""


def write_report(config: ReportConfig) -> list[Path]:
    """Write the page and its plots; returns their paths.

    Raises:
        DataError: there are no records, or one of them is damaged or measured on other starts than the tables'.
    """
    records = read_records(config.results)
    if not records:
        raise DataError(f"{config.results} holds no records; run glam bench matrix first")
    for record in records:
        if record.starts.kind != "evaluation":
            raise DataError(
                f"{cell_path(config.results, record.experiment)} was measured on the {record.starts.kind} starts, "
                "which are not for tables; keep it in another folder"
            )
    tables = {key: Table(group) for key, group in _by_suite_and_budget(records).items()}
    budgets = {suite: max(_sizes(tables, suite), key=lambda x: x[1])[0] for suite in SUITES if _sizes(tables, suite)}
    sections = [_head(records)]
    main = {suite: tables.get((suite, budgets.get(suite, "")), Table([])) for suite in SUITES}
    sections.append(_bars([*all_bars(main["state"], main["images"], budgets), *shipped_bars(config.reports)]))
    paths = [config.page]
    for (suite, budget), table in sorted(tables.items(), key=lambda item: (item[0][0] != "state", item[0][1])):
        text, plots = _suite(table, suite, budget, config.page)
        sections.append(text)
        paths += plots
    sections += [_filled(records), _cost(records), *shipped_costs(config.models), _machines(records)]
    config.page.parent.mkdir(parents=True, exist_ok=True)
    config.page.write_text("\n\n".join(sections) + "\n")
    return paths


def _by_suite_and_budget(records: Iterable[CellRecord]) -> dict[tuple[str, str], list[CellRecord]]:
    groups: dict[tuple[str, str], list[CellRecord]] = {}
    for record in records:
        groups.setdefault((record.experiment.suite, record.experiment.budget), []).append(record)
    return groups


def _sizes(tables: dict[tuple[str, str], Table], suite: str) -> list[tuple[str, int]]:
    return [(budget, len(table.entries)) for (s, budget), table in tables.items() if s == suite]


def _head(records: Sequence[CellRecord]) -> str:
    episodes = sum(record.n for record in records)
    changes = sorted({change for record in records for change in record.budget_changes})
    mark = f" †: measured when something else held: {'; '.join(changes)}." if changes else ""
    return (
        "# The matrix\n\n"
        "Written by `glam bench report` from the records in `matrix/`; run it again rather than edit this page. "
        f"{len(records)} cells, {episodes} episodes. A cell is one training run, rolled out with its last weights on "
        "the same starts as all others (seeds from 10000 on; nothing was chosen on them). Entries read: success rate "
        "over all seeds of training, 95 % Wilson interval, episodes, and in brackets the rate of each seed. The "
        f"interval covers the starts; how much training itself varies is what the brackets show.{mark}\n\n"
        "`glam bench matrix --preset cpu` (or `gpu`) makes the records, and goes on where it was stopped."
    )


def _bars(bars: Sequence[Bar]) -> str:
    rows = [f"| {bar.what} | {bar.wanted} | {bar.measured or '-'} | **{bar.verdict}** |" for bar in bars]
    return "\n".join(["## What was to be shown", "", "| what | bar | measured | |", "|---|---|---|---|", *rows])


def _suite(table: Table, suite: str, budget: str, page: Path) -> tuple[str, list[Path]]:
    """Section of one suite and budget, and its plots."""
    scarce = SCARCE if suite == "state" else IMAGE_SCARCE["slots"]
    base = Experiment("stack_two", "mip", suite, budget=budget)
    stem = page.with_suffix("")
    parts, plots = [f"## {SUITES[suite]}, budget `{budget}`"], []

    def add(path: Path, caption: str) -> None:
        plots.append(path)
        parts.append(f"![{caption}]({path.name})")

    encoders: tuple[Encoder | None, ...] = ENCODERS if suite == "images" else (None,)
    for space, encoder in itertools.product(("tool", "joint"), encoders):
        counts = IMAGE_SCARCE[encoder] if encoder else scarce
        rows = _task_rows(table, replace(base, action_space=space, encoder=encoder), counts)
        if rows:
            seen = f", {encoder}" if encoder else ""
            parts.append(f"### Tasks, {space}-space actions{seen}\n\n{_task_table(rows, counts)}")
            title = f"{SUITES[suite]}{seen}, {space} space, {AUXILIARY} auxiliary demonstrations"
            name = "_".join(filter(None, (stem.name, suite, budget, "tasks", space, encoder)))
            colours = variant_colours()
            add(plot_tasks(page.with_name(f"{name}.png"), rows, colours, title), title)

    curves = {
        (variant.title + (f", {encoder}" if encoder else "")): points
        for variant, encoder in itertools.product(variants(METHODS), encoders)
        if (points := _points(table, variant.of(replace(base, encoder=encoder)), "target_episodes"))
    }
    if any(len(points) > 1 for points in curves.values()):
        # A single point says nothing but where the baseline stands.
        curves = {name: points for name, points in curves.items() if len(points) > 1 or name.split(",")[0] == "MIP"}
        title = f"stack_two, {suite}: success against target demonstrations"
        parts.append(f"### Target demonstrations on stack_two\n\n{_curve_table(curves, 'target demonstrations')}")
        shown = {name: p for name, p in curves.items() if name.split(",")[0] in ("MIP", "GLAM", "GLAM-O")}
        colours = {name: f"C{i}" for i, name in enumerate(shown)}
        path = page.with_name(f"{stem.name}_{suite}_{budget}_target.png")
        add(plot_curves(path, shown, colours, title, "target demonstrations"), title)

    auxiliary = _auxiliary_curves(table, base, scarce["stack_two"])
    if auxiliary:
        n = scarce["stack_two"]
        title = f"stack_two, {suite}: {n} target demonstrations and more of either kind"
        parts.append(f"### Auxiliary demonstrations on stack_two\n\n{_curve_table(auxiliary, f'more than {n} target')}")
        by_name = variant_colours()
        colours = {label: by_name[label.rpartition(", ")[0]] for label in auxiliary}
        path = page.with_name(f"{stem.name}_{suite}_{budget}_auxiliary.png")
        add(plot_curves(path, auxiliary, colours, title, "further demonstrations"), title)

    ours = "glam" if suite == "state" else "glam_o"
    ablations = _ablation_rows(table, replace(base, method=ours, target_episodes=scarce["stack_two"]))
    if ablations:
        lines = [f"| {name} | {entry} |" for name, entry in ablations]
        header = f"### Ablations on stack_two, {scarce['stack_two']} target and {AUXILIARY} auxiliary demonstrations"
        parts.append("\n".join([header, "", "| | success |", "|---|---|", *lines]))
    return "\n\n".join(parts), plots


def _task_rows(table: Table, base: Experiment, scarce: dict[str, int]) -> dict[str, dict[str, Pooled]]:
    rows = {}
    for task in TASKS:
        cell = replace(base, task=task, target_episodes=scarce[task], auxiliary_episodes=AUXILIARY)
        methods = [m for m in METHODS if not (m == "pose_cotraining" and base.action_space == "joint")]
        row = {v.title: e for v in variants(methods) if (e := table.get(v.of(cell))) is not None}
        if row:
            rows[task] = row
    return rows


def _task_table(rows: dict[str, dict[str, Pooled]], scarce: dict[str, int]) -> str:
    header = " | ".join(f"{task}, {scarce[task]} target" for task in rows)
    lines = [f"| | {header} |", "|---" * (len(rows) + 1) + "|"]
    for title in (variant.title for variant in variants(METHODS)):
        if any(title in row for row in rows.values()):
            entries = [str(row[title]) if title in row else "-" for row in rows.values()]
            lines.append(f"| {title} | {' | '.join(entries)} |")
    return "\n".join(lines)


def _points(table: Table, base: Experiment, field: str) -> list[tuple[int, Pooled]]:
    """Entries that differ from `base` in one number."""
    wanted = replace(normalised(base), seed=0, **{field: 1})
    found = [
        (getattr(entry.experiment, field), entry)
        for entry in table.entries.values()
        if replace(entry.experiment, **{field: 1}) == wanted
    ]
    return sorted(found, key=lambda point: point[0])


def _auxiliary_curves(table: Table, base: Experiment, scarce: int) -> dict[str, list[tuple[int, Pooled]]]:
    curves: dict[str, list[tuple[int, Pooled]]] = {}
    for count in AUXILIARY_CURVE:
        entries = {
            f"{v.title}, auxiliary": v.of(replace(base, target_episodes=scarce, auxiliary_episodes=count)) for v in OURS
        }
        entries |= {
            f"{METHOD_NAMES[m]}, more target": replace(base, method=m, target_episodes=scarce + count)
            for m in ("target_only", "mip")
        }
        for label, cell in entries.items():
            if (entry := table.get(cell)) is not None:
                curves.setdefault(label, []).append((count, entry))
    return {label: points for label, points in curves.items() if len(points) > 1}


def _curve_table(curves: dict[str, list[tuple[int, Pooled]]], axis: str) -> str:
    numbers = sorted({number for points in curves.values() for number, _ in points})
    lines = [f"| {axis} | {' | '.join(map(str, numbers))} |", "|---" * (len(numbers) + 1) + "|"]
    for label, points in curves.items():
        by_number = dict(points)
        cells = [str(by_number[n]) if n in by_number else "-" for n in numbers]
        lines.append(f"| {METHOD_NAMES.get(label, label)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ablation_rows(table: Table, base: Experiment) -> list[tuple[str, Pooled]]:
    rows = [
        (name, entry)
        for name, switches in {METHOD_NAMES[base.method]: Switches(), **ABLATIONS}.items()
        if (entry := table.get(replace(base, switches=switches))) is not None
    ]
    return rows if len(rows) > 1 else []


def _filled(records: Sequence[CellRecord]) -> str:
    """Which cells of the presets are measured."""
    measured = {record.experiment for record in records}
    lines = ["## Which cells are filled", "", "| preset | part | measured | of |", "|---|---|---|---|"]
    for name in ("cpu", "gpu"):
        for part in preset(name).parts:
            count = sum(cell in measured for cell in part.cells)
            lines.append(f"| {name} | {part.name} | {count} | {len(part.cells)} |")
    return "\n".join(lines)


def _cost(records: Sequence[CellRecord]) -> str:
    """What training and rollouts cost, by machine, suite, budget and method."""
    groups: dict[tuple[str, str, str, str], list[CellRecord]] = {}
    for record in records:
        cell = record.experiment
        groups.setdefault((_machine(record), cell.suite, cell.budget, cell.method), []).append(record)
    lines = [
        "## Cost",
        "",
        "Medians over the cells. Runs may be trained together; the time of all and their number stand side by side; "
        "of a run that was cut short and resumed, at least its stages count. Rollouts: seconds of one core per "
        "episode.",
        "",
        "| machine | suite | budget | method | cells | training, s | runs together | peak memory, MB | "
        "on the GPU, MB | rollout, s |",
        "|---" * 10 + "|",
    ]
    order = list(METHODS)
    for key in sorted(groups, key=lambda k: (k[0], k[1] != "state", k[2], order.index(k[3]))):
        group = groups[key]
        values = [median(map(_training_s, group)), median(record.cost["trained_together"] for record in group)]
        memory = [median(_peak_mb(record, on_gpu) for record in group) for on_gpu in (False, True)]
        rollout = median(record.cost["rollouts_core_s"] / record.n for record in group)
        lines.append(
            f"| {' | '.join(key)} | {len(group)} | {values[0]:.0f} | {values[1]:.0f} | "
            f"{_or_dash(memory[0])} | {_or_dash(memory[1])} | {rollout:.2f} |"
        )
    return "\n".join([*lines, "", *_stage_costs(records)])


def _training_s(record: CellRecord) -> float:
    """What training took: the record's own number is that of its last call alone."""
    return max(record.cost["training_s"], sum(stage["seconds"] for stage in record.stages.values()))


def _peak_mb(record: CellRecord, on_gpu: bool) -> float:
    """Peak memory of training, likewise; 0 where it was not measured."""
    last = record.cost["training_peak_gpu_mb" if on_gpu else "training_peak_memory_mb"]
    stages = [s["peak_memory_mib"] for s in record.stages.values() if s["device"].startswith("cpu") != on_gpu]
    return max(last, *stages, 0.0)


def _or_dash(number: float) -> str:
    return f"{number:.0f}" if number else "-"


def _stage_costs(records: Sequence[CellRecord]) -> list[str]:
    """What each stage cost."""
    groups: dict[tuple[str, str, str, str], list[tuple[float, ...]]] = {}
    for record in records:
        cell = record.experiment
        for stage, cost in record.stages.items():
            together = cost.get("trained_together", 1)
            samples = 2 * record.budget["batch_size"] * together * cost["steps"] / max(cost["seconds"], 1e-9)
            key = (_machine(record), cell.suite, cell.budget, stage)
            share = 100 * cost["draw_ms"] / cost["step_ms"]
            numbers = (cost["seconds"], together, samples, cost["peak_memory_mib"], cost["step_ms"], share)
            groups.setdefault(key, []).append(numbers)
    lines = [
        "Stages of training: medians over the runs, examples per second over all runs that were trained together. The "
        "loader's share is the time of making a batch, measured alone, over that of a whole step.",
        "",
        "| machine | suite | budget | stage | s | runs together | examples/s | peak memory, MiB | step, ms | "
        "loader's share |",
        "|---" * 10 + "|",
    ]
    for key in sorted(groups, key=lambda k: (k[0], k[1] != "state", *k[2:])):
        values = [median(column) for column in zip(*groups[key], strict=True)]
        numbers = f"{values[0]:.1f} | {values[1]:.0f} | {values[2]:.0f} | {values[3]:.0f} | "
        numbers += f"{values[4]:.2f} | {values[5]:.1f} %"
        lines.append(f"| {' | '.join(key)} | {numbers} |")
    return lines


def _machines(records: Sequence[CellRecord]) -> str:
    versions = Counter(", ".join(f"{k} {v}" for k, v in record.versions.items()) for record in records)
    commits = Counter(record.commit[:12] for record in records)
    lines = ["## Provenance", ""]
    lines += [f"- {count} cells: {text}" for text, count in versions.most_common()]
    lines += [f"- {count} cells: commit `{text}`" for text, count in commits.most_common()]
    return "\n".join(lines)


def _machine(record: CellRecord) -> str:
    hardware = record.hardware
    gpu = f"{hardware['gpu']}, " if hardware["gpu"] else ""
    return f"{gpu}{hardware['cores']} cores"
