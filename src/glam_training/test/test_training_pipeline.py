"""Stage 1, relabelling, stage 2 and the baseline on a made-up world: they learn, resume, and refuse what they cannot
use."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import SIZE, make_store

from glam_core.errors import ConfigurationError, DataError
from glam_training import stage2 as stage2_module
from glam_training.contract import make_contract
from glam_training.data.store import Store
from glam_training.fit import DeviceConfig, OptimConfig
from glam_training.latent_space import look, open_latent_space
from glam_training.models.blocks import MLP
from glam_training.models.glam import UNREGULARISED, GlamConfig
from glam_training.models.mip import MipConfig
from glam_training.models.perception import PerceptionConfig
from glam_training.relabel import relabel
from glam_training.run import Run
from glam_training.slots import Slots, steady_moments
from glam_training.stage1 import GlamTrainConfig, draw_motions, load_glam, target_motions, train_glam
from glam_training.stage2 import PolicyTrainConfig, load_policy, train_mip, train_policy

CPU = DeviceConfig(accelerator="cpu")


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    make_store(folder / "target", 6)
    make_store(folder / "auxiliary", 6, has_actions=False, speed=0.2, seed=100)
    make_store(folder / "unmasked", 2, masks=False)
    return folder


def stage1(stores: Path, out: Path, observations: str = "scene", **changes) -> GlamTrainConfig:
    config = GlamTrainConfig(
        target=stores / "target",
        auxiliary=(stores / "auxiliary",),
        out=out,
        observations=observations,
        # So few steps learn something only without what slows learning by heart.
        model=dataclasses.replace(UNREGULARISED, latent_size=4, width=64, affine=GlamTrainConfig.model.affine),
        perception=PerceptionConfig(segmenter_width=4),
        # With fewer it sees hardly a square, and actions cannot be learnt from what it sees.
        segmenter=OptimConfig(steps=300, batch_size=16, learning_rate=1e-2, warmup_steps=5, ema_decay=0.9),
        optim=OptimConfig(steps=150, batch_size=32, learning_rate=3e-3, warmup_steps=5, ema_decay=0.9),
        refit=OptimConfig(steps=50, batch_size=32, warmup_steps=5, ema_decay=0.9),
        tempo=False,
        device=CPU,
    )
    return dataclasses.replace(config, **changes)


def stage2(glam: Path, out: Path) -> PolicyTrainConfig:
    return PolicyTrainConfig(
        glam=glam,
        out=out,
        mip=MipConfig(chunk_length=4, width=64, depth=1, dropout=0.0),
        optim=OptimConfig(steps=200, batch_size=32, learning_rate=3e-3, warmup_steps=5, ema_decay=0.9),
        device=CPU,
    )


def test_target_motions_at_double_tempo_add_up(stores, tmp_path):
    store = Store.open(stores / "target")
    data = store.load(["state", "action"])
    state, action = (torch.from_numpy(data[key]) for key in ("state", "action"))
    slots = Slots(torch.zeros(len(action), 4), torch.zeros(0), store.episode_ends, state, action)
    contract = make_contract(store, "scene", ())
    own, brisk = target_motions(slots, contract, stage1(stores, tmp_path, tempo=True))
    plain = target_motions(slots, contract, stage1(stores, tmp_path))
    assert len(plain) == 1 and plain[0].share == 1.0 and own.share + brisk.share == 1.0
    torch.testing.assert_close(own.action, action[own.pairs[:, 0]])
    first = brisk.pairs[:, 0]
    torch.testing.assert_close(brisk.pairs[:, 1], first + 2)
    torch.testing.assert_close(brisk.action[:, :4], action[first, :4] + action[first + 1, :4])
    torch.testing.assert_close(brisk.action[:, 4], action[first + 1, 4])
    sizes = [len(index) for index in draw_motions([own, brisk], 32, torch.Generator())]
    assert sizes == [21, 11]
    wide = dataclasses.replace(UNREGULARISED, step=2)
    with pytest.raises(ConfigurationError, match="give --no-tempo"):
        train_glam(stage1(stores, tmp_path / "wide", model=wide, tempo=True))


def test_both_phases_draw_double_tempo_and_the_refit_the_posterior(stores, tmp_path, monkeypatch):
    draws = {}

    def fit_nothing(objective, draw, config, *, phase, **_):
        draws[phase] = draw
        return objective.eval()

    monkeypatch.setattr("glam_training.stage1.fit", fit_nothing)
    config = stage1(stores, tmp_path / "glam", tempo=True)
    glam = load_glam(train_glam(config)).glam
    own = torch.from_numpy(Store.open(config.target).load(["action"])["action"])

    def brisk(action):
        """How many actions are none of the target's own."""
        return int((torch.cdist(action, own).min(1).values > 1e-4).sum())

    target, _ = draws["glam"](torch.Generator().manual_seed(0))
    assert brisk(target.action) >= 5, "11 of 32, but for sums near the end, where nothing moves; without, none"
    fixed = [draws["decoder"](torch.Generator().manual_seed(0)) for _ in range(2)]
    torch.testing.assert_close(fixed[0][1], fixed[1][1])
    assert brisk(glam.action.inverse(fixed[0][2])) >= 5
    # Without the posterior's noise equal transitions have equal latents.
    many = torch.cat([draws["decoder"](torch.Generator().manual_seed(i))[1] for i in range(40)])
    assert len(torch.unique(many, dim=0)) == len(many)


@pytest.mark.parametrize(("observations", "tempo"), [("scene", True), ("images", False)])
def test_pipeline_learns_from_both_sources(stores, tmp_path, observations, tempo):
    glam_run = train_glam(stage1(stores, tmp_path / "glam", observations, tempo=tempo))
    metrics = [m for m in Run.open(glam_run).metrics() if "glam/action_cross" in m]
    assert metrics[-1]["glam/action_cross"] < 0.6 * metrics[0]["glam/action_cross"]
    assert metrics[-1]["glam/action_cross"] < 0.1, "the mean action, which takes nothing from what is seen, gives 0.4"
    relabelled = relabel(glam_run)
    assert len(relabelled.latents) == 2
    assert relabelled.slots[1].action is None  # the auxiliary actions never enter
    first_episode = relabelled.latents[1][:20]
    assert torch.isfinite(first_episode).all() and (first_episode[19] == 0).all() and (first_episode[18] != 0).any()

    policy = load_policy(train_policy(stage2(glam_run, tmp_path / "policy")))
    baseline = load_policy(train_mip(stage2(glam_run, tmp_path / "mip")))
    if observations == "images":
        x = torch.randint(0, 256, (2, 1, SIZE, SIZE, 3), dtype=torch.uint8)
    else:
        x = torch.randn(2, 1, 4)
    assert policy.policy(x).shape == (2, 4, 4)
    assert policy.decoder is not None
    assert policy.decoder(policy.policy(x)[:, 0], torch.randn(2, 10)).shape == (2, 5)
    assert baseline.decoder is None
    assert baseline.policy(x).shape == (2, 4, 5)


def test_steadied_moments_are_means_over_three_frames_of_their_episode():
    moments = torch.tensor([[0.0], [1.0], [0.0], [10.0], [10.0], [20.0], [7.0]])
    end = torch.tensor([3, 3, 3, 6, 6, 6, 7])
    wanted = torch.tensor([[0.2], [0.6], [0.2], [10.0], [12.0], [18.0], [7.0]])
    torch.testing.assert_close(steady_moments(moments, end), wanted)
    slots = Slots(moments, torch.zeros(0), np.array([3, 6, 7]), None, None)
    torch.testing.assert_close(slots.steadied.moments, wanted)
    assert slots.moments is moments


@pytest.mark.parametrize("steady", [True, False])
def test_stage_1_sees_steadied_slots_policies_see_them_as_they_are(stores, tmp_path, steady):
    few = OptimConfig(steps=2, batch_size=8, warmup_steps=1, ema_decay=0.9)
    run = train_glam(stage1(stores, tmp_path / "glam", "images", steady=steady, segmenter=few, optim=few, refit=few))
    glam, relabelled = load_glam(run).glam, relabel(run)
    target = relabelled.slots[0]
    seen = target.steadied.moments if steady else target.moments
    assert not torch.allclose(target.steadied.moments, target.moments), "slots that do not move tell nothing here"
    with torch.inference_mode():
        z = glam.infer_mean(seen[:1], seen[1:2])
    torch.testing.assert_close(relabelled.mean + relabelled.std * relabelled.latents[0][:1], z, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(look(open_latent_space(run), stores / "target").z[:1], z)


@pytest.mark.parametrize("canonical", [True, False])
def test_a_policy_learns_what_the_decoder_reads_unless_told_otherwise(stores, tmp_path, monkeypatch, canonical):
    few = OptimConfig(steps=2, batch_size=8, warmup_steps=1, ema_decay=0.9)
    wide = GlamConfig(latent_size=8, width=16, depth=1, affine=True)
    run = train_glam(stage1(stores, tmp_path / "glam", model=wide, optim=few, refit=few))
    found = []
    train_head = stage2_module._train_head
    monkeypatch.setattr(stage2_module, "_train_head", lambda *args: found.append(args[3]) or train_head(*args))
    told = {} if canonical else {"canonical": False}
    config = dataclasses.replace(stage2(run, tmp_path / "policy"), optim=few, **told)
    trained, relabelled = load_policy(train_policy(config)), relabel(run)
    for labels, latents in zip(found[0], relabelled.latents, strict=True):
        read = trained.decoder(latents, torch.randn(len(latents), 10))
        got = trained.decoder.action.inverse(labels) if canonical else labels
        torch.testing.assert_close(got, read if canonical else latents, atol=1e-4, rtol=1e-4)
    assert trained.policy(relabelled.slots[0].moments[:3, None]).shape == (3, 4, 8)
    if not canonical:  # runs from before there was a choice do not say
        record = Run.open(config.out).record
        del record["config"]["canonical"]
        (config.out / "run.json").write_text(json.dumps(record))
        assert load_policy(config.out).policy.output is None


def test_policy_reproduces_the_demonstrated_action_from_the_scene(stores, tmp_path):
    glam_run = train_glam(stage1(stores, tmp_path / "glam"))
    trained = load_policy(train_policy(stage2(glam_run, tmp_path / "policy")))
    target = relabel(glam_run).slots[0]
    rows = torch.arange(0, 10)
    latent = trained.policy(target.moments[rows][:, None])[:, 0]
    action = trained.decoder(latent, target.state[rows])
    error = (action[:, :2] - target.action[rows][:, :2]).norm(dim=1).mean()
    assert error < 0.4 * target.action[rows][:, :2].norm(dim=1).mean()


def test_resume_continues_and_equals_an_uninterrupted_run(stores, tmp_path, monkeypatch):
    whole = train_glam(stage1(stores, tmp_path / "whole", tempo=True))

    class Killed(Exception):
        pass

    save = Run.save

    def save_then_die(run, state, step, phase="checkpoint"):
        save(run, state, step, phase)
        if phase == "glam" and step < 150:
            raise Killed

    # Checkpoints come once a minute; a clock that leaps makes one come after the first step.
    clock = iter(range(0, 10**9, 61))
    monkeypatch.setattr("glam_training.fit.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(Run, "save", save_then_die)
    with pytest.raises(Killed):
        train_glam(stage1(stores, tmp_path / "killed", tempo=True))
    monkeypatch.undo()
    resumed = train_glam(stage1(stores, tmp_path / "killed", tempo=True))
    a, b = load_glam(whole).glam.state_dict(), load_glam(resumed).glam.state_dict()
    assert a.keys() == b.keys()
    difference = max(float((a[key].float() - b[key].float()).abs().max()) for key in a)
    assert difference < 1e-4
    steps = [m["step"] for m in Run.open(resumed).metrics() if "glam/loss" in m]
    assert steps == sorted(set(steps)) and steps[-1] == 150


def test_bad_sources_are_refused(stores, tmp_path):
    with pytest.raises(ConfigurationError, match="auxiliary source without actions"):
        train_glam(stage1(stores, tmp_path / "a", target=stores / "auxiliary"))
    with pytest.raises(ConfigurationError, match="no object masks"):
        train_glam(stage1(stores, tmp_path / "b", "images", auxiliary=(stores / "unmasked",)))
    make_store(tmp_path / "older", 2, has_actions=False, mask_classes=("cube", "left_fingers", "right_fingers"))
    with pytest.raises(ConfigurationError, match="older has masks of cube, left_fingers, right_fingers, the target"):
        train_glam(stage1(stores, tmp_path / "d", "images", auxiliary=(tmp_path / "older",)))
    with pytest.raises(DataError, match="6 episodes, 7 were asked for"):
        train_glam(stage1(stores, tmp_path / "c", target_episodes=7))
    with pytest.raises(DataError, match="holds no trained model"):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "run.json").write_text("{}")
        load_glam(tmp_path / "empty")


def test_a_run_from_before_the_affine_decoder_is_read_with_its_perceptron(stores, tmp_path):
    model = dataclasses.replace(UNREGULARISED, latent_size=4, width=64)
    glam_run = train_glam(stage1(stores, tmp_path / "glam", model=model))
    record = json.loads((glam_run / "run.json").read_text())
    assert record["config"]["model"].pop("affine") is False
    (glam_run / "run.json").write_text(json.dumps(record))
    assert isinstance(load_glam(glam_run).glam.decoder, MLP)
    assert GlamTrainConfig.model.affine  # what a new run has


def test_weights_of_another_version_are_refused_in_words(stores, tmp_path):
    glam_run = train_glam(stage1(stores, tmp_path / "glam"))
    state = torch.load(glam_run / "model.pt", weights_only=True)
    state["glam"]["decoder.gain.lift.bias"] = torch.zeros(64)  # from when the gain always followed the state
    torch.save(state, glam_run / "model.pt")
    again = "weights of another version of this code.*delete it and train it again"
    with pytest.raises(DataError, match=again):
        load_glam(glam_run)
    (glam_run / "model.pt").unlink()  # cut short before its end
    phase = torch.load(glam_run / "glam.pt", weights_only=True)
    phase["model"]["glam.decoder.gain.lift.bias"] = torch.zeros(64)
    torch.save(phase, glam_run / "glam.pt")
    with pytest.raises(DataError, match=again):
        train_glam(stage1(stores, tmp_path / "glam"))


def test_episodes_too_short_are_refused_before_anything_is_trained(stores, tmp_path):
    wide = dataclasses.replace(UNREGULARISED, step=100)
    with pytest.raises(DataError, match="no episode is longer than k = 100 steps; lower model.step"):
        train_glam(stage1(stores, tmp_path / "wide", model=wide))
    assert not (tmp_path / "wide").exists()
