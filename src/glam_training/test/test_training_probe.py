"""Gates and transfer tell a latent space that means the same everywhere from one that does not."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from glam_core.errors import ConfigurationError, DataError
from glam_sim.sources import GEN3, TWIN, UMI, plain
from glam_training.data.store import Store
from glam_training.demos import DemosConfig, record_demos
from glam_training.experiment import Experiment, Stores
from glam_training.gates import (
    kl_per_dimension,
    motion_gates,
    paired_gate,
    shuffled,
    swapped,
    tilt_gate,
    tool_motion,
)
from glam_training.latent_space import View, look, open_latent_space
from glam_training.methods import train
from glam_training.models.glam import Gaussian, Glam, GlamConfig, kl
from glam_training.pairs import record_pairs
from glam_training.probe import ProbeConfig, _cells, probe
from glam_training.replay import f1_score
from glam_training.transfer import TransferConfig, transfer

MOTIONS = 400


def make_view(name: str, encode, seed: int) -> View:
    """Random tool motions whose latents are a function of them."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.zeros(MOTIONS, 10)
    motion = 0.02 * torch.randn(MOTIONS, 4, generator=generator)
    next_state = state.clone()
    next_state[:, :3], next_state[:, 9] = motion[:, :3], motion[:, 3]
    empty = torch.zeros(MOTIONS, 1)
    episode = torch.arange(MOTIONS) // 20
    return View(name, empty, empty, encode(50 * motion), state, next_state, empty, episode, 1, SimpleNamespace(), 20)


def verdicts(gates):
    return [g.passed for g in gates if g.passed is not None]


def test_motion_gates_pass_for_shared_latents_alone():
    target = make_view("target", lambda motion: motion, 0)
    assert verdicts(motion_gates(target, make_view("umi", lambda motion: motion, 1))) == [True, True]
    # Another meaning, then the same meaning with the source written into it.
    assert verdicts(motion_gates(target, make_view("umi", lambda motion: -motion, 1)))[0] is False
    assert verdicts(motion_gates(target, make_view("umi", lambda motion: motion + 3.0, 1)))[1] is False


def test_tilt_gate_fails_where_the_state_is_blown_up():
    target = make_view("target", lambda motion: motion, 0)
    upright = torch.tensor([1.0, 0.0, 0.0, 0.0, -1.0, 0.0])
    target.state[:, 3:9] = upright + 0.001 * torch.randn(MOTIONS, 6, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    glam = Glam(1, 0.1, 10, 5, GlamConfig(latent_size=4)).eval()
    glam.state.fit(target.state)
    assert tilt_gate(glam, target).passed
    glam.state.std[3:9] = 0.001
    assert not tilt_gate(glam, target).passed


def test_paired_gate():
    first = make_view("target", lambda motion: motion, 0)
    assert paired_gate(first, first).passed
    noisy = replace(first, z=first.z + 0.01 * torch.randn(first.z.shape, generator=torch.Generator().manual_seed(0)))
    assert paired_gate(first, noisy).passed
    assert not paired_gate(first, replace(first, z=shuffled(first.z))).passed


def test_swapped_latents_are_those_of_the_nearest_motion():
    target = make_view("target", lambda motion: motion, 0)
    other = make_view("umi", lambda motion: motion, 1)
    distance = (swapped(target, other) - 50 * tool_motion(target)).norm(dim=1)
    assert distance.mean() < 0.6 * (shuffled(other.z) - 50 * tool_motion(target)).norm(dim=1).mean()
    torch.testing.assert_close(swapped(target, target), target.z)


def test_kl_per_dimension_sums_to_kl():
    generator = torch.Generator().manual_seed(0)
    q, p = (Gaussian(*torch.randn(2, 7, 3, generator=generator)) for _ in range(2))
    torch.testing.assert_close(kl_per_dimension(q, p).sum(), kl(q, p))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A GLAM of the bench after a few steps, and its stores."""
    folder = tmp_path_factory.mktemp("probe")
    paths = {}
    for source in ("gen3", "umi"):
        paths[source] = folder / source
        record_demos(DemosConfig(paths[source], "lift", source=source, episodes=2, workers=1))
    cell = Experiment("lift", "glam", target_episodes=2, auxiliary_episodes=2, budget="smoke")
    return train(cell, Stores(paths["gen3"], (paths["umi"],)), folder / "run"), paths


@pytest.mark.sim
def test_probe_writes_its_report(run, tmp_path):
    path, stores = run
    gates = probe(ProbeConfig(path, stores["gen3"], (stores["umi"],), paired=2, out=tmp_path))
    record = json.loads((tmp_path / "probe.json").read_text())
    assert [g["name"] for g in record["gates"]] == [g.name for g in gates]
    assert all(np.isfinite(g.value) for g in gates)
    assert len(record["kl_idm_to_prior"]) == 16
    assert gates[-1].name.startswith("paired renders")
    pairs = tmp_path / "paired"
    assert {p.name for p in pairs.iterdir()} == {"gen3", "umi"}, "in the cells of the stores"
    page = (tmp_path / "probe.md").read_text()
    for name in ("latents", "replay", "forward", "kl"):
        assert f"(probe_{name}.png)" in page and (tmp_path / f"probe_{name}.png").stat().st_size > 5000


@pytest.mark.sim
def test_pairs_are_shown_in_the_cells_of_the_demonstrations():
    def made_in(source: str, embodiment: str) -> View:
        info = SimpleNamespace(source=source, embodiment=embodiment)
        return replace(make_view("any", lambda z: z, 0), store=SimpleNamespace(info=info))

    assert _cells(made_in("simulation", "gen3"), made_in("simulation", "umi")) == [plain("gen3"), plain("umi")]
    assert _cells(made_in("gen3", "gen3"), made_in("twin", "gen3")) == [GEN3, TWIN]
    assert _cells(made_in("gen3", "gen3"), made_in("recording", "umi")) is None


@pytest.mark.sim
def test_pairs_show_one_motion_in_two_cells(tmp_path):
    paths = record_pairs(tmp_path, "lift", 1, 60000, ("front",), 64, (GEN3, UMI))
    first, second = (Store.open(path) for path in paths)
    assert list(first.episode_ends) == list(second.episode_ends)
    a, b = (store.load_hidden(["scene", "state", "images/front"]) for store in (first, second))
    true, seen = a["state"][:, :3], b["state"][:, :3]
    offset = seen - true
    assert (
        np.abs(offset).max() < 0.02 and np.abs(offset).mean() > 1e-3
    )  # the other source takes another point for the tool
    cube = first.info.scene_spec.components.index("red_cube.x")
    np.testing.assert_allclose(a["scene"][:, cube], b["scene"][:, cube], atol=1e-3)
    assert np.abs(a["images/front"].astype(int) - b["images/front"]).mean() > 3.0
    assert record_pairs(tmp_path, "lift", 1, 60000, ("front",), 64, (GEN3, UMI)) == paths
    assert Store.open(paths[0]).fingerprint == first.fingerprint


@pytest.mark.sim
def test_transfer_writes_tables_and_videos(run, tmp_path):
    path, stores = run
    config = TransferConfig(path, (stores["umi"], stores["gen3"]), episodes=2, out=tmp_path, videos=1)
    replays = transfer(config)
    record = json.loads((tmp_path / "transfer.json").read_text())
    assert [source["name"] for source in record["sources"]] == ["umi", "gen3"]
    assert all(r.errors.shape == (2, 20) and np.isfinite(r.errors).all() for r in replays)
    assert all(r.events >= 2 for r in replays)
    assert (tmp_path / "transfer_umi.mp4").stat().st_size > 1000
    assert "**not reached**" in (tmp_path / "transfer.md").read_text()


def test_bad_input(run, tmp_path):
    path, stores = run
    with pytest.raises(DataError, match="holds task 'stack_two'"):
        record_demos(DemosConfig(tmp_path / "other", "stack_two", "umi", episodes=1, workers=1))
        look(open_latent_space(path), tmp_path / "other")
    mip = Experiment("lift", "mip", target_episodes=2, auxiliary_episodes=2, budget="smoke")
    other = train(mip, Stores(stores["gen3"], (stores["umi"],)), tmp_path / "mip")
    with pytest.raises(ConfigurationError, match="was trained with mip; probes look at"):
        open_latent_space(other)


def test_f1_of_the_gripper():
    assert f1_score(hits=2, events=4, decoded=2) == pytest.approx(2 / 3)
    assert f1_score(hits=0, events=4, decoded=0) == 0.0
    assert f1_score(hits=0, events=0, decoded=2) == 0.0
    assert f1_score(hits=0, events=0, decoded=0) == 1.0, "a task without a grip has nothing to miss"
