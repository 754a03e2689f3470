"""Export is a contract: torch, ONNX Runtime and the golden vectors agree, and evaluation runs what was exported."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from glam_core.errors import ConfigurationError, DataError, ModelFolderError
from glam_core.manifest import Evaluation, read_manifest, verify_folder
from glam_core.observation import Observation
from glam_core.runtime import load_model
from glam_core.station import load_station
from glam_training.card import model_card
from glam_training.demos import DemosConfig, record_demos
from glam_training.evaluate import EvalConfig, evaluate_folder, station_limits
from glam_training.export import ExportConfig, export, export_graph
from glam_training.fit import DeviceConfig, OptimConfig
from glam_training.matrix.shipped import shipped_costs
from glam_training.models.glam import GlamConfig
from glam_training.models.mip import MipConfig
from glam_training.models.perception import PerceptionConfig
from glam_training.stage1 import GlamTrainConfig, train_glam
from glam_training.stage2 import PolicyTrainConfig, load_policy, train_mip, train_policy

pytestmark = pytest.mark.sim

STATION = Path(__file__).parents[3] / "config/stations/sim.yaml"
CPU = DeviceConfig(accelerator="cpu")
FEW = OptimConfig(steps=3, batch_size=8, warmup_steps=1)
SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Runs and models of an image policy with one camera, hardly trained."""
    folder = tmp_path_factory.mktemp("export")
    record_demos(
        DemosConfig(folder / "target", "lift", episodes=1, cameras=("front",), image_size=SIZE, masks=True, workers=1)
    )
    glam = train_glam(
        GlamTrainConfig(
            target=folder / "target",
            out=folder / "glam",
            model=GlamConfig(latent_size=3, width=16, depth=1, affine=True),
            perception=PerceptionConfig(segmenter_width=4),
            segmenter=OptimConfig(steps=300, batch_size=16, learning_rate=1e-2, warmup_steps=5, ema_decay=0.9),
            optim=dataclasses.replace(FEW, steps=100, learning_rate=1e-2, ema_decay=0.9),
            refit=FEW,
            device=CPU,
        )
    )
    mip = MipConfig(chunk_length=4, width=16, depth=1)
    for name, train, relations in (("policy", train_policy, None), ("mip", train_mip, False)):
        out = folder / f"{name}_run"
        run = train(PolicyTrainConfig(glam=glam, out=out, mip=mip, relations=relations, optim=FEW, device=CPU))
        export(ExportConfig(run, folder / name))
    return folder


@pytest.mark.parametrize(("name", "kind"), [("policy", "latent_policy"), ("mip", "direct_policy")])
def test_the_exported_model_computes_what_torch_computes(folder, name, kind):
    trained = load_policy(folder / f"{name}_run")
    policy, decoder = trained.policy, trained.decoder
    model = load_model(folder / name)
    assert model.manifest.kind == kind
    image = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3), dtype=np.uint8)
    chunk = model.predict(Observation(0.0, {"front": image}))
    with torch.inference_mode():
        expected = policy(torch.from_numpy(image)[None])[0].numpy()
        np.testing.assert_allclose(chunk, expected, atol=1e-4)
        if decoder is not None:
            state = np.linspace(-1, 1, 10, dtype=np.float32)
            action = decoder(torch.from_numpy(chunk[:1]), torch.from_numpy(state)[None])[0].numpy()
            np.testing.assert_allclose(model.decode(chunk[0], state), action, atol=1e-4)


@pytest.mark.parametrize(("arms", "station"), [(("arm",), "sim.yaml"), (("left", "right"), "sim_two.yaml")])
def test_the_limits_of_an_evaluation_are_those_of_a_cell_with_as_many_arms(arms, station, monkeypatch):
    monkeypatch.chdir(STATION.parents[2])
    assert station_limits(None, arms) == load_station(STATION.with_name(station)).limits(arms[0])


def test_policies_on_slots_see_relations_unless_told_otherwise_and_the_run_says_so(folder):
    for name, relations in (("policy_run", True), ("mip_run", False)):
        assert json.loads((folder / name / "run.json").read_text())["config"]["relations"] is relations
        assert (load_policy(folder / name).policy.features.relations is not None) is relations


@pytest.mark.parametrize("before", [{}, {"relations": None}], ids=["no choice", "choice left open"])
def test_a_run_from_before_relations_is_loaded(folder, tmp_path, before):
    shutil.copytree(folder / "mip_run", tmp_path / "run")
    path = tmp_path / "run/run.json"
    record = json.loads(path.read_text())
    assert record["config"].pop("relations") is False
    record["config"] |= before
    path.write_text(json.dumps(record))
    assert load_policy(tmp_path / "run").policy.features.relations is None


def test_what_is_not_seen_is_no_trouble(folder):
    model = load_model(folder / "policy")
    policy = load_policy(folder / "policy_run").policy
    blank = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    with torch.inference_mode():
        expected = policy(torch.from_numpy(blank)[None])[0].numpy()
    np.testing.assert_allclose(model.predict(Observation(0.0, {"front": blank})), expected, atol=1e-4)


@pytest.mark.parametrize("file", ["policy/latent_policy.onnx", "policy/action_decoder.onnx", "mip/policy.onnx"])
def test_graphs_do_not_tell_where_they_were_exported(folder, file):
    content = (folder / file).read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in content
    assert b"stack_trace" not in content


def test_the_folder_says_what_it_is(folder):
    manifest = verify_folder(folder / "policy")
    run = json.loads((folder / "policy_run/run.json").read_text())
    assert manifest.method == "glam"
    assert manifest.commit == run["commit"]
    assert list(manifest.dataset_fingerprints) == ["target"]
    assert manifest.training_ranges["action"].high[4] == 1.0
    assert set(manifest.statistics) == {"features", "state", "latent", "action"}
    assert str(folder) not in (folder / "policy/card.md").read_text()
    card = (folder / "policy/card.md").read_text()
    assert "Not evaluated yet" in card
    assert "reconstruction" in card
    assert [(phase, cost.steps) for phase, cost in manifest.costs.items()] == [
        ("segmenter", 300), ("glam", 100), ("decoder", FEW.steps), ("policy", FEW.steps)
    ]  # fmt: skip
    for phase, cost in manifest.costs.items():
        assert 0.0 < cost.loader_share < 1.0 and cost.peak_memory_mib > 100 and cost.device.startswith("cpu")
        batch = 16 if phase == "segmenter" else FEW.batch_size
        assert cost.seconds == pytest.approx(batch * cost.steps / cost.examples_per_s, abs=0.06)
    assert "| segmenter | 300 | " in card
    (page,) = shipped_costs(folder)
    assert page.count("| policy | segmenter | 300 | ") == 1 and "| mip | policy | " in page
    assert shipped_costs(folder / "glam") == []


def test_export_refuses_what_it_must(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="no model folder"):
        export(ExportConfig(folder / "policy_run", tmp_path))
    assert (tmp_path / "notes.txt").exists()
    with pytest.raises(DataError):
        export(ExportConfig(tmp_path / "nowhere", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


class Unfaithful(nn.Module):
    """Computes something else once it was exported."""

    def forward(self, x):
        return x + (1.0 if torch.compiler.is_exporting() else 0.0)


def test_a_graph_that_differs_from_torch_is_refused(tmp_path):
    with pytest.raises(ModelFolderError, match="differs from torch by 1"):
        export_graph(Unfaithful(), {"x": torch.zeros(4, 2)}, "y", tmp_path / "graph.onnx")


def test_eval_writes_result_video_and_card(folder, tmp_path):
    config = EvalConfig(
        folder / "policy",
        episodes=2,
        workers=1,
        station=STATION,
        out=tmp_path / "eval.json",
        video=tmp_path / "eval.mp4",
        video_episodes=1,
        write_card=True,
    )
    result = evaluate_folder(config)
    record = json.loads((tmp_path / "eval.json").read_text())
    assert record["n"] == 2
    assert record["interval"] == list(result.interval)
    assert [episode["seed"] for episode in record["episodes"]] == [10000, 10001]
    assert record["versions"]["mujoco"]
    manifest = verify_folder(folder / "policy")
    assert manifest.evaluation == result.evaluation()
    assert f"{result.successes} of 2" in (folder / "policy/card.md").read_text()
    video = cv2.VideoCapture(str(tmp_path / "eval.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) >= result.outcomes[0].steps
    load_model(folder / "policy")


def test_a_baseline_stands_beside_the_result_if_it_is_comparable(folder, tmp_path):
    few = {"episodes": 1, "workers": 1, "station": STATION}
    beside = evaluate_folder(EvalConfig(folder / "mip", out=tmp_path / "mip.json", **few))
    config = EvalConfig(
        folder / "policy", out=tmp_path / "eval.json", write_card=True, baseline=tmp_path / "mip.json", **few
    )
    evaluate_folder(config)
    assert verify_folder(folder / "policy").baseline == beside.evaluation()
    assert f"same seeds: {beside.successes} of 1" in (folder / "policy/card.md").read_text()
    # What cannot stand beside it is refused before anything is measured.
    (tmp_path / "eval.json").unlink()
    with pytest.raises(DataError, match="other seeds"):
        evaluate_folder(replace(config, seed=77))
    with pytest.raises(DataError, match="no result of glam eval"):
        evaluate_folder(replace(config, baseline=tmp_path / "nowhere.json"))
    (tmp_path / "mip.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="no result of glam eval"):
        evaluate_folder(config)
    assert not (tmp_path / "eval.json").exists()
    with pytest.raises(ConfigurationError, match="give --write-card as well"):
        replace(config, write_card=False)


def test_bad_settings_are_refused(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="episodes must be at least 1"):
        EvalConfig(folder / "policy", episodes=0)
    with pytest.raises(ModelFolderError, match="there is no model folder"):
        evaluate_folder(EvalConfig(tmp_path / "nowhere", station=STATION))


def test_card_of_a_baseline_and_of_a_measured_model(folder):
    manifest = read_manifest(folder / "mip")
    assert "reconstruction" not in model_card(manifest, "mip")
    evaluation = Evaluation(n=4, successes=3, interval=(0.3, 0.95), seeds=(1, 2, 3, 4))
    evaluated = manifest.model_copy(update={"evaluation": evaluation})
    assert "**3 of 4** (0.75, 95 % Wilson interval 0.30 to 0.95), seeds 1 to 4" in model_card(evaluated, "mip")
