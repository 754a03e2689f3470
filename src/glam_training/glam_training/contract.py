"""What a trained model expects and produces, as a file beside its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glam_core.errors import DataError
from glam_core.spec import ActionSpec
from glam_training.data.store import Store
from glam_training.models.keypoints import KeypointPerception
from glam_training.models.perception import ImagePerception, PerceptionConfig, ScenePerception
from glam_training.slots import observation_keys

CONTRACT_FILE = "contract.json"


@dataclass(frozen=True)
class Contract:
    """What a trained model expects and produces; travels beside its weights as contract.json."""

    task: str
    embodiment: str
    observations: str
    obs_spec: dict[str, Any]
    action_spec: dict[str, Any]
    state_spec: dict[str, Any]
    slots: int
    """Slots per camera; 0 without masks and in the fast lane."""

    def write(self, folder: Path) -> None:
        """Write contract.json."""
        (folder / CONTRACT_FILE).write_text(json.dumps(self.__dict__, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Contract:
        """Read contract.json.

        Raises:
            DataError: the folder holds no finished run.
        """
        try:
            return cls(**json.loads((folder / CONTRACT_FILE).read_text()))
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no trained model ({CONTRACT_FILE} is missing); train it, or resume its training"
            ) from None

    @property
    def action_size(self) -> int:
        """A."""
        return len(self.action_spec["arms"]) * len(self.action_spec["components"])

    @property
    def state_size(self) -> int:
        """S."""
        return len(self.state_spec["components"])

    @property
    def moves_joints(self) -> bool:
        """Whether actions are turns of joints."""
        return ActionSpec.model_validate(self.action_spec).moves_joints

    def make_perception(self, config: PerceptionConfig) -> ImagePerception | KeypointPerception | ScenePerception:
        """An untrained perception for these observations: slots where there are masks to learn them from, else
        keypoints."""
        if self.observations == "scene":
            return ScenePerception(self.obs_spec["vectors"][0]["components"], config)
        if not self.slots:
            return KeypointPerception(len(self.obs_spec["images"]), config)
        return ImagePerception(len(self.obs_spec["images"]), self.slots, config)

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras, in the order of the perception's inputs; none in the fast lane."""
        return [image["name"] for image in self.obs_spec["images"]]

    @property
    def keys(self) -> list[str]:
        """Keys of a store that the perception reads."""
        return [f"images/{camera}" for camera in self.cameras] or ["scene"]


def make_contract(store: Store, observations: str, cameras: tuple[str, ...]) -> Contract:
    """The contract of a model that is trained on `store`."""
    info = store.info
    keys = observation_keys(store, observations, cameras)
    images = [] if observations == "scene" else [info.obs_spec.image(key.split("/")[1]).model_dump() for key in keys]
    vectors = [info.scene_spec.model_dump()] if observations == "scene" and info.scene_spec is not None else []
    return Contract(
        task=info.task,
        embodiment=info.embodiment,
        observations=observations,
        obs_spec={"images": images, "vectors": vectors, "rate_hz": info.obs_spec.rate_hz, "history": 1},
        action_spec=info.action_spec.model_dump(),
        state_spec=info.state_spec.model_dump(),
        slots=0 if observations == "scene" else len(info.mask_classes),
    )
