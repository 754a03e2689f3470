"""Keypoints find what moves, without being told what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import make_episode

from glam_core.errors import ConfigurationError
from glam_training import encoders, methods
from glam_training.config import plain
from glam_training.encoders import EncoderBatches, Frames
from glam_training.experiment import Experiment
from glam_training.fit import OptimConfig
from glam_training.group_fit import fit_group
from glam_training.group_training import Group
from glam_training.models.follow import Follower
from glam_training.models.keypoints import Agreement, KeypointObjective, KeypointPerception, keypoints_of
from glam_training.models.perception import PerceptionConfig
from glam_training.run import Run
from glam_training.segmenter import photometric


def test_a_keypoint_is_the_centre_of_its_map():
    logits = torch.full((1, 2, 9, 9), -20.0)
    logits[0, 0, 2, 6] = 20.0  # row 2, column 6
    logits[0, 1, 4, :] = 0.0  # the whole middle row
    u, v, spread = keypoints_of(logits)[0].T
    torch.testing.assert_close(u, torch.tensor([0.5, 0.0]), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(v, torch.tensor([-0.5, 0.0]), atol=1e-4, rtol=0.0)
    assert spread[1] > 0.5 > spread[0]


def test_a_follower_follows_without_gradient():
    network = torch.nn.Linear(3, 2)
    follower = Follower(network, rate=0.5)
    start = follower.weight.clone()
    with torch.no_grad():
        network.weight.add_(1.0)
    out = follower(network, torch.ones(1, 3))
    torch.testing.assert_close(follower.weight, start + 0.5)
    assert not out.requires_grad
    torch.testing.assert_close(out, torch.ones(1, 3) @ (start + 0.5).T + network.bias.detach())


@pytest.mark.timeout(600)
def test_keypoints_follow_what_moves_in_a_made_up_world(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(encoders, "_BATCH", 16)
    episodes = [make_episode(seed) for seed in range(40)]
    images = torch.cat([torch.from_numpy(e.arrays["images/front"]) for e in episodes]).numpy()
    ends = torch.arange(20, 801, 20).numpy()
    torch.manual_seed(0)
    perception = KeypointPerception(1, PerceptionConfig(segmenter_width=8, keypoints=6))
    draw = EncoderBatches([Frames([images], [], ends)], torch.device("cpu"))
    with Run.create(tmp_path / "run", plain({"seed": 0}), {}) as run:
        optim = OptimConfig(steps=150, learning_rate=3e-3, warmup_steps=20, ema_decay=0.95)
        fit_group(
            [KeypointObjective(perception, 1)], draw.pairs, optim, Group([run], [0], torch.device("cpu")), "encoder"
        )
    new = [make_episode(seed) for seed in range(1000, 1015)]
    seen = torch.cat([torch.from_numpy(e.arrays["images/front"]) for e in new])
    places = torch.cat([torch.from_numpy(e.arrays["scene"]) for e in new])
    with torch.inference_mode():
        points, patches = perception.eval()(seen)
    assert patches.shape[1] == perception.glimpse_count and points.shape == (300, perception.moment_size)
    # The place of the square that moves can be read from the keypoints linearly.
    x = (points - points.mean(0)) / points.std(0).clamp_min(0.02)
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    train, test = slice(0, 200), slice(200, 300)
    weights = torch.linalg.solve(x[train].T @ x[train] + 0.2 * torch.eye(x.shape[1]), x[train].T @ places[train, :2])
    residual = (x[test] @ weights - places[test, :2]).square().mean(0)
    assert (residual < 0.3 * places[test, :2].var(0)).all()


def test_agreement_has_half_of_the_gradient_of_its_term():
    torch.manual_seed(0)
    points = torch.randn(3, 16, 4) * torch.tensor([0.1, 0.1, 0.3, 1e-4]) + 0.2 * torch.randn(3, 1, 4)
    agreement = Agreement(3, 4)
    for _ in range(1500):  # until the running means and variances are those of the batch
        agreement(points)
    points.requires_grad_()
    loss, apart = agreement(points)
    means, variances = points.mean(1), points.var(1, correction=0)
    unit = variances.mean(0).detach() + 0.05**2
    of_means = (means - means.mean(0)).square() / unit
    term = (of_means + (variances - variances.mean(0)).square() / unit.square()).sum(0).mean()
    (gradient,) = torch.autograd.grad(loss, points)
    (wanted,) = torch.autograd.grad(term, points)
    torch.testing.assert_close(gradient, 0.5 * wanted, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(apart, of_means.sum(0).mean().detach(), rtol=1e-3, atol=1e-6)


def test_sources_come_together():
    torch.manual_seed(0)
    points = torch.randn(2, 64, 2) * torch.tensor([[0.1, 0.1], [0.1, 0.3]])[:, None]
    points = (points + torch.tensor([[-0.3, 0.0], [0.3, 0.0]])[:, None]).requires_grad_()
    agreement = Agreement(2, 2)
    for _ in range(2500):
        (gradient,) = torch.autograd.grad(agreement(points)[0], points)
        with torch.no_grad():
            points -= 0.3 * gradient
    mean, spread = points.detach().mean(1), points.detach().std(1)
    assert (mean[0] - mean[1]).abs().max() < 0.1  # 0.6 before
    assert spread[1, 1] / spread[0, 1] < 1.5  # 3 before


def test_each_source_is_compared_by_its_own_images():
    torch.manual_seed(0)
    lengths, sides = (30, 50, 40), (slice(0, 8), slice(8, 16), slice(16, 24))
    frames = []
    for length, side in zip(lengths, sides, strict=True):
        images = np.zeros((length, 24, 24, 3), np.uint8)
        images[:, :, side] = 255
        frames.append(Frames([images], [], np.array([length])))
    perception = KeypointPerception(1, PerceptionConfig(segmenter_width=4, keypoints=4))
    objective = KeypointObjective(perception, 3)
    batches = EncoderBatches(frames, torch.device("cpu"))
    for _ in range(300):
        (pair,) = batches.pairs()
        objective([tuple(side[0] for side in pair)], torch.zeros(()))
    seen = torch.stack([perception(torch.from_numpy(f.images[0][:1]))[0][0] for f in frames]).detach()
    found = objective.agreement.mean
    for s in range(3):
        others = [(found[s] - seen[o]).norm() for o in range(3) if o != s]
        assert (found[s] - seen[s]).norm() < 0.5 * min(others)


def test_encoders_and_runs_from_before_there_was_agreement_are_refused(tmp_path: Path):
    experiment = Experiment("lift", "mip", "images", budget="smoke", target_episodes=1, auxiliary_episodes=1)
    now = methods._config(experiment)
    before = {name: value for name, value in now.items() if name != "agreement"}
    Run.create(tmp_path / "run", before, {}).close()
    with pytest.raises(ConfigurationError, match="agreement"):
        methods.is_finished(tmp_path / "run", experiment)
    assert "agreement" not in methods._config(replace(experiment, encoder="slots"))


@pytest.mark.parametrize("pair", [False, True])
def test_colours_change_alike_within_an_image_or_pair(pair):
    torch.manual_seed(0)
    image = torch.zeros(3, *([2] if pair else []), 3, 4, 4)
    changed = photometric(image).flatten(1)
    assert (changed == changed[:, :1]).all()
    assert len(changed[:, 0].unique()) == 3
