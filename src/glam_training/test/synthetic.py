"""A made-up world for fast tests: a tool square chases a cube square; actions are its displacements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, VectorSpec, joint_action_spec, robot_state_spec
from glam_training.data.store import Provenance, Store, StoreInfo

SIZE = 32


@dataclass(frozen=True)
class SyntheticEpisode:
    """Satisfies what a store appends."""

    arrays: dict[str, np.ndarray]
    seed: int
    success: bool = True
    task: str = "lift"
    embodiment: str = "gen3"


def make_episode(seed: int, frames: int = 20, speed: float = 0.15, size: int = SIZE) -> SyntheticEpisode:
    """One episode: positions in [-1, 1], images of `size` pixels."""
    rng = np.random.default_rng(seed)
    tool, cube = rng.uniform(-0.8, 0.8, 2), rng.uniform(-0.8, 0.8, 2)
    arrays: dict[str, list[np.ndarray]] = {k: [] for k in ("images/front", "masks/front", "state", "action", "scene")}
    for _ in range(frames):
        action = speed * (cube - tool) / max(0.3, float(np.linalg.norm(cube - tool)))
        mask = np.zeros((size, size), np.uint8)
        for value, centre in ((1, cube), (2, tool)):
            x, y = ((centre + 1) / 2 * (size - 5)).astype(int)
            mask[y : y + 5, x : x + 5] = value
        image = np.full((size, size, 3), 90, np.uint8)
        image[mask == 1], image[mask == 2] = (200, 30, 30), (20, 40, 220)
        arrays["images/front"].append(image)
        arrays["masks/front"].append(mask)
        arrays["state"].append(np.array([*tool, 0, 1, 0, 0, 0, 1, 0, 0], np.float32))
        arrays["action"].append(np.array([*action, 0, 0, 0.5], np.float32))
        arrays["scene"].append(np.array([*tool, *cube], np.float32))
        tool = tool + action
    return SyntheticEpisode({key: np.stack(values) for key, values in arrays.items()}, seed)


def make_store(
    path: Path,
    episodes: int,
    has_actions: bool = True,
    masks: bool = True,
    images: bool = True,
    speed: float = 0.15,
    seed: int = 0,
    size: int = SIZE,
    mask_classes: tuple[str, ...] = ("cube", "fingers"),
    joints: bool = False,
) -> Store:
    """A store of synthetic episodes; with `joints`, two joints do what moves the tool."""
    info = StoreInfo(
        task="lift",
        embodiment="gen3",
        source="synthetic",
        obs_spec=ObsSpec(images=(ImageSpec(name="front", height=size, width=size),) if images else ()),
        action_spec=joint_action_spec() if joints else ActionSpec(),
        state_spec=robot_state_spec(("arm",), with_joints=joints),
        scene_spec=VectorSpec(name="scene", components=("tool_x", "tool_y", "cube_x", "cube_y"), units=("m",) * 4),
        has_actions=has_actions,
        mask_classes=mask_classes if masks and images else (),
        provenance=Provenance(command="test", config={}, commit="unknown", versions={}),
    )
    store = Store.create(path, info)
    for i in range(episodes):
        episode = make_episode(seed + i, speed=speed, size=size)
        if joints:
            for key, length in (("action", 8), ("state", 24)):
                values = episode.arrays[key]
                episode.arrays[key] = np.pad(values, ((0, 0), (0, length - values.shape[1])))
        for key in set(episode.arrays) - set(info.columns()):
            del episode.arrays[key]
        store.append(episode)
    return store
