"""The store keeps complete episodes, refuses what does not belong, and survives a killed writer."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from glam_core.errors import DataError
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, VectorSpec, robot_state_spec
from glam_training.data import store as store_module
from glam_training.data.store import EpisodeArrays, Provenance, Store, StoreInfo


def make_info(has_actions: bool = True, size: int = 8) -> StoreInfo:
    return StoreInfo(
        task="lift",
        embodiment="gen3",
        source="simulation",
        obs_spec=ObsSpec(images=(ImageSpec(name="front", height=size, width=size),)),
        action_spec=ActionSpec(),
        state_spec=robot_state_spec(("arm",)),
        scene_spec=VectorSpec(name="scene", components=("a", "b"), units=("m", "m"), frame="base"),
        has_actions=has_actions,
        mask_classes=("cube", "fingers"),
        provenance=Provenance(command="test", config={"seed": 0}, commit="unknown", versions={}),
    )


def make_episode(seed: int, frames: int = 5, size: int = 8) -> EpisodeArrays:
    rng = np.random.default_rng(seed)
    return EpisodeArrays(
        arrays={
            "images/front": rng.integers(0, 255, (frames, size, size, 3), dtype=np.uint8),
            "masks/front": rng.integers(0, 3, (frames, size, size), dtype=np.uint8),
            "state": rng.normal(size=(frames, 10)).astype(np.float32),
            "action": rng.normal(size=(frames, 5)).astype(np.float32),
            "scene": rng.normal(size=(frames, 2)).astype(np.float32),
        },
        seed=seed,
        success=True,
        task="lift",
        embodiment="gen3",
    )


def test_round_trip(tmp_path):
    episodes = [make_episode(seed, frames) for seed, frames in ((3, 50), (4, 1), (9, 80))]
    store = Store.create(tmp_path / "store", make_info())
    for episode in episodes:
        store.append(episode)
    opened = Store.open(tmp_path / "store")
    assert opened.info == make_info()
    assert opened.seeds.tolist() == [3, 4, 9]
    assert opened.fingerprint == store.fingerprint
    arrays = opened.load(opened.keys)
    for rows, episode in zip(opened.episode_slices(), episodes, strict=True):
        for key, values in episode.arrays.items():
            np.testing.assert_array_equal(arrays[key][rows], values)
            assert arrays[key].dtype == values.dtype
    assert len(opened.load(["state"], episodes=2)["state"]) == 51


def test_fingerprint_depends_on_content_only(tmp_path):
    def fingerprint(name, seeds):
        store = Store.create(tmp_path / name, make_info())
        for seed in seeds:
            store.append(make_episode(seed))
        return store.fingerprint

    assert fingerprint("a", (1, 2)) == fingerprint("b", (1, 2))
    assert len({fingerprint("c", (2, 1)), fingerprint("d", (1, 2)), fingerprint("e", (1,))}) == 3


@pytest.mark.parametrize("killed_at", ["data/state", "meta/seeds", "meta/episode_ends"])
def test_killed_writer_leaves_the_complete_episodes(tmp_path, monkeypatch, killed_at):
    path = tmp_path / "store"
    store = Store.create(path, make_info())
    store.append(make_episode(1))
    write_rows = Store._write_rows

    def write_until_killed(self, name, start, values):
        if name == killed_at:
            self._resize(name, start + len(values))
            raise KeyboardInterrupt
        write_rows(self, name, start, values)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_rows", write_until_killed)
        with pytest.raises(KeyboardInterrupt):
            store.append(make_episode(2))
    assert Store.open(path).num_episodes == 1
    resumed = Store.resume(path)
    resumed.append(make_episode(3, frames=7))
    opened = Store.open(path)
    assert opened.seeds.tolist() == [1, 3]
    for key, values in make_episode(3, frames=7).arrays.items():
        np.testing.assert_array_equal(opened.load([key])[key][5:], values)
    assert zarr.open_group(str(path), mode="r")["data/state"].shape[0] == 12


def with_array(key, values):
    episode = make_episode(1)
    return replace(episode, arrays={**episode.arrays, key: values})


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (with_array("images/front", np.zeros((5, 9, 8, 3), np.uint8)), "one store holds one size"),
        (with_array("state", np.zeros((5, 10))), "float64"),
        (with_array("action", np.full((5, 5), np.nan, np.float32)), "not finite at frame 0"),
        (with_array("state", np.full((5, 10), np.inf, np.float32)), "not finite"),
        (with_array("state", np.zeros((4, 10), np.float32)), "same number of frames"),
        (with_array("images/side", np.zeros((5, 8, 8, 3), np.uint8)), "images/side"),
        (replace(make_episode(1), task="stack_two"), "holds task 'lift'"),
        (replace(make_episode(1), embodiment="umi"), "holds embodiment 'gen3'"),
    ],
)
def test_what_does_not_belong_is_refused_and_nothing_is_written(tmp_path, episode, message):
    store = Store.create(tmp_path / "store", make_info())
    with pytest.raises(DataError, match=message):
        store.append(episode)
    assert Store.open(tmp_path / "store").num_frames == 0


def test_missing_key_lists_the_keys(tmp_path):
    store = Store.create(tmp_path / "store", make_info())
    with pytest.raises(DataError, match=r"(?s)images/frnt.*images/front.*state"):
        store.load(["images/frnt"])


def test_hidden_actions(tmp_path):
    store = Store.create(tmp_path / "store", make_info(has_actions=False))
    store.append(make_episode(1))
    with pytest.raises(DataError, match="hidden from training"):
        store.load(["state", "action"])
    assert store.load_hidden(["action"])["action"].shape == (5, 5)


def test_some_episodes_in_any_order(tmp_path):
    store = Store.create(tmp_path / "store", make_info(has_actions=False))
    episodes = [make_episode(seed, frames=3 + seed) for seed in range(4)]
    for episode in episodes:
        store.append(episode)
    read = store.load_episodes(["images/front"], [2, 0])
    for key, values in read.items():
        np.testing.assert_array_equal(values, np.concatenate([episodes[i].arrays[key] for i in (2, 0)]))
    with pytest.raises(DataError, match="has 4 episodes, number 4"):
        store.load_episodes(["images/front"], [4])
    for key in ("action", "state"):
        with pytest.raises(DataError, match="hidden from training"):
            store.load_episodes([key], [0])


@pytest.mark.parametrize("on_disk", [False, True])
def test_more_rows_than_are_read_at_once(tmp_path, monkeypatch, on_disk):
    monkeypatch.setattr(store_module, "READ_FRAMES", 7)
    store = Store.create(tmp_path / "store", make_info())
    episodes = [make_episode(seed, frames=10 + seed) for seed in range(4)]
    for episode in episodes:
        store.append(episode)
    keys, scratch = ("images/front", "action"), tmp_path if on_disk else None
    for read, chosen in (
        (store.load(keys, 3, scratch), (0, 1, 2)),
        (store.load_episodes(keys, [3, 1], scratch), (3, 1)),
    ):
        for key in keys:
            np.testing.assert_array_equal(read[key], np.concatenate([episodes[i].arrays[key] for i in chosen]))


def test_arrays_on_disk_lie_in_the_folder_and_go_with_their_last_user(tmp_path):
    store = Store.create(tmp_path / "store", make_info())
    store.append(make_episode(0))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    array = store.load(["images/front"], scratch=scratch)["images/front"]
    part = array[1:]
    del array
    assert str(scratch) in Path("/proc/self/maps").read_text()
    del part
    assert str(scratch) not in Path("/proc/self/maps").read_text()
    assert not list(scratch.iterdir())


def test_a_full_disk_is_named_before_it_is_written_to(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store.create(tmp_path / "store", make_info())
    store.append(make_episode(0))
    keys = ["images/front", "action"]
    with pytest.raises(DataError, match=r"nowhere cannot hold the .* GB of images/front, action \(No such file"):
        store.load(keys, scratch=tmp_path / "nowhere")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"cannot hold the .* \(No space left on device\); make room there"):
        store.load(keys, scratch=tmp_path)


def test_open_errors(tmp_path):
    with pytest.raises(DataError, match="is not a store"):
        Store.open(tmp_path)
    Store.create(tmp_path / "store", make_info())
    with pytest.raises(DataError, match="exists already"):
        Store.create(tmp_path / "store", make_info())
    with pytest.raises(DataError, match="opened to read"):
        Store.open(tmp_path / "store").append(make_episode(1))
    with pytest.raises(DataError, match="0 episodes, 3 were asked for"):
        Store.open(tmp_path / "store").load(["state"], episodes=3)
    info = json.loads((tmp_path / "store/info.json").read_text())
    (tmp_path / "store/info.json").write_text(json.dumps({**info, "schema_version": 99}))
    with pytest.raises(DataError, match="schema version 99"):
        Store.open(tmp_path / "store")
    (tmp_path / "store/info.json").write_text(json.dumps({**info, "colour": "red"}))
    with pytest.raises(DataError, match="colour"):
        Store.open(tmp_path / "store")
