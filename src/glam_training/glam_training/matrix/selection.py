"""Which cells of a preset are wanted, and which of them can be trained together."""

from __future__ import annotations

from collections.abc import Sequence

from glam_core.errors import ConfigurationError, closest
from glam_training.experiment import Experiment
from glam_training.matrix.presets import ENCODERS, Encoder, Part, Preset


def select_cells(
    chosen: Preset,
    parts: Sequence[str] = (),
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    encoders: Sequence[Encoder] = (),
    seeds: Sequence[int] = (),
) -> list[Experiment]:
    """Cells of a preset in its order, each once.

    Raises:
        ConfigurationError: the preset has no such part, task, method, encoder or seed.
    """
    everything = [cell for part in chosen.parts for cell in part.cells]
    _check_names(parts, [part.name for part in chosen.parts], "part")
    _check_names(tasks, sorted({cell.task for cell in everything}), "task")
    _check_names(methods, sorted({cell.method for cell in everything}), "method")
    _check_names(encoders, ENCODERS, "encoder")
    _check_names([str(seed) for seed in seeds], sorted({str(cell.seed) for cell in everything}), "seed")

    def is_in(part: Part) -> bool:
        return not parts or part.name in parts

    return list(
        dict.fromkeys(
            cell
            for part in filter(is_in, chosen.parts)
            for cell in part.cells
            if (not tasks or cell.task in tasks)
            and (not methods or cell.method in methods)
            and (not encoders or (cell.suite == "images" and cell.encoder_kind in encoders))
            and (not seeds or cell.seed in seeds)
        )
    )


def group_cells(cells: Sequence[Experiment], most: int) -> list[list[Experiment]]:
    """Cells in groups that can be trained together: of one suite and with equal budgets, whatever their methods and
    tasks; groups in the order of their first cell.

    Args:
        cells: in the order of their worth.
        most: cells in a group.
    """
    groups: list[list[Experiment]] = []
    open_group: dict[tuple[object, ...], list[Experiment]] = {}
    for cell in cells:
        kind = (cell.suite, cell.sizes)
        group = open_group.get(kind)
        if group is None or len(group) == most:
            group = open_group[kind] = []
            groups.append(group)
        group.append(cell)
    return groups


def _check_names(given: Sequence[str], legal: Sequence[str], kind: str) -> None:
    for name in given:
        if name not in legal:
            raise ConfigurationError(closest(name, legal, kind))
