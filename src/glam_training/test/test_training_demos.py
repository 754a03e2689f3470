"""Demonstrations: the same store whatever the number of workers and interruptions; failures are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glam_core.errors import ConfigurationError, DataError
from glam_training import demos
from glam_training.data.store import Store
from glam_training.demos import DemosConfig, record_demos

pytestmark = pytest.mark.sim


def test_images_masks_and_labels(tmp_path):
    config = DemosConfig(
        tmp_path / "store", task="lift", episodes=1, cameras=("front",), image_size=32, masks=True, workers=1
    )
    store = record_demos(config).store
    arrays = store.load(store.keys)
    frames = store.num_frames
    assert arrays["images/front"].shape == (frames, 32, 32, 3)
    assert arrays["masks/front"].max() == len(store.info.mask_classes)
    assert arrays["action"].shape == (frames, 5)
    assert arrays["scene"].shape == (frames, store.info.scene_spec.size)
    assert store.successes.all()


def test_content_does_not_depend_on_workers_or_interruptions(tmp_path):
    config = DemosConfig(tmp_path / "whole", task="lift", embodiment="umi", episodes=3, workers=2, seed=5)
    whole = record_demos(config).store
    record_demos(replace(config, out=tmp_path / "parts", workers=1, episodes=1))
    parts = record_demos(replace(config, out=tmp_path / "parts", workers=1)).store
    assert parts.fingerprint == whole.fingerprint
    assert parts.seeds.tolist() == [5, 6, 7]
    assert not parts.info.has_actions
    assert record_demos(replace(config, out=tmp_path / "parts")).store.num_episodes == 3


def test_sources_and_action_spaces(tmp_path):
    umi = record_demos(DemosConfig(tmp_path / "umi", task="lift", source="umi", episodes=1, workers=1)).store
    assert (umi.info.source, umi.info.embodiment, umi.info.has_actions) == ("umi", "umi", False)
    with pytest.raises(DataError, match="auxiliary source"):
        umi.load(["state"])
    joint = DemosConfig(tmp_path / "joint", task="lift", source="gen3", action_space="joint", episodes=1, workers=1)
    arm = record_demos(joint).store
    assert arm.info.action_spec.moves_joints
    assert arm.load(["action"])["action"].shape == (arm.num_frames, 8)
    assert arm.load(["state"])["state"].shape == (arm.num_frames, arm.info.state_spec.size)
    assert arm.info.scene_spec == umi.info.scene_spec
    with pytest.raises(ConfigurationError, match="umi has no joints"):
        DemosConfig(tmp_path / "store", source="umi", action_space="joint")


def test_failures_are_replaced_by_the_next_seed(tmp_path, monkeypatch):
    make = demos._make_demonstrator

    def sometimes(config):
        demonstrate = make(config)
        return lambda seed: replace(demonstrate(seed), success=seed % 3 != 0)

    monkeypatch.setattr(demos, "_make_demonstrator", sometimes)
    config = DemosConfig(tmp_path / "store", task="lift", episodes=3, workers=1)
    result = record_demos(config)
    assert result.store.seeds.tolist() == [1, 2, 4]
    assert result.failures == 2
    assert record_demos(replace(config, episodes=4)).store.seeds.tolist() == [1, 2, 4, 5]


def test_a_broken_expert_stops(tmp_path, monkeypatch):
    make = demos._make_demonstrator
    config = DemosConfig(tmp_path / "store", task="lift", episodes=3, workers=1)
    episode = replace(make(config)(0), success=False)
    monkeypatch.setattr(demos, "_make_demonstrator", lambda config: lambda seed: episode)
    with pytest.raises(DataError, match="succeeded in 0 of 10"):
        record_demos(config)


def test_another_config_is_refused(tmp_path):
    config = DemosConfig(tmp_path / "store", task="lift", episodes=1, workers=1)
    record_demos(config)
    with pytest.raises(ConfigurationError, match="seed was 0, is 1"):
        record_demos(replace(config, seed=1))
    assert np.array_equal(Store.open(tmp_path / "store").seeds, [0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "stack_to"}, "did you mean 'stack_two'"),
        ({"embodiment": "gen4"}, "did you mean 'gen3'"),
        ({"source": "twim"}, "did you mean 'twin'"),
        ({"cameras": ("frnt",)}, "did you mean 'front'"),
        ({"masks": True}, "masks need cameras"),
        ({"episodes": 0}, "episodes must be at least 1"),
    ],
)
def test_unknown_names_and_values(tmp_path, change, message):
    with pytest.raises(ConfigurationError, match=message):
        DemosConfig(tmp_path / "store", **change)
