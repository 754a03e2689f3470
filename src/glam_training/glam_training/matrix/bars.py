"""What the matrix has to show, and what it shows: each bar with the numbers that decide it.

A bar is judged from the records alone. From images, rivals are taken on the better of the two encoders. Where the
better of GLAM and GLAM-O may count, as they are or with one of `VARIATIONS`, it is one of them for the whole bar,
never the better one per task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from glam_training.experiment import Experiment
from glam_training.matrix.pooling import Pooled, Table
from glam_training.matrix.presets import (
    AUXILIARY,
    AUXILIARY_CURVE,
    ENCODERS,
    IMAGE_SCARCE,
    SCARCE,
    SEEDS,
    TASKS,
)
from glam_training.matrix.variants import Variant, variants

OURS = variants(("glam", "glam_o"))
RIVALS = variants(("pseudo_labels", "pose_cotraining", "clam", "laom", "lapa"))
MIP_RANGE = (0.3, 0.5)
REACHED, MISSED, OPEN = "reached", "not reached", "not measured"


@dataclass(frozen=True)
class Bar:
    """One line of the table of bars."""

    what: str
    wanted: str
    measured: str
    verdict: str


def all_bars(state: Table, images: Table, budgets: dict[str, str]) -> list[Bar]:
    """The bars of both suites; `budgets` names the budget of each."""
    bars = []
    for suite, table in (("state", state), ("images", images)):
        cell = Experiment("stack_two", "mip", suite, budget=budgets.get(suite, "small"))
        scarce = SCARCE if suite == "state" else IMAGE_SCARCE["slots"]
        margin = 0.44 if suite == "state" else None
        bars += [
            advantage(table, cell, margin),
            efficiency(table, cell),
            *([substitution(table, cell, scarce["stack_two"])] if suite == "state" else []),
            single_arm(table, cell, scarce),
            bimanual(table, cell, scarce["stack_three"]),
            *(rivals(table, replace(cell, action_space=space), scarce) for space in ("tool", "joint")),
        ]
    bars.append(many_demonstrations(state, Experiment("stack_two", "mip", budget=budgets.get("state", "small"))))
    return bars


def advantage(table: Table, cell: Experiment, margin: float | None) -> Bar:
    """GLAM above MIP, where MIP succeeds in 30 to 50 % (or nearest to it); without a margin, intervals apart."""
    what = f"stack_two, {cell.suite}: GLAM (or -O) above MIP where MIP reaches 30 to 50 %"
    wanted = "44 points" if margin is not None else "intervals apart (44 points wanted)"
    curve = _mip_curve(table, cell)
    if not curve:
        return Bar(what, wanted, "", OPEN)
    mip = min(curve, key=lambda entry: abs(entry.rate - sum(MIP_RANGE) / 2))
    n = mip.experiment.target_episodes
    ours = table.best(_ours(cell, n))
    if ours is None:
        return Bar(what, wanted, f"{n} demonstrations: MIP {mip}", OPEN)
    gap = ours.rate - mip.rate
    text = f"{n} demonstrations: {_variant(ours)} {ours}, MIP {mip}: {100 * gap:+.0f} points"
    if not MIP_RANGE[0] <= mip.rate <= MIP_RANGE[1]:
        text += "; no measured number of demonstrations puts MIP into the range, this one is nearest"
    reached = gap >= margin if margin is not None else ours.interval[0] > mip.interval[1]
    return Bar(what, wanted, text, REACHED if reached else MISSED)


def efficiency(table: Table, cell: Experiment) -> Bar:
    """GLAM with N target demonstrations against MIP with 5 N."""
    what, wanted = f"stack_two, {cell.suite}: GLAM with N reaches MIP with 5 N", "rate of MIP with 5 N"
    parts, reached = [], []
    for mip in _mip_curve(table, cell):
        n = mip.experiment.target_episodes
        ours = table.best(_ours(cell, n // 5)) if n % 5 == 0 else None
        if ours is not None:
            reached.append(ours.rate >= mip.rate)
            verb = "reaches" if reached[-1] else "is below"
            parts.append(f"{_variant(ours)}, {n // 5} demonstrations: {ours} {verb} MIP with {n}: {mip}")
    if not parts:
        return Bar(what, wanted, "", OPEN)
    return Bar(what, wanted, "; ".join(parts), REACHED if all(reached) else MISSED)


def substitution(table: Table, cell: Experiment, scarce: int) -> Bar:
    """Auxiliary demonstrations against as many target demonstrations, same policy.

    Of several variants that one counts which is nowhere below, at two numbers at least, or else at most of them not.
    """
    what = f"stack_two, {cell.suite}: auxiliary demonstrations in place of target ones"
    wanted = "within the interval of the target curve, or above"
    best: tuple[tuple[bool, int, int], list[str]] = ((False, 0, 0), [])
    for variant in OURS:
        parts, inside = [], []
        for count in AUXILIARY_CURVE:
            ours = table.get(variant.of(replace(cell, target_episodes=scarce, auxiliary_episodes=count)))
            target = table.get(replace(cell, method="target_only", target_episodes=scarce + count))
            if ours is not None and target is not None:
                inside.append(ours.rate >= target.interval[0])
                low, high = target.interval
                parts.append(f"{scarce} + {count}: {ours.rate:.2f} ({scarce + count} target: [{low:.2f}, {high:.2f}])")
        rank = (len(inside) > 1 and all(inside), sum(inside), len(inside))
        if rank > best[0]:
            best = (rank, [f"{variant}: {parts[0]}", *parts[1:]])
    rank, texts = best
    if not texts:
        return Bar(what, wanted, "", OPEN)
    enough, inside_count, measured = rank
    verdict = REACHED if enough else OPEN if inside_count == measured else MISSED
    return Bar(what, wanted, "; ".join(texts), verdict)


def single_arm(table: Table, cell: Experiment, scarce: dict[str, int]) -> Bar:
    """The mean advantage over MIP on three tasks."""
    tasks = ("lift", "knock_down", "place")
    what = f"{', '.join(tasks)} on average, {cell.suite}, scarce setting: above MIP"
    wanted = "35 points"
    best: tuple[float, str] | None = None
    for variant in OURS:
        gaps, parts = [], []
        for task in tasks:
            base = replace(cell, task=task, target_episodes=scarce[task], auxiliary_episodes=AUXILIARY)
            ours, mip = table.get(variant.of(base)), _rival(table, replace(base, method="mip"))
            if ours is not None and mip is not None:
                gaps.append(ours.rate - mip.rate)
                parts.append(f"{task} {ours.rate:.2f} against {mip.rate:.2f}")
        if len(gaps) == len(tasks) and (best is None or sum(gaps) / 3 > best[0]):
            mean = sum(gaps) / 3
            best = (mean, f"{variant}: {', '.join(parts)}: {100 * mean:+.0f} points")
    if best is None:
        return Bar(what, wanted, "", OPEN)
    return Bar(what, wanted, best[1], REACHED if best[0] >= 0.35 else MISSED)


def bimanual(table: Table, cell: Experiment, scarce: int) -> Bar:
    """stack_three with two arms."""
    what, wanted = f"bimanual stack_three, {cell.suite}, {scarce} target demonstrations", ">= 0.727"
    ours = table.best(_ours(replace(cell, task="stack_three"), scarce))
    if ours is None:
        return Bar(what, wanted, "", OPEN)
    mip = _rival(table, replace(cell, task="stack_three", target_episodes=scarce, auxiliary_episodes=AUXILIARY))
    text = f"{_variant(ours)} {ours}" + ("" if mip is None else f"; MIP {mip}")
    return Bar(what, wanted, text, REACHED if ours.rate >= 0.727 else MISSED)


def rivals(table: Table, cell: Experiment, scarce: dict[str, int]) -> Bar:
    """GLAM first, or within the interval of the first, on every task.

    One variant counts for all tasks: of those with the most tasks, the one that misses fewest. A task on which only
    others were measured stays open, or is missed where the best of them is below.
    """
    what = f"{cell.suite}, {cell.action_space} space: GLAM first or within the interval of the first, every task"
    wanted = "every task"
    verdicts: dict[Variant, dict[str, tuple[float, str, bool]]] = {variant: {} for variant in OURS}
    for task in TASKS:
        base = replace(cell, task=task, target_episodes=scarce[task], auxiliary_episodes=AUXILIARY)
        others = [
            entry
            for rival in RIVALS
            if not (rival.method == "pose_cotraining" and cell.action_space == "joint")
            if (entry := _rival(table, rival.of(base))) is not None
        ]
        if not others:
            continue
        first = max(others, key=lambda entry: entry.rate)
        for variant in OURS:
            if (entry := table.get(variant.of(base))) is not None:
                good = entry.rate >= first.interval[0]
                rival = f"best rival {_variant(first)} {first.rate:.2f}{'' if good else ', below its interval'}"
                text = f"{task} {entry.rate:.2f}{_seeds(entry)} ({rival}{_seeds(first)})"
                verdicts[variant][task] = (entry.rate, text, good)

    def misses(variant: Variant) -> int:
        return sum(not good for *_, good in verdicts[variant].values())

    ours = min(OURS, key=lambda one: (-len(verdicts[one]), misses(one)))
    parts, judged = [], {}
    for task in sorted(TASKS, key=lambda task: task not in verdicts[ours]):
        measured = [variant for variant in OURS if task in verdicts[variant]]
        if measured:
            variant = ours if ours in measured else max(measured, key=lambda one: verdicts[one][task][0])
            _, text, judged[task] = verdicts[variant][task]
            parts.append(text if parts and variant == ours else f"{variant}: {text}")
    if not judged:
        return Bar(what, wanted, "", OPEN)
    if open_tasks := [task for task in TASKS if task not in judged]:
        parts.append(f"not measured: {', '.join(open_tasks)}")
    if not all(judged.values()):
        return Bar(what, wanted, "; ".join(parts), MISSED)
    return Bar(what, wanted, "; ".join(parts), REACHED if len(verdicts[ours]) == len(TASKS) else OPEN)


def many_demonstrations(table: Table, cell: Experiment) -> Bar:
    """MIP with many demonstrations."""
    what, wanted = "stack_two, state: MIP with many demonstrations", ">= 0.95"
    curve = _mip_curve(table, cell)
    if not curve:
        return Bar(what, wanted, "", OPEN)
    last = curve[-1]
    text = f"{last.experiment.target_episodes} demonstrations: {last}"
    return Bar(what, wanted, text, REACHED if last.rate >= 0.95 else MISSED)


def _mip_curve(table: Table, cell: Experiment) -> list[Pooled]:
    """MIP with every measured number of target demonstrations, the fewest first."""
    counts = sorted({e.target_episodes for e in table.entries if e.method == "mip" and e.task == cell.task})
    base = replace(cell, method="mip", auxiliary_episodes=AUXILIARY)
    entries = [_rival(table, replace(base, target_episodes=count)) for count in counts]
    return [entry for entry in entries if entry is not None]


def _rival(table: Table, cell: Experiment) -> Pooled | None:
    """A rival's entry; from images, that on the better encoder of those with as many target demonstrations."""
    return table.best([cell] if cell.suite == "state" else [replace(cell, encoder=e) for e in ENCODERS])


def _ours(cell: Experiment, target: int) -> Sequence[Experiment]:
    return [variant.of(replace(cell, target_episodes=target, auxiliary_episodes=AUXILIARY)) for variant in OURS]


def _seeds(entry: Pooled) -> str:
    """How many seeds an entry has, where it has not all."""
    return "" if len(entry.records) >= len(SEEDS) else f", {len(entry.records)} of {len(SEEDS)} seeds"


def _variant(entry: Pooled) -> Variant:
    return Variant(entry.experiment.method, entry.experiment.switches)
