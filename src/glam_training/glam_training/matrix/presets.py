"""Which cells the matrix has, as data: a cell is an `Experiment`, a part is a list of them, a preset a list of parts.

Parts stand in the order of their worth, and so do the cells inside one: a matrix that is stopped early has measured
what matters most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from glam_core.errors import ConfigurationError, closest
from glam_training.experiment import AUXILIARY_METHODS, GLAM_METHODS, METHODS, Experiment, Switches

SEEDS = (0, 1, 2)
"""Seeds of training."""
TASKS = ("stack_two", "lift", "knock_down", "place", "stack_three")
"""In the order of the tables."""
SCARCE = {"stack_two": 20, "lift": 10, "knock_down": 10, "place": 10, "stack_three": 100}
"""Target demonstrations in the scarce setting of each task."""
AUXILIARY = 400
"""Auxiliary demonstrations in the scarce setting."""
CURVE = (20, 10, 50, 35, 100, 200)
"""Target demonstrations of the curve over target data on stack_two."""
AUXILIARY_CURVE = (30, 80, 180, 400)
"""Auxiliary demonstrations of the curve over auxiliary data on stack_two."""
STORE_EPISODES = {"state": (500, 400), "images": (500, 400)}
"""Target and auxiliary episodes in the stores."""
IMAGE_TASKS = ("stack_two", "lift")
IMAGE_METHODS = ("glam_o", "mip", "glam", "pseudo_labels", "pose_cotraining")
Encoder = Literal["slots", "keypoints"]
ENCODERS: tuple[Encoder, ...] = ("slots", "keypoints")
"""Image encoders: the one of GLAM-O and that of all others; rivals are measured on both."""
IMAGE_SCARCE: dict[Encoder, dict[str, int]] = {
    "slots": {"stack_two": 20, "lift": 20, "knock_down": 20, "place": 20, "stack_three": 100},
    "keypoints": {"stack_two": 50, "lift": 20, "knock_down": 20, "place": 20, "stack_three": 100},
}
"""Target demonstrations of the image suite: so many that MIP succeeds now and then, which takes more on keypoints."""
IMAGE_CURVE = (10, 20, 50, 100)
"""Target demonstrations of the curve over target data on stack_two from images, on slots."""
BY_WORTH = (*IMAGE_METHODS, *(method for method in METHODS if method not in IMAGE_METHODS))
"""All methods, those first without which the others say little."""


def with_encoders(methods: Iterable[str]) -> tuple[tuple[str, Encoder], ...]:
    """Methods of the image suite on each encoder; GLAM on slots is GLAM-O."""
    same = (("glam", "slots"), ("glam_o", "keypoints"))
    pairs = itertools.product(ENCODERS, tuple(methods))
    return tuple((method, encoder) for encoder, method in pairs if (method, encoder) not in same)


TEMPO = Switches(tempo=True)
"""Double tempo: as the shipped models are trained, and open to every method with a stage 1."""
TEMPO_METHODS = ("glam_o", "pseudo_labels")
"""Those measured with it: GLAM-O as it is shipped, and the strongest rival that can have the same."""
AFFINE = Switches(affine=True)
"""A decoder that is affine in the latent."""
AFFINE_TEMPO = replace(AFFINE, tempo=True)
"""Both: double tempo from images."""
ABLATIONS: dict[str, Switches] = {
    "no alignment": Switches(align=False),
    "al = 0": Switches(alignment_balance=0.0),
    "al = 0.5": Switches(alignment_balance=0.5),
    "al = 1": Switches(alignment_balance=1.0),
    "no cross decode": Switches(cross_decode=False),
    "no refit": Switches(refit=False),
    "no alignment, no cross decode, no refit": Switches(align=False, cross_decode=False, refit=False),
    "aligned, no cross decode, no refit": Switches(cross_decode=False, refit=False),
    "beta = 1e-5": Switches(beta=1e-5),
    "beta = 1e-3": Switches(beta=1e-3),
    "beta = 1e-2": Switches(beta=1e-2),
    "d = 5": Switches(latent_size=5),
    "d = 8": Switches(latent_size=8),
    "d = 32": Switches(latent_size=32),
    "k = 2": Switches(step=2),
    "k = 4": Switches(step=4),
    "double tempo": TEMPO,
    "affine decoder": AFFINE,
    "not regularised": Switches(regularise=False),
    "predicts objects": Switches(prediction="objects"),
}
"""GLAM with one thing changed."""


@dataclass(frozen=True)
class Part:
    """Some cells of the matrix that answer one question."""

    name: str
    cells: tuple[Experiment, ...]


@dataclass(frozen=True)
class Preset:
    """A matrix.

    Attributes:
        parts: in the order in which they are run.
        rollouts: evaluation episodes of each cell.
        store_episodes: target and auxiliary episodes in the stores, by suite. A cell's seed chooses among them, so they
            are part of what a cell is.
    """

    parts: tuple[Part, ...]
    rollouts: int
    store_episodes: Mapping[str, tuple[int, int]]


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigurationError: there is none.
    """
    makers = {"cpu": _cpu, "gpu": _gpu, "smoke": _smoke}
    if name not in makers:
        raise ConfigurationError(closest(name, makers, "preset"))
    return makers[name]()


def _cpu() -> Preset:
    """Two cores: the state suite complete, the image suite on two tasks."""
    images = _images("small", IMAGE_TASKS, with_encoders(IMAGE_METHODS))
    parts = (*_state_parts("small"), images, _images_curve("small"), _images_tempo("small"))
    return Preset(parts, 50, STORE_EPISODES)


def _gpu() -> Preset:
    """One GPU, sixteen cores: the same cells with the larger budget; from images all tasks and rivals, last."""
    curve, tasks, *others = _state_parts("paper")
    first = _images("paper", IMAGE_TASKS, with_encoders(IMAGE_METHODS))
    everything = _images("paper", TASKS, with_encoders(BY_WORTH), "images_all")
    rest = tuple(cell for cell in everything.cells if cell not in first.cells)
    more = (_images_curve("paper"), _images_tempo("paper"))
    parts = (curve, tasks, first, *more, *others, replace(everything, cells=rest))
    return Preset(parts, 50, STORE_EPISODES)


def _smoke() -> Preset:
    """Minutes of nothing worth knowing: that every method runs."""
    cells = [
        Experiment("lift", method, target_episodes=2, auxiliary_episodes=2, seed=seed, budget="smoke")
        for method, seed in itertools.product(METHODS, (0, 1))
    ]
    return Preset((Part("smoke", tuple(cells)),), 2, {"state": (4, 2)})


def _state_parts(budget: str) -> tuple[Part, ...]:
    def state(task: str, method: str, target: int, auxiliary: int = AUXILIARY, **fields: object) -> list[Experiment]:
        base = Experiment(task, method, target_episodes=target, auxiliary_episodes=auxiliary, budget=budget)
        return [replace(base, seed=seed, **fields) for seed in SEEDS]

    scarce = SCARCE["stack_two"]
    curve = [state("stack_two", m, n) for n in CURVE for m in ("mip", "glam", "glam_o")]
    curve += [state("stack_two", "mip", n) for n in (300,)]
    tasks = [state(t, m, SCARCE[t]) for m in BY_WORTH for t in TASKS]
    auxiliary = [state("stack_two", m, scarce, n) for n in AUXILIARY_CURVE for m in ("glam", "glam_o")]
    # The same number of demonstrations in all, of the target robot only.
    auxiliary += [state("stack_two", m, scarce + n) for n in AUXILIARY_CURVE for m in ("target_only", "mip")]
    ablations = [state("stack_two", "glam", scarce, switches=s) for s in ABLATIONS.values()]
    spaces = [m for m in BY_WORTH if m != "pose_cotraining"]
    joint = [state(t, m, SCARCE[t], action_space="joint") for m in spaces for t in TASKS]
    tempo = [state(t, m, SCARCE[t], switches=TEMPO) for m in TEMPO_METHODS for t in TASKS]
    tempo += [state("stack_two", "glam_o", scarce, n, switches=TEMPO) for n in reversed(AUXILIARY_CURVE)]
    affine = [
        state(t, "glam_o", SCARCE[t], action_space=space, switches=AFFINE) for space in ("tool", "joint") for t in TASKS
    ]
    return (
        _part("curve", curve),
        _part("tasks", tasks),
        _part("auxiliary", auxiliary),
        _part("tempo", tempo),
        _part("ablations", ablations),
        _part("joint", joint),
        _part("affine", affine),
    )


def _images_tempo(budget: str) -> Part:
    """Double tempo from images, on the same slots."""
    plain = _images(budget, IMAGE_TASKS, [(m, "slots") for m in TEMPO_METHODS], "images_tempo")
    return replace(plain, cells=tuple(replace(c, switches=replace(c.switches, tempo=True)) for c in plain.cells))


def _images_curve(budget: str) -> Part:
    """What target demonstrations are worth from images: MIP, and GLAM-O with the affine decoder, on slots."""
    base = Experiment("stack_two", "mip", "images", budget=budget, encoder="slots")
    ours = replace(base, method="glam_o", switches=AFFINE)
    cells = [
        replace(cell, target_episodes=n, seed=seed) for n in IMAGE_CURVE for cell in (base, ours) for seed in SEEDS
    ]
    return _part("images_curve", [cells])


def _images(budget: str, tasks: Iterable[str], cells: Iterable[tuple[str, Encoder]], name: str = "images") -> Part:
    """From images GLAM's decoder is affine: a perceptron and all 16 latents lose what the labels hold there."""
    experiments = [
        Experiment(
            task,
            method,
            "images",
            target_episodes=IMAGE_SCARCE[encoder][task],
            seed=seed,
            budget=budget,
            switches=AFFINE if method in GLAM_METHODS else Switches(),
            encoder=encoder,
        )
        for method, encoder in cells
        for task in tasks
        for seed in SEEDS
    ]
    return _part(name, [experiments])


def _part(name: str, cells: Iterable[Iterable[Experiment]]) -> Part:
    return Part(name, tuple(dict.fromkeys(normalised(cell) for group in cells for cell in group)))


def normalised(cell: Experiment) -> Experiment:
    """The cell with what its method does not use at its default: equal runs are equal cells.

    From images every method uses the auxiliary demonstrations: the encoder, which all methods share, learns from them.
    """
    own = replace(cell, encoder=None)
    if cell.suite == "images":
        return own if own.encoder_kind == cell.encoder_kind else cell
    uses = cell.method in AUXILIARY_METHODS or cell.method == "oracle"
    return own if uses else replace(own, auxiliary_episodes=0)
