"""Trains several runs together, fast.

The runs of a bench are small: a step of one of them leaves a GPU idle. Runs of one shape are therefore stacked
(`group_training`), and groups of different shapes, of other methods and tasks, train side by side (`group_step`). On a
CPU groups train one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from torch import nn
from tqdm import tqdm

from glam_core.errors import GlamError
from glam_training.costs import PhaseCost, add_cost, measured_memory
from glam_training.fit import OptimConfig
from glam_training.group_step import Step
from glam_training.group_training import Draw, Fit, Group, Training

BLOCK = 100
"""Steps between two looks at the losses. Randomness is seeded anew for each block, and checkpoints lie between blocks:
runs that are resumed in the same company repeat uninterrupted ones."""
CHECKPOINT_S = 60.0
LOG_BLOCKS = 5
Course = Generator[Fit, None, None]
"""The training of a group, which yields what has to be fitted and goes on when that is done."""
PHASES = ("stage_1", "decoder", "policy")
"""Phases of a course, in order."""


def fit_group(
    objectives: Sequence[nn.Module],
    draw: Draw,
    config: OptimConfig,
    group: Group,
    phase: str,
    *,
    bfloat16: bool = False,
) -> None:
    """Do one `Fit`.

    Raises:
        See `fit_together`.
    """
    fit_together([Fit(objectives, draw, config, group, phase, bfloat16)])


def take_courses(courses: Sequence[Course]) -> None:
    """Follow courses to their ends; what several of them want at the same time is fitted together. A course that fails
    between its fits, at bad data for instance, holds up no other.

    Raises:
        GlamError: the first course's that failed, when all others are done.
        DataError: see `fit_together`; at once.
    """
    failures: list[GlamError] = []

    def advance(some: Sequence[Course]) -> list[tuple[Course, Fit]]:
        wanted = []
        for course in some:
            try:
                fit = next(course, None)
            except GlamError as error:
                failures.append(error)
            else:
                wanted += [] if fit is None else [(course, fit)]
        return wanted

    waiting = advance(courses)
    while waiting:
        phase = min((fit.phase for _, fit in waiting), key=PHASES.index)
        fit_together([fit for _, fit in waiting if fit.phase == phase])
        others = [(course, fit) for course, fit in waiting if fit.phase != phase]
        waiting = others + advance([course for course, fit in waiting if fit.phase == phase])
    if failures:
        raise failures[0]


def fit_together(fits: Sequence[Fit]) -> None:
    """Do several fits of one phase; on a GPU those with as many steps before them at once.

    Raises:
        DataError: a loss became non-finite, or the runs of a group stopped at different steps.
    """
    alike: dict[tuple[object, ...], list[Training]] = {}
    for i, fit in enumerate(fits):
        training = Training(fit)
        apart = i if fit.group.device.type == "cpu" else -1
        alike.setdefault((training.done, fit.config.steps, apart), []).append(training)
    for trainings in alike.values():
        _run(trainings)


def _run(trainings: Sequence[Training]) -> None:
    """Train groups that stand at the same step to their end."""
    start = time.perf_counter()
    steps, begun = trainings[0].fit.config.steps, trainings[0].done
    blocks = range(begun, steps, BLOCK)
    if not blocks:
        for training in trainings:
            training.finish()
        return
    step = Step(trainings)
    together = sum(len(training.fit.group.runs) for training in trainings)
    last_save = time.monotonic()
    name = f"{trainings[0].fit.phase} x{together}"
    for first in tqdm(blocks, desc=name, mininterval=5.0, disable=len(blocks) < 10):
        done = step.block(first, min(BLOCK, steps - first))
        for training in trainings:
            training.log(write=done == steps or (done // BLOCK) % LOG_BLOCKS == 0)
        if done == steps or time.monotonic() - last_save > CHECKPOINT_S:
            for training in trainings:
                training.save()
            last_save = time.monotonic()
    for training in trainings:
        training.finish()
    seconds = time.perf_counter() - start
    speed = step.speed()
    for training in trainings:
        device, memory = measured_memory(training.fit.group.device)
        cost = PhaseCost(steps - begun, seconds, together, memory, device, **speed)
        for run in training.fit.group.runs:
            add_cost(run.path, training.fit.phase, cost)
