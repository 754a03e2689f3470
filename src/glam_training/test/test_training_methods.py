"""Every method of the bench on a made-up world: it trains, alone and in a group, resumes, acts, and refuses what it
cannot use."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from synthetic import SIZE, make_store
from torch import nn

from glam_core.errors import ConfigurationError, DataError
from glam_core.observation import Observation
from glam_core.runtime import load_model
from glam_training import group_fit, group_training, methods, targets
from glam_training.data.sampler import target_share
from glam_training.data.store import Store
from glam_training.encoders import encoder_folder
from glam_training.experiment import (
    GLAM_METHODS,
    LATENT_METHODS,
    METHODS,
    SLOTS_VERSION,
    Experiment,
    Job,
    Stores,
    Switches,
)
from glam_training.export import ExportConfig, export
from glam_training.fit import DeviceConfig, OptimConfig
from glam_training.group_fit import fit_group, take_courses
from glam_training.group_step import Step
from glam_training.group_training import Fit, Group, Training
from glam_training.latent_space import look, open_latent_space
from glam_training.methods import MODEL_FILE, is_finished, load, policy, train, train_many
from glam_training.models import canonical
from glam_training.models.glam import GlamConfig
from glam_training.perceive import perceive
from glam_training.pool import make_pool
from glam_training.run import Run
from glam_training.slots import Source, compute_slots, steady_moments
from glam_training.stage1 import GlamTrainConfig, load_glam, train_glam
from glam_training.tempo import brisk_action

TINY = {"task": "lift", "target_episodes": 4, "auxiliary_episodes": 5, "budget": "smoke"}
CPU = torch.device("cpu")
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def needs_gpu(test):
    """Mark a test that only a GPU can run."""
    for mark in GPU:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Stores:
    folder = tmp_path_factory.mktemp("stores")
    make_store(folder / "target", 10)
    make_store(folder / "auxiliary", 6, has_actions=False, speed=0.2, seed=100)
    return Stores(folder / "target", (folder / "auxiliary",))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda"), marks=GPU)], ids=["cpu", "gpu"])
def test_every_method_trains_in_a_group_and_acts(stores, tmp_path, method, device):
    jobs = [Job(Experiment(method=method, seed=seed, **TINY), stores, tmp_path / str(seed)) for seed in (0, 1)]
    outs = train_many(jobs, device, group_size=2)
    scene = np.zeros((1, 4), np.float32)
    chunks = []
    for out in outs:
        assert is_finished(out)
        acting = policy(out)
        chunk = acting.predict(Observation(0.0, {}, {"scene": scene}))
        assert chunk.shape == (acting.chunk_length, 16 if method in LATENT_METHODS else 5)
        action = acting.decode(chunk[0], np.zeros(10, np.float32))
        assert action.shape == (5,) and np.isfinite(action).all()
        chunks.append(chunk)
    assert not np.allclose(chunks[0], chunks[1])  # seeds differ
    assert load(outs[0]).record["config"]["experiment"]["method"] == method


class Line(nn.Module):
    """y = w x + b + offset, with a buffer that differs from run to run."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self, batch, progress):
        x, y = batch
        loss = (self.linear(x) + self.offset - y).square().mean()
        return loss, {"loss": loss}


def test_a_group_learns_what_its_runs_learn_alone(tmp_path):
    x, y = torch.randn(2, 16, 3), torch.randn(2, 16, 2)
    optim = OptimConfig(steps=30, learning_rate=1e-2, warmup_steps=5, gradient_clip=0.5)
    weights = {}
    for parts in (((0,), (1,)), ((0, 1),)):
        found = []
        for part in parts:
            torch.manual_seed(0)
            lines = [Line(float(i)) for i in (0, 1)]
            runs = [Run.create(tmp_path / f"{len(parts)}-{i}", {"seed": i}, {}) for i in part]
            members = [lines[i] for i in part]
            fit_group(members, lambda p=part: (x[list(p)], y[list(p)]), optim, Group(runs, part, CPU), "line")
            found += [member.linear.weight.detach() for member in members]
        weights[len(parts)] = torch.stack(found)
    torch.testing.assert_close(weights[1], weights[2])
    torch.manual_seed(0)
    assert not torch.allclose(weights[1][0], Line(0.0).linear.weight)


@pytest.mark.parametrize("affine", [False, True])
def test_the_decoder_of_a_group_is_affine_in_the_latent_where_a_switch_says_so(stores, tmp_path, affine):
    switched = [Experiment(method="glam_o", seed=s, switches=Switches(affine=affine), **TINY) for s in (0, 1)]
    outs = train_many([Job(e, stores, tmp_path / str(e.seed)) for e in switched], CPU, group_size=2)
    for out in outs:
        decode, state = policy(out).decode, np.zeros(10, np.float32)
        one, other = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
        mean = 0.5 * (decode(one, state) + decode(other, state))
        motion = slice(0, 4)  # the gripper is rounded
        assert np.allclose(decode(0.5 * (one + other), state)[motion], mean[motion], atol=1e-6) == affine


@pytest.mark.parametrize("affine", [False, True])
def test_policies_learn_what_an_affine_decoder_reads_of_latents(stores, tmp_path, monkeypatch, affine):
    found = []

    def make(*args):
        made = yield from targets.make_targets(*args)
        found.append((made, args[2]))
        return made

    monkeypatch.setattr(methods, "make_targets", make)
    monkeypatch.setattr(canonical, "LEAST_GAIN", 0.0)  # after so few steps it may read little of anything
    out = train(Experiment(method="glam_o", switches=Switches(affine=affine), **TINY), stores, tmp_path / "run")
    (made, pool), trained = found[0], load(out)
    for rows in made.policy_rows[0]:
        latents = trained.model.latent(trained.model.infer_mean(pool.moments[rows], pool.moments[rows + 1]))
        actions = trained.decoder(latents, torch.randn(len(rows), 10))
        labels = made.labels[0, rows]
        torch.testing.assert_close(
            trained.model.action.inverse(labels) if affine else labels,
            actions if affine else latents,
            atol=1e-4,
            rtol=1e-4,
        )
    assert Run.open(out).config.get("canonical", False) is affine
    # On the robot the decoder reads what the head says.
    scene, state = torch.randn(3, 4), torch.randn(3, 10)
    head = trained.policy.mip(trained.policy.features(*trained.policy.perception(scene)))[:, 0]
    action = trained.decoder(trained.policy(scene[:, None])[:, 0], state)
    assert torch.allclose(action, trained.model.action.inverse(head[:, :5]), atol=1e-3) == affine


def test_joint_motions_are_decoded_by_where_the_robot_is(tmp_path):
    for name, count, actions in (("target", 6, True), ("auxiliary", 6, False)):
        make_store(tmp_path / name, count, has_actions=actions, joints=actions, seed=100 * (not actions))
    stores = Stores(tmp_path / "target", (tmp_path / "auxiliary",))
    experiment = Experiment(method="glam_o", action_space="joint", switches=Switches(affine=True), **TINY)
    trained = load(train(experiment, stores, tmp_path / "run"))
    assert trained.policy(torch.randn(3, 1, 4)).shape == (3, 8, 16), "latents as they are"
    few = OptimConfig(steps=20, batch_size=8, warmup_steps=1, ema_decay=0.9)
    config = GlamTrainConfig(
        tmp_path / "target", tmp_path / "glam", (tmp_path / "auxiliary",), observations="scene", optim=few, refit=few,
        model=GlamConfig(width=16, affine=True), device=DeviceConfig(accelerator="cpu"),
    )  # fmt: skip
    for glam in (trained.model, load_glam(train_glam(config)).glam):
        latents, states = torch.randn(5, 16), torch.randn(2, 1, 24).expand(2, 5, 24)
        one, other = (glam.decode(s, latents) for s in states)
        assert one.shape == (5, 8) and not torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("able", [False, True])
def test_bfloat16_is_for_products_only_and_only_where_the_cpu_multiplies_it(tmp_path, monkeypatch, able):
    monkeypatch.setattr(group_training, "multiplies_bfloat16", lambda device_type: able)
    seen = set()

    class Watched(Line):
        def forward(self, batch, progress):
            seen.add(self.linear(batch[0]).dtype)
            return super().forward(batch, progress)

    data, line = (torch.randn(1, 16, 3), torch.randn(1, 16, 2)), Watched(0.0)
    before = line.linear.weight.detach().clone()
    with Run.create(tmp_path / "run", {"seed": 0}, {}) as run:
        group = Group([run], (0,), CPU)
        fit_group([line], lambda: data, OptimConfig(steps=3), group, "line", bfloat16=True)
        assert run.latest("line")["theta"].dtype == torch.float32
    assert seen == {torch.bfloat16 if able else torch.float32}
    assert line.linear.weight.dtype == torch.float32 and not torch.equal(line.linear.weight, before)


def test_policies_learn_in_bfloat16_and_stage_1_in_32_bits(tmp_path, monkeypatch):
    rounded, step = {}, Training.step

    def watched(training: Training) -> None:
        rounded[training.fit.phase] = training.fit.bfloat16
        step(training)

    monkeypatch.setattr(Training, "step", watched)
    make_store(tmp_path / "target", 6, seed=0)
    make_store(tmp_path / "auxiliary", 6, has_actions=False, seed=100)
    stores = Stores(tmp_path / "target", (tmp_path / "auxiliary",))
    train(Experiment(method="glam_o", **TINY), stores, tmp_path / "run")
    assert rounded == {"stage_1": False, "decoder": False, "policy": True}


class Noisy(Line):
    """The same with noise on its input, drawn anew at every step."""

    def forward(self, batch, progress):
        x, y = batch
        return super().forward((x + 0.1 * torch.randn_like(x), y), progress)


@needs_gpu
def test_a_captured_step_is_the_step(tmp_path):
    x, y = torch.randn(2, 16, 3), torch.randn(2, 16, 2)
    optim = OptimConfig(steps=250, learning_rate=1e-2, warmup_steps=5)
    weights = []
    for device in (CPU, torch.device("cuda")):
        torch.manual_seed(0)
        lines = [Line(float(i)) for i in (0, 1)]
        runs = [Run.create(tmp_path / f"{device.type}-{i}", {"seed": i}, {}) for i in (0, 1)]
        data = x.to(device), y.to(device)
        fit_group(lines, lambda data=data: data, optim, Group(runs, (0, 1), device), "line")
        weights.append(torch.stack([line.linear.weight.detach() for line in lines]))
    torch.testing.assert_close(*weights, atol=1e-3, rtol=1e-3)


@needs_gpu
def test_a_captured_step_draws_anew_and_repeats_itself(tmp_path):
    device = torch.device("cuda")
    data = torch.randn(2, 16, 3, device=device), torch.randn(2, 16, 2, device=device)
    optim = OptimConfig(steps=200, learning_rate=1e-2, warmup_steps=5)
    weights = []
    for attempt in range(2):
        torch.manual_seed(0)
        lines = [Noisy(float(i)) for i in (0, 1)]
        runs = [Run.create(tmp_path / f"{attempt}-{i}", {"seed": i}, {}) for i in (0, 1)]
        training = Training(Fit(lines, lambda: data, optim, Group(runs, (0, 1), device), "line"))
        step = Step([training])
        assert step._graph is not None
        losses = []
        for first in range(3):
            step.block(first, 1)
            losses.append(training._terms["loss"].cpu())
        assert not torch.equal(losses[1], losses[2])
        weights.append(training._theta.detach().clone())
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda"), marks=GPU)], ids=["cpu", "gpu"])
def test_groups_of_different_shapes_learn_together_what_they_learn_alone(tmp_path, device):
    x, y = torch.randn(2, 16, 3), torch.randn(2, 16, 2)
    optim = OptimConfig(steps=110, learning_rate=1e-2, warmup_steps=5)

    def course(name: str, size: int, phases: tuple[str, ...], found: dict[str, torch.Tensor], device: torch.device):
        torch.manual_seed(0)
        lines = [Line(float(i)) for i in range(size)]
        runs = [Run.create(tmp_path / f"{name}-{i}", {"seed": i}, {}) for i in range(size)]
        data = x[:size].to(device), y[:size].to(device)
        for phase in phases:
            yield Fit(lines, lambda: data, optim, Group(runs, tuple(range(size)), device), phase)
        found[name[1:]] = torch.stack([line.linear.weight.detach().cpu() for line in lines])

    kinds = {
        "pair": (2, ("stage_1", "decoder", "policy")),
        "one": (1, ("policy",)),
        "labeller": (1, ("stage_1", "policy")),
    }
    alone, together = {}, {}
    for name, (size, phases) in kinds.items():
        take_courses([course(f"a{name}", size, phases, alone, CPU)])
    take_courses([course(f"b{name}", size, phases, together, device) for name, (size, phases) in kinds.items()])
    assert together.keys() == kinds.keys()
    exact = {} if device == CPU else {"atol": 1e-3, "rtol": 1e-3}
    for name in kinds:
        torch.testing.assert_close(together[name], alone[name], **exact)
    assert not torch.allclose(alone["one"], alone["labeller"])  # two phases are more than one


def test_a_course_that_fails_holds_up_no_other(tmp_path):
    optim = OptimConfig(steps=3, warmup_steps=1)
    data = torch.ones(1, 4, 3), torch.ones(1, 4, 2)
    ends = []

    def course(name: str, bad: bool):
        with Run.create(tmp_path / name, {"seed": 0}, {}) as run:
            yield Fit([Line(0.0)], lambda: data, optim, Group([run], [0], CPU), "stage_1")
            if bad:
                raise DataError(f"{name} is bad")
            ends.append(name)

    with pytest.raises(DataError, match="b is bad"):
        take_courses([course("a", False), course("b", True), course("c", False)])
    assert ends == ["a", "c"]


def test_runs_that_stopped_at_different_steps_go_on_apart(stores, tmp_path, monkeypatch):
    jobs = [Job(Experiment(method="mip", seed=seed, **TINY), stores, tmp_path / str(seed)) for seed in (0, 1)]

    class Killed(Exception):
        pass

    def kill(training):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Training, "finish", kill)
        with pytest.raises(Killed):
            train_many(jobs[:1], CPU)
    assert (jobs[0].out / "policy.pt").exists()
    outs = train_many(jobs, CPU, group_size=2)
    assert all(is_finished(out) for out in outs)


@pytest.mark.parametrize("auxiliary", [1, 5])
def test_a_policy_draws_the_target_by_its_share(stores, tmp_path, monkeypatch, auxiliary):
    fits = []
    monkeypatch.setattr(group_fit, "fit_together", fits.extend)
    fields = {**TINY, "target_episodes": 1, "auxiliary_episodes": auxiliary}
    experiment = Experiment(method="pose_cotraining", **fields)
    train(experiment, stores, tmp_path / "run")
    pool = make_pool(perceive(experiment, stores, CPU).sources, CPU)
    target, others = pool.all_rows(0, 0), pool.all_rows(1, 1)
    drawn = torch.cat([fits[0].draw()[0][0] for _ in range(100)])
    of_target = (drawn[:, None] == pool.moments[target]).all(-1).any(1)
    assert float(of_target.float().mean()) == pytest.approx(target_share(len(target), len(others)), abs=0.03)


@pytest.mark.parametrize("method", ["glam_o", "pseudo_labels", "clam"])
def test_every_stage_1_can_be_shown_the_target_at_double_tempo(stores, tmp_path, monkeypatch, method):
    fits = []
    monkeypatch.setattr(group_fit, "fit_together", fits.extend)
    experiment = Experiment(method=method, switches=Switches(tempo=True), **TINY)
    train(experiment, stores, tmp_path / "run")
    pool = make_pool(perceive(experiment, stores, CPU).sources, CPU)
    rows = pool.all_rows(0, 2)
    rows = rows[pool.end[rows] - rows > 10]  # where it still moves
    brisk = torch.cat([pool.moments[rows], pool.moments[rows + 2]], 1)
    both = torch.cat([pool.action[rows, :-1] + pool.action[rows + 1, :-1], pool.action[rows + 1, -1:]], 1)
    draws = [fits[0].draw()[0] for _ in range(40)]
    o, o_next, _, action = (torch.cat([part[0] for part in parts]) for parts in zip(*draws, strict=True))
    early = torch.isin(o[:, 0], pool.moments[rows, 0])
    example, row = (torch.cat([o, o_next], 1)[early, None] == brisk).all(-1).nonzero().T
    assert len(example) / int(early.sum()) == pytest.approx(1 / 3, abs=0.05)
    torch.testing.assert_close(action[early][example], both[row])


@pytest.mark.parametrize("method", ["glam", "laom"])
def test_an_interrupted_run_resumes_to_the_same_weights(stores, tmp_path, monkeypatch, method):
    monkeypatch.setattr(group_fit, "BLOCK", 5)
    experiment = Experiment(method=method, **TINY)
    whole = train(experiment, stores, tmp_path / "whole")

    class Killed(Exception):
        pass

    monkeypatch.setattr(group_fit, "CHECKPOINT_S", 0.0)
    save = Run.save

    def save_then_die(run, state, step, phase="checkpoint"):
        save(run, state, step, phase)
        if (phase, step) in {("stage_1", 10), ("policy", 5)}:
            raise Killed

    monkeypatch.setattr(Run, "save", save_then_die)
    for _ in range(2):
        with pytest.raises(Killed):
            train(experiment, stores, tmp_path / "killed")
        assert not is_finished(tmp_path / "killed")
        with pytest.raises(DataError, match="not finished"):
            load(tmp_path / "killed")
    resumed = train(experiment, stores, tmp_path / "killed")
    for name in ("policy", "model"):
        a, b = (torch.load(out / "model.pt", weights_only=True)[name] for out in (whole, resumed))
        assert a.keys() == b.keys()
        assert all(torch.allclose(a[key].float(), b[key].float(), atol=1e-5) for key in a)


def test_switches_change_what_they_should(stores, tmp_path):
    for i, switches in enumerate(
        (
            Switches(align=False, cross_decode=False, refit=False),
            Switches(alignment_balance=0.5, beta=1e-2),
            Switches(latent_size=3, step=2),
            Switches(prediction="objects"),
            Switches(tempo=True),
        )
    ):
        out = train(Experiment(method="glam", switches=switches, **TINY), stores, tmp_path / str(i))
        trained = load(out)
        assert trained.experiment.switches == switches
        assert trained.model.latent.mean.shape == (switches.latent_size,)
        assert (out / "decoder.pt").exists() == switches.refit
    acting = policy(tmp_path / "2")  # latents that span two steps
    assert acting.chunk_length == 16 and acting.execute_length == 2
    chunk = acting.predict(Observation(0.0, {}, {"scene": np.zeros((1, 4), np.float32)}))
    assert chunk.shape == (16, 4)
    actions = [acting.decode(latent, np.zeros(10, np.float32)) for latent in chunk[:2]]
    assert actions[0].shape == (5,) and not np.allclose(actions[0], actions[1])


@pytest.fixture(scope="module")
def image_stores(stores, tmp_path_factory) -> Stores:
    return dataclasses.replace(stores, encoders=tmp_path_factory.mktemp("encoders"))


@pytest.mark.parametrize(
    ("method", "encoder"),
    [("glam", None), ("glam_o", None), ("mip", None), ("mip", "slots"), ("pseudo_labels", None), ("oracle", None)],
)
@pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda"), marks=GPU)], ids=["cpu", "gpu"])
def test_methods_learn_from_images(image_stores, tmp_path, method, encoder, device):
    experiment = Experiment(method=method, suite="images", encoder=encoder, **TINY)
    stores = dataclasses.replace(image_stores, encoders=tmp_path) if device.type == "cuda" else image_stores
    (out,) = train_many([Job(experiment, stores, tmp_path / "run")], device)
    assert (load(out).policy.features.relations is not None) is (experiment.encoder_kind == "slots")
    acting = policy(out)
    assert [image.name for image in acting.obs_spec.images] == ["front"]
    image = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3), dtype=np.uint8)
    chunk = acting.predict(Observation(0.0, {"front": image}))
    assert np.isfinite(acting.decode(chunk[0], np.zeros(10, np.float32))).all()


def test_a_run_on_slots_from_before_relations_is_loaded(image_stores, tmp_path, monkeypatch):
    experiment = Experiment(method="mip", suite="images", encoder="slots", **TINY)
    with monkeypatch.context() as before:
        before.setattr(Experiment, "sizes", dataclasses.replace(experiment.sizes, relations=False))
        out = train(experiment, image_stores, tmp_path / "run")
    record = json.loads((out / "run.json").read_text())
    del record["config"]["steady"]
    (out / "run.json").write_text(json.dumps(record))
    assert load(out).policy.features.relations is None and not load(out).steady


def test_encoders_and_runs_on_slots_from_before_are_refused(image_stores, tmp_path):
    stores = dataclasses.replace(image_stores, encoders=tmp_path / "encoders")
    experiment = Experiment(method="mip", suite="images", encoder="slots", **TINY)
    assert experiment.sizes.slots_version == SLOTS_VERSION
    assert Experiment(method="mip", suite="images", **TINY).sizes.slots_version == 0  # on keypoints there are none
    out = train(experiment, stores, tmp_path / "run")
    (encoder,) = (tmp_path / "encoders").glob("*/run.json")
    for path, change in ((out / "run.json", ("sizes", "slots_version")), (encoder, ("fine_masks",))):
        now = path.read_text()
        record = json.loads(now)
        part = record["config"]
        for name in change[:-1]:
            part = part[name]
        del part[change[-1]]
        path.write_text(json.dumps(record))
        with pytest.raises(ConfigurationError, match=change[-1]):
            train(experiment, stores, out if path.parent == out else tmp_path / "another")
        path.write_text(now)


def test_a_run_that_saw_glimpses_is_not_loaded(image_stores, tmp_path):
    experiment = Experiment(method="mip", suite="images", encoder="slots", **TINY)
    out = train(experiment, dataclasses.replace(image_stores, encoders=tmp_path / "encoders"), tmp_path / "run")
    state = torch.load(out / MODEL_FILE)
    state["policy"]["features.lift"] = torch.zeros(3)
    torch.save(state, out / MODEL_FILE)
    with pytest.raises(DataError, match="another version of this code"):
        load(out)


def test_masks_with_values_that_are_no_class_are_refused(image_stores, tmp_path, monkeypatch):
    stores = dataclasses.replace(image_stores, encoders=tmp_path / "encoders")
    read = Store.load_episodes

    def ignored(self, keys, *arguments):
        found = read(self, keys, *arguments)
        for key in keys:
            if key.startswith("masks/"):
                found[key][0, 0, 0] = 255
        return found

    monkeypatch.setattr(Store, "load_episodes", ignored)
    experiment = Experiment(method="mip", suite="images", encoder="slots", **TINY)
    with pytest.raises(DataError, match="has pixels of 255.*make everything else background"):
        train(experiment, stores, tmp_path / "run")


def test_stage_1_sees_steadied_slots_and_scenes_as_they_are(image_stores, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(targets, "steady_moments", lambda *args: calls.append(args) or steady_moments(*args))
    for suite in ("state", "images"):
        assert not calls
        run = train(Experiment(method="glam_o", suite=suite, **TINY), image_stores, tmp_path / suite)
        view, trained = look(open_latent_space(run), image_stores.target), load(run)
        source = Source(Store.open(image_stores.target))
        slots = compute_slots(source, trained.policy.perception, trained.contract.keys, run / "slots", labelled=False)
        seen = slots.steadied.moments if suite == "images" else slots.moments
        torch.testing.assert_close(view.o[:1], trained.see(seen)[:1])
    assert len(calls) == 1


def test_methods_on_the_same_demonstrations_share_their_encoder(image_stores, tmp_path):
    experiments = [Experiment(method=m, suite="images", **TINY) for m in ("glam", "mip", "clam")]
    outs = [train(e, image_stores, tmp_path / e.method) for e in experiments]
    weights = [load(out).policy.perception.state_dict() for out in outs]
    assert all(torch.equal(weights[0][key], other[key]) for other in weights[1:] for key in weights[0])
    folders = {encoder_folder(e, image_stores.encoders) for e in experiments}
    assert len(folders) == 1
    other = encoder_folder(dataclasses.replace(experiments[0], seed=1), image_stores.encoders)
    assert other not in folders


def test_bad_images_are_refused(image_stores, tmp_path):
    make_store(tmp_path / "unmasked", 6, has_actions=False, masks=False)
    make_store(tmp_path / "blind", 6, has_actions=False, images=False)
    make_store(tmp_path / "small", 6, has_actions=False, size=16)
    keypoints, slots = (
        Experiment(method="glam", suite="images", **TINY),
        Experiment(method="glam_o", suite="images", **TINY),
    )
    for experiment, name, message in (
        (slots, "unmasked", "no object masks"),
        (keypoints, "blind", "images/front is missing"),
        (keypoints, "small", r"images/front is \(\(16, 16, 3\)"),
    ):
        wrong = dataclasses.replace(image_stores, auxiliary=(tmp_path / name,))
        with pytest.raises(ConfigurationError, match=message):
            train(experiment, wrong, tmp_path / "run")
    with pytest.raises(ConfigurationError, match="give Stores a folder"):
        train(keypoints, dataclasses.replace(image_stores, encoders=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_of_one_experiment(stores, tmp_path):
    experiment = Experiment(method="mip", **TINY)
    out = train(experiment, stores, tmp_path / "run")
    before = (out / "model.pt").stat().st_mtime_ns
    train(experiment, stores, out)
    assert (out / "model.pt").stat().st_mtime_ns == before
    with pytest.raises(ConfigurationError, match="seed was 0, is 3"):
        train(dataclasses.replace(experiment, seed=3), stores, out)


def test_a_damaged_run_says_what_to_delete(stores, tmp_path):
    experiment = Experiment(method="mip", **TINY)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/metrics.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="delete it or choose another folder"):
        train(experiment, stores, tmp_path / "half")
    out = train(experiment, stores, tmp_path / "run")
    weights = (out / "model.pt").read_bytes()
    (out / "model.pt").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(DataError, match=r"model.pt is damaged .* delete it"):
        load(out)
    (out / "model.pt").unlink()
    train(experiment, stores, out)  # from the finished phases, without training again
    assert (out / "model.pt").read_bytes()[:100] == weights[:100]


def test_seeds_choose_demonstrations_and_more_contain_the_fewer():
    from glam_training.pool import choose_episodes

    few, many = choose_episodes(50, 5, 1, "store"), choose_episodes(50, 20, 1, "store")
    assert set(few) < set(many)
    assert set(few) != set(choose_episodes(50, 5, 2, "store"))
    with pytest.raises(DataError, match="has 50 episodes, 51 were asked for"):
        choose_episodes(50, 51, 0, "store")


def test_bad_sources_are_refused(stores, tmp_path):
    experiment = Experiment(method="glam", **TINY)
    target, auxiliary = stores.target, stores.auxiliary[0]
    for wrong, message in (
        (Stores(auxiliary, (auxiliary,)), "auxiliary source without actions"),
        (Stores(target, (target,)), "offers actions as an auxiliary source"),
        (Stores(target), "name their stores"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            train(experiment, wrong, tmp_path / "run")
    with pytest.raises(ConfigurationError, match="holds tool actions"):
        train(dataclasses.replace(experiment, action_space="joint"), stores, tmp_path / "run")
    with pytest.raises(ConfigurationError, match="holds task 'lift', not 'stack_two'"):
        train(dataclasses.replace(experiment, task="stack_two"), stores, tmp_path / "run")
    with pytest.raises(DataError, match="10 episodes, 11 were asked for"):
        train(dataclasses.replace(experiment, target_episodes=11), stores, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_actions_that_are_not_finite_are_named(tmp_path):
    store = make_store(tmp_path / "target", 3)
    action = store._group["data/action"]
    action[25] = np.full(5, np.nan, np.float32)
    with pytest.raises(DataError, match="action is not finite in episode 1"):
        train(Experiment(method="mip", **{**TINY, "target_episodes": 3}), Stores(tmp_path / "target"), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "glamm"}, "did you mean 'glam'"),
        ({"method": "mip", "switches": Switches(beta=1.0)}, "mip has none;"),
        ({"method": "mip", "switches": Switches(tempo=True)}, "mip has none;"),
        ({"method": "clam", "switches": Switches(tempo=True, beta=1.0)}, "clam has none but tempo;"),
        ({"method": "glam", "switches": Switches(tempo=True, step=2)}, "one step"),
        ({"method": "pose_cotraining", "action_space": "joint"}, "tool space only"),
        ({"method": "glam", "auxiliary_episodes": 0}, "needs at least 1"),
        ({"method": "mip", "target_episodes": 0}, "target_episodes must be at least 1"),
    ],
)
def test_bad_experiments_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        Experiment(**{**TINY, **changes})


def test_a_brisk_action_adds_motions_and_keeps_the_last_grip():
    # Two arms: x, y, gripper; x, gripper.
    steps = torch.tensor([[[1.0, 2.0, 0.0, 5.0, 1.0], [3.0, -2.0, 1.0, 1.0, 0.0]]])
    gripper = torch.tensor([False, False, True, False, True])
    torch.testing.assert_close(brisk_action(steps, gripper), torch.tensor([[4.0, 0.0, 1.0, 6.0, 0.0]]))


def test_lists_of_methods_are_of_methods():
    assert set(LATENT_METHODS) | set(GLAM_METHODS) < set(METHODS)


@pytest.mark.parametrize("method", ["glam", "bc_mse"])
def test_runs_of_the_bench_are_exported(stores, tmp_path, method):
    out = train(Experiment(method=method, **TINY), stores, tmp_path / "run")
    manifest = export(ExportConfig(out, tmp_path / "model"))
    assert manifest.method == method
    assert set(manifest.training_ranges) == {"state", "action"}
    acting, exported = policy(out), load_model(tmp_path / "model")
    observation = Observation(0.0, {}, {"scene": np.full((1, 4), 0.3, np.float32)})
    chunk = exported.predict(observation)
    np.testing.assert_allclose(chunk, acting.predict(observation), atol=1e-4)
    state = np.linspace(-1, 1, 10, dtype=np.float32)
    np.testing.assert_allclose(exported.decode(chunk[0], state), acting.decode(chunk[0], state), atol=1e-4)
    card = (tmp_path / "model/card.md").read_text()
    assert "`target` (with actions): 4 episodes" in card
    assert ("reconstruction" in card) == (method == "glam")


def test_latents_over_several_steps_are_not_exported(stores, tmp_path):
    out = train(Experiment(method="glam", switches=Switches(step=2), **TINY), stores, tmp_path / "run")
    with pytest.raises(DataError, match="switches.step 1"):
        export(ExportConfig(out, tmp_path / "model"))
