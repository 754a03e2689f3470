"""One cell of the bench: which method learns which task from how much data, and everything else that decides a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from glam_core.errors import ConfigurationError, DataError, closest
from glam_sim.tasks import TASKS

METHODS: dict[str, str] = {
    "mip": "MIP on the target demonstrations: the behaviour-cloning baseline",
    "bc_mse": "the same regression once, with plain MSE: what MIP adds",
    "lapa": "vector-quantised latent actions from observation pairs, decoder on the target (LAPA-style)",
    "laom": "latent-space forward model with action supervision (LAOM with labels)",
    "clam": "continuous latent actions, decoder trained jointly on the labels (CLAM)",
    "pseudo_labels": "a supervised inverse dynamics model labels the auxiliary data, then MIP (BCO, VPT)",
    "pose_cotraining": "MIP on target actions and on the auxiliary tool's own poses as actions",
    "target_only": "GLAM without auxiliary data",
    "oracle": "MIP with as many target demonstrations as the others have target and auxiliary ones",
    "glam": "GLAM: predicts the whole observation",
    "glam_o": "GLAM-O: predicts objects and fingers only",
}
"""What each method is, in the order of the tables."""

LATENT_METHODS = ("lapa", "laom", "clam", "target_only", "glam", "glam_o")
"""Methods whose policy predicts latent actions, which a decoder turns into robot actions."""
GLAM_METHODS = ("target_only", "glam", "glam_o")
"""Methods that `Switches` change."""
AUXILIARY_METHODS = ("lapa", "laom", "clam", "pseudo_labels", "pose_cotraining", "glam", "glam_o")
"""Methods that learn from auxiliary demonstrations."""
STAGE_1_METHODS = (*LATENT_METHODS, "pseudo_labels")
"""Methods that learn from pairs of target observations which action lies between them."""
HIDDEN_LABEL_METHODS = ("pose_cotraining",)
"""Methods that read the auxiliary tool's poses, which GLAM never sees."""


@dataclass(frozen=True)
class Budget:
    """Steps and sizes, the same for every method."""

    stage_1_steps: int = 4000
    """Gradient steps of the latent action model (or of the supervised inverse dynamics model)."""
    refit_steps: int = 1500
    """Gradient steps of the decoder's refit."""
    policy_steps: int = 6000
    """Gradient steps of the policy."""
    batch_size: int = 256
    """Examples per step and side (target, auxiliary); without auxiliary data both halves are target data."""
    width: int = 256
    """Hidden size of every network."""
    policy_depth: int = 3
    """Residual blocks of the policy head."""
    chunk_length: int = 8
    """Steps that one prediction of the policy covers."""
    execute_length: int = 2
    """Steps that are executed before the next prediction."""
    encoder_steps: int = 800
    """Gradient steps of the image encoder; unused in the state suite."""
    relations: bool = False
    """Policies see where things are from each other, too (`Relations`): on slots, and on tasks with two arms."""
    slots_version: int = 0
    """`SLOTS_VERSION` wherever there are slots, else 0."""


SLOTS_VERSION = 3
"""Of slots and of what policies see of them: 1 as in decision 1, 2 since decision 18, 3 since decision 19. Records and
runs of another version are other measurements."""

BUDGETS: dict[str, Budget] = {
    "small": Budget(batch_size=128),
    "paper": Budget(encoder_steps=3000),
    "smoke": Budget(
        stage_1_steps=20, refit_steps=10, policy_steps=20, batch_size=16, width=32, policy_depth=1, encoder_steps=10
    ),
}
"""small: two CPU cores. paper: a GPU. smoke: tests."""
TASK_BUDGETS: dict[tuple[str, str], dict[str, int]] = {
    ("paper", "stack_three"): {"policy_steps": 30000, "batch_size": 128}
}
"""What is otherwise where a task needs more than its budget gives: two arms, and demonstrations two and a half to four
times as long as those of the other tasks. Five times as many steps of the policy, on batches of half the size."""


@dataclass(frozen=True)
class Switches:
    """Parts of GLAM that an ablation turns off or sets otherwise; the defaults are GLAM.

    Rivals have none of them but `tempo`, which is for every method in `STAGE_1_METHODS`.
    """

    align: bool = True
    """The posterior alignment L_al."""
    alignment_balance: float = 0.8
    """al: 1 moves only the IDM towards the action encoder, 0 only the other way."""
    cross_decode: bool = True
    """L_X: the decoder reads IDM latents as well while it is trained with the rest."""
    refit: bool = True
    """The decoder is trained once more at the end, on mean IDM latents with noise."""
    beta: float = 1e-4
    """Weight of the KL terms."""
    latent_size: int = 16
    """d."""
    step: int = 1
    """k, observation steps that one latent spans."""
    tempo: bool = False
    """Target transitions are shown at double speed, too: two steps as one, their actions added. An auxiliary source may
    be faster than any target demonstration, and nothing else tells the decoder what its motions are."""
    regularise: bool = True
    """While stage 1 trains: noise on observations and robot states, dropout, and little weight of target transitions in
    the forward model."""
    affine: bool = False
    """The decoder is affine in the latent: the mean of two latents is decoded to the mean of their actions. In tool
    space policies learn what it reads of the latents (`CanonicalLatents`)."""
    prediction: Literal["observation", "objects"] | None = None
    """What o and o' are in stage 1; None is the method's own choice (GLAM: observation, GLAM-O: objects)."""


RETIRED_SWITCHES = {"weigh": False}
"""Switches that are gone, and what they said when they were off; runs and records from before name them."""


def read_switches(values: Mapping[str, Any]) -> Switches:
    """Switches as a run or a record holds them.

    Raises:
        DataError: one that is gone was on.
    """
    kept = dict(values)
    for name, off in RETIRED_SWITCHES.items():
        if kept.pop(name, off) != off:
            raise DataError(f"the switch {name} is gone, and was on; what was made with it cannot be used any more")
    return Switches(**kept)


@dataclass(frozen=True)
class Experiment:
    """One training run. Equal experiments on equal stores are the same run.

    The seed decides which demonstrations of the stores are used (so all methods with one seed learn from the same
    ones, and more demonstrations contain the fewer), the initial weights and the batches.
    """

    task: str
    """Task of the stores."""
    method: str
    """One of `METHODS`."""
    suite: Literal["state", "images"] = "state"
    """What policies and models see: the scene vector, or camera images."""
    action_space: Literal["tool", "joint"] = "tool"
    """What the target actions are."""
    target_episodes: int = 20
    """Demonstrations of the target robot, with actions."""
    auxiliary_episodes: int = 400
    """Demonstrations of each auxiliary store, without actions. `oracle` adds as many target demonstrations."""
    seed: int = 0
    """Seed of demonstrations, weights and batches."""
    budget: str = "small"
    """One of `BUDGETS`."""
    switches: Switches = Switches()
    """Ablations of GLAM."""
    encoder: Literal["keypoints", "slots"] | None = None
    """Image suite: keypoints learned from images alone, or slots learned from object masks. None is the method's own
    (GLAM-O: slots, all others: keypoints); set it to compare a rival with GLAM-O on the same encoder."""

    def __post_init__(self) -> None:
        for name, legal, kind in (
            (self.task, TASKS, "task"),
            (self.method, METHODS, "method"),
            (self.budget, BUDGETS, "budget"),
            (self.suite, ("state", "images"), "suite"),
            (self.action_space, ("tool", "joint"), "action space"),
        ):
            if name not in legal:
                raise ConfigurationError(closest(name, legal, kind))
        if self.target_episodes < 1:
            raise ConfigurationError(f"target_episodes must be at least 1, got {self.target_episodes}")
        if self.auxiliary_episodes < 0 or (self.method in AUXILIARY_METHODS and self.auxiliary_episodes < 1):
            raise ConfigurationError(
                f"{self.method} with {self.auxiliary_episodes} auxiliary demonstrations; it needs at least 1"
            )
        own = Switches(tempo=self.switches.tempo and self.method in STAGE_1_METHODS)
        if self.method not in GLAM_METHODS and self.switches != own:
            but = " but tempo" if self.method in STAGE_1_METHODS else ""
            raise ConfigurationError(
                f"switches are parts of GLAM, {self.method} has none{but}; leave them at their defaults"
            )
        if self.method == "pose_cotraining" and self.action_space == "joint":
            raise ConfigurationError(
                "pose co-training takes poses for actions, so it exists in tool space only; use action_space 'tool'"
            )
        if self.suite == "state" and self.encoder is not None:
            raise ConfigurationError("the state suite has no image encoder; leave encoder unset")
        if self.switches.step < 1 or self.switches.latent_size < 1:
            raise ConfigurationError("switches.step and switches.latent_size must be at least 1")
        if self.switches.tempo and self.switches.step > 1:
            raise ConfigurationError("switches.tempo is for latents of one step; leave switches.step at 1")

    @property
    def encoder_kind(self) -> str:
        """Image suite: "keypoints" or "slots"."""
        return self.encoder or ("slots" if self.method == "glam_o" else "keypoints")

    @property
    def on_slots(self) -> bool:
        """Whether policies and models see slots. They have relations then, and stage 1 sees steadied moments."""
        return self.suite == "images" and self.encoder_kind == "slots"

    @property
    def on_keypoints(self) -> bool:
        """Whether policies and models see keypoints."""
        return self.suite == "images" and self.encoder_kind == "keypoints"

    @property
    def sizes(self) -> Budget:
        """The budget's steps and sizes, for this task."""
        own = TASK_BUDGETS.get((self.budget, self.task), {})
        relations = self.on_slots or len(TASKS[self.task].layout.arms) > 1
        return replace(
            BUDGETS[self.budget], relations=relations, slots_version=SLOTS_VERSION if self.on_slots else 0, **own
        )

    @property
    def target_demonstrations(self) -> int:
        """Target demonstrations that the method learns from."""
        return self.target_episodes + (self.auxiliary_episodes if self.method == "oracle" else 0)

    @property
    def auxiliary_demonstrations(self) -> int:
        """Demonstrations of each auxiliary store that the method learns from."""
        return self.auxiliary_episodes if self.method in AUXILIARY_METHODS else 0


def read_budget(values: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """A budget as a record of `experiment` holds it, in today's terms."""
    budget = {"relations": False, **values}
    fine = budget.pop("fine_masks", False)
    before = (2 if fine else 1) if experiment.on_slots else 0
    return {"slots_version": before, **budget}


@dataclass(frozen=True)
class Stores:
    """Where the demonstrations are."""

    target: Path
    """Store of the target robot, with actions in the experiment's action space."""
    auxiliary: tuple[Path, ...] = ()
    """Stores of other sources, whose actions are hidden."""
    encoders: Path | None = None
    """Folder in which runs share image encoders (trained once per task, data and seed); needed by the image suite."""


@dataclass(frozen=True)
class Job:
    """An experiment, its data and its run folder."""

    experiment: Experiment
    stores: Stores
    out: Path
