"""The networks and losses: their equations, what their gradients reach, and what perception sees."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glam_core.errors import ConfigurationError
from glam_sim.cell import Cell
from glam_training.models.affine import AffineDecoder
from glam_training.models.blocks import STATE_FLOOR
from glam_training.models.canonical import make_canonical
from glam_training.models.glam import UNREGULARISED, Gaussian, Glam, GlamConfig, Transitions, glam_loss, kl, kl_to_prior
from glam_training.models.keypoints import KeypointPerception
from glam_training.models.latent import LatentSizes, forward_loss
from glam_training.models.mip import T_STAR, Mip, MipConfig, mip_loss
from glam_training.models.perception import (
    ImagePerception,
    PerceptionConfig,
    ScenePerception,
    glimpses,
    make_features,
    mask_moments,
)
from glam_training.models.rivals.clam import Clam
from glam_training.segmenter import DICE_WEIGHT, SegmenterObjective, class_maps, dice_loss
from glam_training.slots import Slots
from glam_training.stage1 import infer_posterior

MOMENTS, STATE, ACTION, BATCH = 12, 10, 5, 32


def make_glam(config: GlamConfig, moves_joints: bool = False) -> Glam:
    torch.manual_seed(0)
    return Glam(MOMENTS, 1e-3, STATE, ACTION, config, moves_joints)


def make_transitions(labelled: bool, seed: int = 0) -> Transitions:
    g = torch.Generator().manual_seed(seed)
    moments = torch.randn(BATCH, MOMENTS, generator=g)
    change = torch.randn(BATCH, MOMENTS, generator=g)
    state = torch.randn(BATCH, STATE, generator=g) if labelled else None
    action = change[:, :ACTION].clone() if labelled else None
    return Transitions(moments, moments + change, state, action)


def grad_norm(module: nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


def test_kl_against_torch():
    q = Gaussian(torch.randn(64, 3), torch.randn(64, 3))
    p = Gaussian(torch.randn(64, 3), torch.randn(64, 3))

    def normal(g: Gaussian) -> torch.distributions.Normal:
        return torch.distributions.Normal(g.mean, (0.5 * g.log_var).exp())

    expected = torch.distributions.kl_divergence(normal(q), normal(p)).sum(-1).mean()
    torch.testing.assert_close(kl(q, p), expected)
    prior = Gaussian(torch.zeros(64, 3), torch.zeros(64, 3))
    torch.testing.assert_close(kl_to_prior(q), kl(q, prior))


@pytest.mark.parametrize(
    ("balance", "idm_moves", "encoder_moves"), [(1.0, True, False), (0.0, False, True), (0.8, True, True)]
)
def test_alignment_moves_only_the_side_it_should(balance, idm_moves, encoder_moves):
    config = GlamConfig(alignment_balance=balance)
    model = make_glam(config)
    batch = make_transitions(labelled=True)
    norms = []
    for alignment in (0.0, 1.0):
        model.zero_grad()
        torch.manual_seed(1)
        loss, _ = glam_loss(model, batch, None, config, alignment)
        loss.backward()
        norms.append(
            [torch.cat([p.grad.flatten().clone() for p in m.parameters()]) for m in (model.idm, model.action_encoder)]
        )
    assert (not torch.equal(norms[0][0], norms[1][0])) == idm_moves
    assert (not torch.equal(norms[0][1], norms[1][1])) == encoder_moves


def test_auxiliary_transitions_train_idm_and_forward_model_but_no_action_network():
    config = GlamConfig(action_weight=0.0, cross_weight=0.0)
    model = make_glam(config)
    loss, terms = glam_loss(model, make_transitions(True), make_transitions(False, seed=1), config, 0.0)
    loss.backward()
    assert grad_norm(model.idm) > 0 and grad_norm(model.forward_model) > 0
    assert grad_norm(model.decoder) == 0
    assert all(value.ndim == 0 and torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize(
    "model",
    [Glam(6, 0.1, 3, 2, GlamConfig()), Clam(LatentSizes(moments=6, moment_floor=0.1, state=3, action=2, latent=4))],
)
def test_a_tool_that_tilts_a_little_is_nothing_unheard_of(model):
    """Demonstrations hold the tool upright to a milliradian; an arm that is late does not."""
    demonstrated = torch.randn(500, 3) * torch.tensor([0.1, 0.05, 0.001])
    model.eval().state.fit(demonstrated)
    tilted = torch.tensor([0.0, 0.0, 0.005])
    assert model.state(tilted).abs().max() < 0.5
    assert model.state.std[2] == STATE_FLOOR


def test_stage_one_learns_what_the_action_does():
    config = GlamConfig(width=64, depth=1)
    model = make_glam(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    target, auxiliary = make_transitions(True), make_transitions(False, seed=1)
    history = []
    for _ in range(150):
        loss, terms = glam_loss(model, target, auxiliary, config, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(terms)
    assert history[-1]["action_cross"] < 0.3 * history[0]["action_cross"]
    assert history[-1]["forward_idm"] < 0.5 * history[0]["forward_idm"]


def test_noise_and_dropout_are_for_training_only():
    model = make_glam(GlamConfig())
    o, o_next, s, u = make_transitions(True)
    seen = {}
    for training in (True, False):
        model.train(training)
        torch.manual_seed(0)
        seen[training] = [
            (model.infer_mean(o, o_next), model.decode(s, torch.zeros(BATCH, 16)), model.encode_action(s, u).mean)
            for _ in range(2)
        ]
    assert not any(torch.equal(a, b) for a, b in zip(*seen[True], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*seen[False], strict=True))
    quiet = make_glam(UNREGULARISED).train()
    assert torch.equal(quiet.infer_mean(o, o_next), quiet.infer_mean(o, o_next))


@pytest.mark.parametrize(
    ("name", "value"),
    [("dropout", 1.0), ("dropout", -0.1), ("target_weight", 1.5), ("observation_noise", -1.0), ("state_noise", -1.0)],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=name):
        GlamConfig(**{name: value})


def test_forward_loss_weighs_the_sources():
    predicted, wanted = torch.zeros(4, 2), torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0], [2.0, 2.0]])
    assert float(forward_loss(predicted, wanted, 2, 0.25)) == pytest.approx(0.25 * 1.0 + 0.75 * 4.0)
    assert float(forward_loss(predicted, wanted, 4, 0.25)) == pytest.approx(2.5)


def test_few_demonstrations_are_not_learnt_by_heart():
    """Half of what changes in a scene has nothing to do with the action. An action encoder that knows each state by
    heart puts it into the latents, and the inverse model cannot follow on transitions that it has not seen."""
    gap = {}
    for regularised in (True, False):
        config = dataclasses.replace(GlamConfig() if regularised else UNREGULARISED, width=64)
        model = make_glam(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        few, auxiliary, unseen = (make_transitions(i != 1, seed=i) for i in range(3))
        for _ in range(400):
            loss, _ = glam_loss(model, few, auxiliary, config, 0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            z = model.infer_mean(unseen.moments, unseen.next_moments)
            gap[regularised] = float((model.encode_action(unseen.state, unseen.action).mean - z).norm() / z.norm())
    assert gap[True] < 0.9 * gap[False]


class Recorded(nn.Module):
    """Stands in for the network inside MIP: affine in its input, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x)
        return 0.5 * x[:, 2:4] + x[:, 4:5]


def test_mip_loss_and_sampler_agree_with_the_equations():
    mip = Mip(2, 1, MipConfig(chunk_length=2, width=8, depth=1))
    mip.net = Recorded()
    o = torch.tensor([[3.0, 4.0]])
    a = torch.tensor([[[1.0], [2.0]]])
    e = torch.tensor([[[0.5], [-1.0]]])
    # pi(o, x, t) = x / 2 + t. First term: (0 + 0 - a)^2 / 0.81, mean of (1, 4). Second: x = a + 0.1 e = (1.05, 1.9),
    # pi = (1.425, 1.85), error (0.425, -0.15), squares (0.180625, 0.0225) / 0.01.
    expected = (1.0 + 4.0) / 2 / 0.81 + (0.180625 + 0.0225) / 2 / 0.01
    loss = mip_loss(mip, o, a, torch.ones(1, 2), e)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    # Only the first step counts when the second is padding.
    masked = mip_loss(mip, o, a, torch.tensor([[1.0, 0.0]]), e)
    assert float(masked) == pytest.approx(1.0 / 0.81 + 18.0625, rel=1e-5)
    # Acting: a0 = 0 / 2 + 0 = 0, a = 0 / 2 + 0.9.
    torch.testing.assert_close(mip(o), torch.full((1, 2, 1), T_STAR))


def test_masks_become_a_map_per_class():
    mask = torch.tensor([[[0, 1], [2, 1]]], dtype=torch.uint8)
    maps = class_maps(mask, 3)
    torch.testing.assert_close(maps, torch.tensor([[[[1.0, 0], [0, 0]], [[0, 1], [0, 1]], [[0, 0], [1, 0]]]]))


def test_the_segmenters_loss_is_cross_entropy_and_overlap():
    torch.manual_seed(0)
    perception = ImagePerception(cameras=1, slots=2, config=PerceptionConfig(segmenter_width=4))
    segmenter, image = perception.segmenters[0], torch.rand(2, 3, 16, 16) - 0.5
    rough = F.interpolate(segmenter.rough(image), scale_factor=2.0, mode="bilinear", align_corners=False)
    logits = rough + segmenter.refine(torch.cat([segmenter.edges(image).relu(), rough], dim=1))
    torch.testing.assert_close(segmenter(image), logits)
    mask = torch.randint(0, 3, (2, 16, 16), dtype=torch.uint8)
    maps = class_maps(mask, 3)
    expected = F.cross_entropy(logits, maps) + DICE_WEIGHT * dice_loss(logits.softmax(1)[:, 1:], maps[:, 1:])
    loss, _ = SegmenterObjective(perception)([(image, mask)], 0.0)
    torch.testing.assert_close(loss, expected)


def test_the_overlap_of_masks_counts_every_class_alike():
    q = torch.zeros(1, 2, 10, 10)
    q[0, 0, :5] = 1.0  # fifty cells
    q[0, 1, 0, 0] = 0.5  # one, at an edge
    assert float(dice_loss(q, q)) == pytest.approx(0.0, abs=1e-6)
    # Sums of squares: 50 and 0.25. Of the first class nothing is found: 1 - 1 / 51; of the second: 1 - 1 / 1.25.
    small, large = q.clone(), q.clone()
    large[0, 0], small[0, 1] = 0.0, 0.0
    assert float(dice_loss(large, q)) == pytest.approx((50 / 51) / 2, rel=1e-5)
    assert float(dice_loss(small, q)) == pytest.approx(0.2 / 2, rel=1e-5)
    several = q.repeat(40, 1, 1, 1)  # in a batch: 1 - 1 / 11
    assert float(dice_loss(small.repeat(40, 1, 1, 1), several)) == pytest.approx((10 / 11) / 2, rel=1e-5)
    nowhere = torch.zeros_like(q)
    assert float(dice_loss(nowhere, nowhere)) == 0.0


def test_moments_find_a_blob_and_glimpses_follow_it():
    height, width = 24, 24
    logits = torch.zeros(1, 3, height, width)
    logits[:, 0] = 20.0
    logits[0, 1, 4:8, 16:20] = 40.0  # class 1 around row 5.5, column 17.5
    moments = mask_moments(logits).reshape(2, 8)
    mass = 16.0
    shrink = mass / (mass + 8.0)  # the floor of the mass pulls a small blob towards the centre
    assert float(moments[0, 0]) == pytest.approx(shrink * (17.5 / 23 * 2 - 1), abs=1e-3)
    assert float(moments[0, 1]) == pytest.approx(shrink * (5.5 / 23 * 2 - 1), abs=1e-3)
    assert float(moments[0, 2]) == pytest.approx(np.log(mass + 1), abs=1e-3)
    assert float(moments[1].abs().max()) < 0.05  # a class that is nowhere stays at the centre, with no mass

    image = torch.zeros(1, 3, 49, 49)
    image[:, :, 10, 30] = 1.0
    centre = torch.tensor([[[30 / 24 - 1, 10 / 24 - 1], [0.0, 0.0]]])
    patches = glimpses(image, centre, 5, 5)
    assert patches.shape == (1, 2, 3, 5, 5)
    assert float(patches[0, 0, 0, 2, 2]) == pytest.approx(1.0)
    assert float(patches[0, 0].sum()) == pytest.approx(3.0)
    assert float(patches[0, 1].abs().sum()) == 0.0


def test_the_fourth_moment_turns_with_a_square():
    height = width = 64
    v, u = torch.meshgrid(torch.arange(height) - 31.5, torch.arange(width) - 31.5, indexing="ij")
    angles = torch.deg2rad(torch.tensor([0.0, 15.0, 45.0, 90.0]))
    logits = torch.zeros(len(angles), 2, height, width)
    for i, angle in enumerate(angles):
        x, y = u * torch.cos(angle) + v * torch.sin(angle), v * torch.cos(angle) - u * torch.sin(angle)
        logits[i, 1] = torch.where((x.abs() < 16) & (y.abs() < 16), 40.0, -40.0)
    moments = mask_moments(logits)[:, 0]
    found = torch.atan2(moments[:, 7], moments[:, 6])
    # A square at rest has its mass in the corners' direction: E[w^4] is negative.
    torch.testing.assert_close(torch.cos(found), -torch.cos(4 * angles), atol=0.1, rtol=0.0)
    torch.testing.assert_close(torch.sin(found), -torch.sin(4 * angles), atol=0.15, rtol=0.0)
    assert float((moments[:, 3:6] - moments[0, 3:6]).abs().max()) < 0.05  # lower orders are blind to it


def test_perception_shapes_and_feature_size():
    perception = ImagePerception(cameras=2, slots=3, config=PerceptionConfig(segmenter_width=4))
    images = [torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8) for _ in range(2)]
    moments, patches = perception(*images)
    assert moments.shape == (5, perception.moment_size) == (5, 48)
    assert patches.shape == (5, perception.glimpse_count, 3, 16, 16) == (5, 0, 3, 16, 16)
    features = make_features(perception, relations=False)
    assert features(moments, patches).shape == (5, features.size)


def test_relations_of_a_scene_are_differences_of_all_pairs_near_and_far_and_the_angles_between_them():
    tool = ["tool.x", "tool.y", "tool.z", "tool.cos_yaw", "tool.sin_yaw", "tool.gripper"]
    cubes = [f"{name}.{part}" for name in "ab" for part in ("x", "y", "z", "cos_4yaw", "sin_4yaw")]
    perception = ScenePerception([*tool, *cubes, "peg.x", "peg.y", "peg.z", "look.red"], PerceptionConfig())
    yaw, angles = 1.1, (0.3, -0.2)  # rad
    places = [(0.30, 0.10, 0.20), (0.29, 0.10, 0.25), (0.80, 0.10, 0.20), (0.30, 0.12, 0.20)]
    row = [*places[0], np.cos(yaw), np.sin(yaw), 1.0]
    for place, angle in zip(places[1:3], angles, strict=True):
        row += [*place, np.cos(4 * angle), np.sin(4 * angle)]
    moments = torch.tensor([[*row, *places[3], 0.5]], dtype=torch.float32)
    features = make_features(perception, relations=True)
    seen = features(*perception(moments))
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    way = torch.tensor(np.array([np.subtract(places[i], places[j]) for i, j in pairs]), dtype=torch.float32).flatten()
    between = 4 * torch.tensor([yaw - angles[0], yaw - angles[1], angles[0] - angles[1]])
    expected = torch.cat([torch.tanh(way / 0.01), torch.tanh(way / 0.05), torch.cos(between), torch.sin(between)])
    assert seen.shape == (1, features.size)
    torch.testing.assert_close(seen[0, perception.moment_size :], expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(("task", "pairs", "axes", "turned"), [("place", 3, 7, 1), ("knock_down", 3, 9, 0)])
def test_every_scene_has_relations(task: str, pairs: int, axes: int, turned: int):
    with Cell(task, "gen3") as cell:
        cell.reset(0)
        components, scene = cell.scene_spec().components, torch.from_numpy(cell.scene_vector())[None]
    perception = ScenePerception(components, PerceptionConfig())
    assert len(list(itertools.combinations(perception.views[0], 2))) == pairs
    features = make_features(perception, relations=True)
    assert features(*perception(scene)).shape == (1, features.size) == (1, len(components) + 2 * axes + 2 * turned)


@pytest.mark.parametrize(("kind", "turns"), [("slots", True), ("keypoints", False)])
def test_relations_of_images_stay_within_a_camera(kind: str, turns: bool):
    config = PerceptionConfig(segmenter_width=4, glimpse_px=12, glimpse_samples=8, keypoints=3)
    perception = ImagePerception(2, 3, config) if kind == "slots" else KeypointPerception(2, config)
    stride = perception.moment_size // 6
    first, second = (
        [camera * 3 * stride + thing * stride + axis for camera in (0, 1) for thing in things for axis in (0, 1)]
        for things in ((0, 0, 1), (1, 2, 2))
    )
    images = [torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8) for _ in range(2)]
    moments, patches = perception(*images)
    features, plain = (make_features(perception, relations) for relations in (True, False))
    assert features.size == plain.size + 2 * len(first) + turns * 2 * 6
    near = features(moments, patches)[:, perception.moment_size :][:, : len(first)]
    torch.testing.assert_close(near, torch.tanh((moments[:, first] - moments[:, second]) / perception.scales[0]))


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GlamConfig().beta = 1.0  # type: ignore[misc]


def test_posteriors_in_parts_are_those_of_the_whole():
    torch.manual_seed(0)
    model = Glam(6, 0.02, 10, 5, GlamConfig(latent_size=8)).eval()
    slots = Slots(torch.randn(9, 6), torch.zeros(9, 0, 3, 1, 1), np.array([9]), None, None)
    pairs = torch.stack([torch.arange(8), torch.arange(1, 9)], 1)
    mean, std = infer_posterior(model, slots, pairs, batch=3)
    with torch.no_grad():
        whole = model.infer(slots.moments[:-1], slots.moments[1:])
    torch.testing.assert_close(mean, whole.mean)
    torch.testing.assert_close(std.square().log(), whole.log_var)


def test_both_terms_of_mip_in_one_pass_are_the_two_passes():
    torch.manual_seed(0)
    mip = Mip(6, 3, MipConfig(chunk_length=4, width=16)).eval()
    o, a, noise, mask = torch.randn(5, 6), torch.randn(5, 4, 3), torch.randn(5, 4, 3), torch.ones(5, 4)
    mask[1, 2:] = 0.0
    first = (mip.predict(o, torch.zeros_like(a), 0.0) - a).square() / T_STAR**2
    second = (mip.predict(o, a + (1 - T_STAR) * noise, T_STAR) - a).square() / (1 - T_STAR) ** 2
    wanted = ((first + second).mean(-1) * mask).sum() / mask.sum()
    torch.testing.assert_close(mip_loss(mip, o, a, mask, noise), wanted)


@pytest.mark.parametrize("follows_state", [True, False])
def test_an_affine_decoder_gives_the_mean_of_two_latents_the_mean_of_their_actions(follows_state):
    torch.manual_seed(0)
    decoder = AffineDecoder(3, 4, 2, width=16, depth=1, dropout=0.0, follows_state=follows_state)
    if follows_state:
        torch.nn.init.normal_(decoder.gain.read_out[-1].weight)
    s, z = torch.randn(1, 3).expand(2, 3), torch.randn(2, 4)
    both = decoder(torch.cat([s, z], -1))
    torch.testing.assert_close(decoder(torch.cat([s, z.mean(0).expand(2, 4)], -1))[0], both.mean(0))
    elsewhere = decoder(torch.cat([s + 1.0, z], -1))
    assert torch.allclose(elsewhere, both) != follows_state
    still = decoder(torch.cat([torch.randn(5, 3), torch.zeros(5, 4)], -1))
    assert torch.allclose(still, still[:1])  # but nothing depends on the state alone


def test_an_affine_decoder_learns_joint_motions_whose_gain_depends_on_the_state():
    torch.manual_seed(0)
    decoder = AffineDecoder(1, 2, 1, width=32, depth=1, dropout=0.0, follows_state=True)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(400):
        s, z = 2.0 * torch.rand(256, 1) - 1.0, torch.randn(256, 2)
        wanted = torch.cos(s) * z[:, :1] + torch.sin(s) * z[:, 1:] + 0.3
        error = (decoder(torch.cat([s, z], -1)) - wanted).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert float(error) < 0.01


def test_canonical_latents_are_the_shortest_with_the_same_motion_and_the_gripper_open_or_closed():
    glam = make_glam(GlamConfig(affine=True)).eval()
    glam.action.fit(torch.cat([torch.randn(500, ACTION - 1), torch.rand(500, 1).round()], -1))
    glam.latent.fit(3.0 * torch.randn(500, 16) + 1.0)
    latents, canonical = 0.3 * torch.randn(200, 16), make_canonical(glam)

    def decode(y: Tensor) -> Tensor:
        u = glam.decode(torch.randn(len(y), STATE), glam.latent.inverse(y))
        return u * glam.action.std + glam.action.mean

    wanted, shortest = decode(latents), canonical.inverse(canonical(latents))
    torch.testing.assert_close(decode(shortest)[:, :-1], wanted[:, :-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decode(shortest)[:, -1], (wanted[:, -1] > 0.5).float(), atol=1e-4, rtol=0.0)
    assert 0.0 < decode(shortest)[:, -1].mean() < 1.0
    unread = torch.linalg.svd(glam.decoder.constant.weight.detach() * glam.latent.std).Vh[ACTION:]
    torch.testing.assert_close(decode(latents + torch.randn(200, 11) @ unread), wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(shortest @ unread.T, torch.zeros(200, 11), atol=1e-4, rtol=0.0)


def test_an_action_longer_than_a_latent_keeps_the_latent():
    glam = make_glam(GlamConfig(affine=True, latent_size=3)).eval()
    canonical, latents = make_canonical(glam), torch.randn(50, 3)
    torch.testing.assert_close(canonical.inverse(canonical(latents)), latents, atol=1e-4, rtol=1e-4)


def test_a_direction_that_the_decoder_hardly_reads_is_not_blown_up():
    glam = make_glam(GlamConfig(affine=True)).eval()
    with torch.no_grad():
        glam.decoder.constant.weight[-1] *= 1e-3  # a gripper that never changes
    actions = torch.randn(50, ACTION)
    latents = make_canonical(glam).inverse(actions)
    assert latents.abs().max() < 20.0
    read = glam.decode(torch.randn(50, STATE), glam.latent.inverse(latents))
    torch.testing.assert_close(read[:, :-1], actions[:, :-1], atol=0.02, rtol=0.0)


def test_a_decoder_that_reads_a_latent_differently_from_state_to_state_has_no_canonical_ones():
    assert make_canonical(make_glam(GlamConfig()).eval()) is None
    assert make_canonical(make_glam(GlamConfig(affine=True), moves_joints=True).eval()) is None
