"""The rows of the tables: methods, as they are and varied, and how tables and plots show them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from glam_training.experiment import GLAM_METHODS, METHODS, STAGE_1_METHODS, Experiment, Switches
from glam_training.matrix.presets import AFFINE, AFFINE_TEMPO, TEMPO

METHOD_NAMES = {
    "mip": "MIP",
    "bc_mse": "BC, plain MSE",
    "lapa": "LAPA-style",
    "laom": "LAOM with labels",
    "clam": "CLAM",
    "pseudo_labels": "pseudo-labels",
    "pose_cotraining": "pose co-training",
    "target_only": "GLAM, target only",
    "oracle": "oracle",
    "glam": "GLAM",
    "glam_o": "GLAM-O",
}
"""How tables call the methods."""
METHOD_COLOURS = {
    "mip": "#7f7f7f",
    "glam": "#c44e52",
    "glam_o": "#dd8452",
    "target_only": "#4c72b0",
    "oracle": "#55a868",
    "pseudo_labels": "#8172b3",
    "pose_cotraining": "#937860",
    "bc_mse": "#b0b0b0",
    "lapa": "#64b5cd",
    "laom": "#2f7f93",
    "clam": "#8c8c30",
}


@dataclass(frozen=True)
class Variation:
    """Switches that make a row of their own beside a method's.

    Attributes:
        name: of the change; empty where nothing is.
        methods: those that can have it.
        tint: towards what the method's colour goes half way, 255 for white and 0 for black; None where it stays.
    """

    name: str
    methods: Collection[str]
    tint: int | None


VARIATIONS = {
    Switches(): Variation("", METHODS, None),
    TEMPO: Variation("double tempo", STAGE_1_METHODS, 255),
    AFFINE: Variation("affine decoder", GLAM_METHODS, 0),
    AFFINE_TEMPO: Variation("affine decoder and double tempo", GLAM_METHODS, 128),
}


@dataclass(frozen=True)
class Variant:
    """A row of the tables: a method, as it is or with one of `VARIATIONS`."""

    method: str
    switches: Switches = Switches()

    def of(self, cell: Experiment) -> Experiment:
        """The cell, with this method."""
        return replace(cell, method=self.method, switches=self.switches)

    def __str__(self) -> str:
        name = VARIATIONS[self.switches].name
        return f"{self.method} with {name}" if name else self.method

    @property
    def title(self) -> str:
        """How tables call it."""
        return ", ".join(filter(None, (METHOD_NAMES[self.method], VARIATIONS[self.switches].name)))

    @property
    def colour(self) -> str:
        """How plots draw it, "#rrggbb"."""
        colour, tint = METHOD_COLOURS[self.method], VARIATIONS[self.switches].tint
        if tint is None:
            return colour
        return "#" + "".join(f"{(int(colour[i : i + 2], 16) + tint) // 2:02x}" for i in (1, 3, 5))


def variants(methods: Iterable[str]) -> tuple[Variant, ...]:
    """Methods in their order, behind each those of its variants that it can have."""
    return tuple(Variant(m, switches) for m in methods for switches, v in VARIATIONS.items() if m in v.methods)


def variant_colours() -> dict[str, str]:
    """Title to colour, of every row that can be."""
    return {variant.title: variant.colour for variant in variants(METHODS)}
