"""Bars that are judged from reports of single models rather than from the matrix: shipped models and their twins,
gates of stage 1, replays across sources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glam_core.errors import DataError
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


def _success(folder: Path, task: str, wanted: float) -> Bar:
    what, bar = f"shipped {task} from images, its MIP twin beside it", f">= {wanted:.2f}"
    ours, twin = (_read(folder / f"eval_{task}{suffix}.json", _rate) for suffix in ("", "_mip"))
    if ours is None:
        return Bar(what, bar, "", OPEN)
    rate, text = ours
    if twin is None:
        return Bar(what, bar, f"GLAM {text}; MIP not measured", OPEN)
    return Bar(what, bar, f"GLAM {text}; MIP {twin[1]}", REACHED if rate >= wanted else MISSED)


def _gates(folder: Path) -> Bar:
    what, bar = "gates of the shipped models' stage 1", "all pass"
    parts, missed = [], False
    for task, gates in _reports(folder, "probe", _judged):
        failed = [f"{name}: {value:.3g} (wanted {wanted})" for name, value, wanted, passed in gates if not passed]
        missed |= bool(failed)
        parts.append(f"{task}: {len(gates) - len(failed)} of {len(gates)}" + "".join(f", not {f}" for f in failed))
    return Bar(what, bar, "; ".join(parts), OPEN if not parts else MISSED if missed else REACHED)


def _transfer(folder: Path) -> Bar:
    what = "replay across sources from images, after 2 s on the simulated Kinova"
    bar = f"< {100 * ERROR_M:.0f} cm, F1 > {F1}, shuffled latents >= {SHUFFLED_RATIO:.0f} times worse"
    parts, missed = [], False
    for task, sources in _reports(folder, "transfer", _replayed):
        for name, error, ratio, f1 in sources:
            good = error < ERROR_M and f1 > F1 and ratio >= SHUFFLED_RATIO
            missed |= not good
            sign = "" if good else ", missed"
            parts.append(f"{task}, {name}: {100 * error:.1f} cm, F1 {f1:.2f}, {ratio:.1f} times{sign}")
    return Bar(what, bar, "; ".join(parts), OPEN if not parts else MISSED if missed else REACHED)


def _rate(report: dict[str, Any]) -> tuple[float, str]:
    n, successes, (low, high) = int(report["n"]), int(report["successes"]), report["interval"]
    return successes / n, f"{successes}/{n} [{low:.2f}, {high:.2f}]"


def _judged(report: dict[str, Any]) -> list[tuple[str, float, str, bool]]:
    """Gates that have a bar: name, value, what is wanted, whether it passes."""
    gates = [gate for gate in report["gates"] if gate["passed"] is not None]
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
