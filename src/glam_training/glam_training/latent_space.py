"""A trained GLAM as probes and transfer see it, whichever command trained it, and demonstrations seen through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from glam_core.errors import ConfigurationError, DataError
from glam_core.spec import ActionSpec
from glam_core.tool import ARM_ACTION_COMPONENTS
from glam_training import methods
from glam_training.contract import Contract
from glam_training.data.sampler import transitions
from glam_training.data.store import Store
from glam_training.experiment import GLAM_METHODS
from glam_training.models.glam import Glam
from glam_training.run import Run
from glam_training.slots import Source, compute_slots
from glam_training.stage1 import chunk_actions, load_glam


@dataclass(frozen=True)
class LatentSpace:
    """A trained GLAM.

    Attributes:
        run: its run folder.
        contract: what it sees and does.
        perception: observations to moments, frozen.
        glam: the coupled models.
        columns: components of the moments that they see, (M',) int64; None for all.
        step: k, observation steps that one latent spans.
        steady: whether they see steadied moments.
    """

    run: Path
    contract: Contract
    perception: nn.Module
    glam: Glam
    columns: Tensor | None
    step: int
    steady: bool

    @property
    def action_spec(self) -> ActionSpec:
        """Of the target robot."""
        return ActionSpec.model_validate(self.contract.action_spec)

    def require_tool_actions(self) -> None:
        """Refuse a space whose decoder gives something else than tool motions.

        Raises:
            ConfigurationError: it does.
        """
        if self.action_spec.components != ARM_ACTION_COMPONENTS:
            raise ConfigurationError(
                f"{self.run} decodes {', '.join(self.action_spec.components)}; a replay compares tool motions, so it "
                "needs a run in tool space"
            )


@dataclass(frozen=True)
class View:
    """Transitions of one source, seen through a latent space; M of them, over N frames.

    Attributes:
        name: of the source.
        o: (M, D) what the models see now.
        change: (M, D) the normalised change that the forward model predicts.
        z: (M, d) latent means of the IDM.
        state: (M, S) robot state now; hidden from the models for auxiliary sources.
        next_state: (M, S) robot state k steps later.
        action: (M, k A) actions on the way, where the source has tool or joint actions of the target's size.
        episode: (M,) int64 number of the episode.
        arms: how many there are.
        store: the demonstrations.
        episodes: how many of them.
    """

    name: str
    o: Tensor
    change: Tensor
    z: Tensor
    state: Tensor
    next_state: Tensor
    action: Tensor
    episode: Tensor
    arms: int
    store: Store
    episodes: int


def open_latent_space(run: Path) -> LatentSpace:
    """The GLAM in a run folder of `glam train glam` or of the bench.

    Raises:
        DataError: no run, or an unfinished one.
        ConfigurationError: a run of another method.
    """
    if "experiment" not in Run.open(run).config:
        stage_1 = load_glam(run)
        return LatentSpace(
            run, stage_1.contract, stage_1.perception, stage_1.glam, None, stage_1.config.step, stage_1.steady
        )
    trained = methods.load(run)
    if trained.experiment.method not in GLAM_METHODS or not isinstance(trained.model, Glam):
        raise ConfigurationError(
            f"{run} was trained with {trained.experiment.method}; probes look at {', '.join(GLAM_METHODS)}"
        )
    perception = trained.policy.perception
    return LatentSpace(run, trained.contract, perception, trained.model, trained.columns, trained.step, trained.steady)


@torch.inference_mode()
def look(space: LatentSpace, path: Path, episodes: int | None = None, name: str = "") -> View:
    """See demonstrations through a latent space.

    Args:
        space: the latent space.
        path: of the store; hidden states and actions are read too, for measuring only.
        episodes: only the first so many.
        name: of the source; the folder's when empty.

    Raises:
        DataError: the store holds another task, or no episode is long enough.
    """
    store = Store.open(path)
    if store.info.task != space.contract.task:
        raise DataError(f"{path} holds task '{store.info.task}', {space.run} was trained on '{space.contract.task}'")
    source = Source(store, episodes)
    slots = compute_slots(source, space.perception, space.contract.keys, space.run / "slots", labelled=False)
    slots = slots.steadied if space.steady else slots
    hidden = {k: torch.from_numpy(v) for k, v in store.load_hidden(("state", "action"), episodes).items()}
    now, later = torch.from_numpy(transitions(source.episode_ends, space.step)).T
    if not len(now):
        raise DataError(f"{path}: no episode is longer than k = {space.step} steps")
    moments = slots.moments if space.columns is None else slots.moments[:, space.columns]
    o, o_next = moments[now], moments[later]
    ends = torch.from_numpy(source.episode_ends)
    return View(
        name=name or path.name,
        o=o,
        change=space.glam.normalised_change(o, o_next),
        z=space.glam.infer_mean(o, o_next),
        state=hidden["state"][now],
        next_state=hidden["state"][later],
        action=chunk_actions(hidden["action"], now, space.step),
        episode=torch.searchsorted(ends, now.contiguous(), right=True),
        arms=len(store.info.action_spec.arms),
        store=store,
        episodes=len(source.episode_ends),
    )
