"""What the page says of single models rather than of the matrix: bars of shipped models and their twins, gates of
stage 1, replays across sources; what their training took."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glam_core.errors import DataError
from glam_core.manifest import MANIFEST_FILE, read_manifest
from glam_training.card import COST_COLUMNS, cost_rows
from glam_training.matrix.bars import MISSED, OPEN, REACHED, Bar
from glam_training.transfer import ERROR_M, F1, SHUFFLED_RATIO

WANTED = {"lift": 0.90, "stack_two": 0.80}
"""Success rates that the shipped models should reach, from images."""


def shipped_bars(folder: Path) -> list[Bar]:
    """The bars of the reports in a folder.

    Args:
        folder: with `eval_<task>.json` of `glam eval`, `eval_<task>_mip.json` of the twin, `probe_<task>.json` of
            `glam probe` and `transfer_<task>.json` of `glam transfer`; what is missing is open.

    Raises:
        DataError: a report is damaged, or none of its kind.
    """
    return [
        *(_success(folder, task, wanted) for task, wanted in WANTED.items()),
        _gates(folder),
        _transfer(folder),
    ]


def shipped_costs(folder: Path) -> list[str]:
    """A table of what the training of each model in a folder took, as a section of the page; none where no manifest
    says it.

    Raises:
        ModelFolderError: a manifest is damaged.
    """
    manifests = {path.parent.name: read_manifest(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST_FILE}"))}
    rows = [f"| {name} | {row} |" for name, manifest in manifests.items() for row in cost_rows(manifest)]
    head = ["Training of the shipped models, phase by phase.", "", f"| model | {COST_COLUMNS} |", "|---" * 8 + "|"]
    return ["\n".join([*head, *rows])] if rows else []


def _success(folder: Path, task: str, wanted: float) -> Bar:
    what, bar = f"shipped {task} from images, its MIP twin beside it", f">= {wanted:.2f}"
    paths = [folder / f"eval_{task}{suffix}.json" for suffix in ("", "_mip")]
    ours, twin = (_read(path, _rate) for path in paths)
    if ours is None:
        return Bar(what, bar, "", OPEN)
    rate, text, starts = ours
    if twin is not None and twin[2] != starts:
        raise DataError(f"{paths[1]} was measured on another task or other seeds than {paths[0]}; measure it again")
    beside = "MIP not measured" if twin is None else f"MIP {twin[1]}"
    verdict = MISSED if rate < wanted else OPEN if twin is None else REACHED
    return Bar(what, bar, f"GLAM {text}; {beside}", verdict)


def _gates(folder: Path) -> Bar:
    what, bar = "gates of the shipped models' stage 1", "all pass"
    parts, missed = [], False
    open_tasks = [task for task in WANTED if not (folder / f"probe_{task}.json").exists()]
    for task, gates in _reports(folder, "probe", _judged):
        failed = [f"{name}: {value:.3g} (wanted {wanted})" for name, value, wanted, passed in gates if not passed]
        missed |= bool(failed)
        parts.append(f"{task}: {len(gates) - len(failed)} of {len(gates)}" + "".join(f", not {f}" for f in failed))
    parts += [f"{task} not measured" for task in open_tasks]
    return Bar(what, bar, "; ".join(parts), MISSED if missed else OPEN if open_tasks else REACHED)


def _transfer(folder: Path) -> Bar:
    what = "replay across sources from images, after 2 s on the simulated Kinova"
    bar = f"< {100 * ERROR_M:.0f} cm, F1 > {F1}, shuffled latents >= {SHUFFLED_RATIO:.0f} times worse"
    parts, missed, unknown = [], False, False
    for task, sources in _reports(folder, "transfer", _replayed):
        for name, error, ratio, f1 in sources:
            if not math.isfinite(error):  # no episode was long enough
                unknown = True
                parts.append(f"{task}, {name}: not measured")
                continue
            good = error < ERROR_M and f1 > F1 and ratio >= SHUFFLED_RATIO
            missed |= not good
            sign = "" if good else ", missed"
            parts.append(f"{task}, {name}: {100 * error:.1f} cm, F1 {f1:.2f}, {ratio:.1f} times{sign}")
    return Bar(what, bar, "; ".join(parts), MISSED if missed else OPEN if unknown or not parts else REACHED)


def _rate(report: dict[str, Any]) -> tuple[float, str, tuple[str, list[int]]]:
    """Success rate, the same in words, and task and seeds."""
    n, successes, (low, high) = int(report["n"]), int(report["successes"]), report["interval"]
    starts = report["task"], [episode["seed"] for episode in report["episodes"]]
    return successes / n, f"{successes}/{n} [{low:.2f}, {high:.2f}]", starts


def _judged(report: dict[str, Any]) -> list[tuple[str, float, str, bool]]:
    """Gates that have a bar: name, value, what is wanted, whether it passes."""
    gates = [gate for gate in report["gates"] if gate["passed"] is not None]
    if not gates:
        raise ValueError("no gates")
    return [(gate["name"], float(gate["value"]), gate["wanted"], gate["passed"]) for gate in gates]


def _replayed(report: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """Sources: name, median error in m, how many times worse shuffled latents are, F1 of the gripper's events."""
    return [
        (
            source["name"],
            float(source["error_median_m"]),
            source["shuffled_error_median_m"] / source["error_median_m"],
            float(source["gripper_f1"]),
        )
        for source in report["sources"]
    ]


def _reports(folder: Path, kind: str, parse: Any) -> Iterator[tuple[str, Any]]:
    """Task and content of every report of a kind."""
    for path in sorted(folder.glob(f"{kind}_*.json")):
        yield path.stem.removeprefix(f"{kind}_"), _read(path, parse)


def _read(path: Path, parse: Any) -> Any:
    """What `parse` makes of a report; None where there is none."""
    if not path.exists():
        return None
    try:
        return parse(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise DataError(f"{path} is no report of its kind ({error!r}); delete it, or make it again") from None
