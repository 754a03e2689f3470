"""`glam export`: a trained policy becomes a model folder that runs without torch.

The graphs hold everything, normalisation and image conversion included: raw SI values in, raw SI values out. The folder
is complete only after torch, ONNX Runtime and the golden vectors agree; until then it stands beside its final place.
"""

from __future__ import annotations

import io
import logging
import shutil
import sys
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import tyro
from torch import Tensor, nn

from glam_core.errors import DataError, ModelFolderError
from glam_core.manifest import (
    ACTION_DECODER_FILE,
    CARD_FILE,
    DIRECT_POLICY_FILE,
    GOLDEN_FILE,
    LATENT_POLICY_FILE,
    MANIFEST_FILE,
    Manifest,
    Range,
    StageCost,
    write_manifest,
)
from glam_core.normalize import Statistics
from glam_core.runtime import load_model
from glam_core.spec import ActionSpec, ObsSpec, VectorSpec
from glam_training import methods
from glam_training.card import model_card
from glam_training.contract import Contract
from glam_training.costs import PhaseCost, read_costs
from glam_training.data.sampler import policy_windows
from glam_training.data.store import Store
from glam_training.models.blocks import Standardizer
from glam_training.models.policy import ActionDecoderModule, PolicyModule
from glam_training.perceive import SAMPLES_FILE
from glam_training.run import Run
from glam_training.stage2 import load_policy

OPSET = 18
GOLDEN_BATCH = 4
TOLERANCE = 1e-4
"""Largest difference between torch and ONNX Runtime."""

_METHODS = {"latent": "glam", "direct": "mip"}


@dataclass(frozen=True)
class Exportable:
    """What an export needs of a finished run, whichever command trained it.

    Attributes:
        policy: observations to a chunk.
        decoder: a latent and a robot state to an action; None for a direct policy.
        contract: what they expect and produce.
        method: how they were trained.
        latent_size: d; the size of an action for a direct policy.
        latent_step: k; 1 for a direct policy.
        chunk_length: steps of a chunk.
        execute_length: steps that are executed before the next prediction.
        inputs: golden observations by ONNX name (B, T, ...).
        state: (B, S) robot states of the same moments.
        ranges: of state and action in the demonstrations.
        fingerprints: of the stores, by name.
        commit: of the code that trained.
        config: of the run.
    """

    policy: PolicyModule
    decoder: ActionDecoderModule | None
    contract: Contract
    method: str
    latent_size: int
    latent_step: int
    chunk_length: int
    execute_length: int
    inputs: dict[str, Tensor]
    state: Tensor
    ranges: dict[str, Range]
    fingerprints: dict[str, str]
    commit: str
    config: dict[str, Any]
    costs: dict[str, StageCost]


def exportable(path: Path) -> Exportable:
    """The finished run in a folder: of `glam train policy`, `glam train mip` or of the bench.

    Raises:
        DataError: no run, an unfinished one, or one that cannot be deployed.
    """
    return _of_bench(path) if "experiment" in Run.open(path).config else _of_stage_2(path)


def _of_stage_2(path: Path) -> Exportable:
    trained = load_policy(path)
    store = Store.open(trained.glam.record["config"]["target"])
    inputs, state = golden_inputs(store, ObsSpec.model_validate(trained.contract.obs_spec))
    latent = trained.decoder is not None
    return Exportable(
        policy=trained.policy,
        decoder=trained.decoder,
        contract=trained.contract,
        method=_METHODS[trained.record["config"]["kind"]],
        latent_size=trained.glam.config.latent_size if latent else trained.contract.action_size,
        latent_step=trained.glam.config.step if latent else 1,
        chunk_length=trained.mip.chunk_length,
        execute_length=trained.mip.execute_length,
        inputs=inputs,
        state=state,
        ranges={key: _range(values) for key, values in store.load(("state", "action")).items()},
        fingerprints={Path(name).name: digest for name, digest in trained.record["fingerprints"].items()},
        commit=trained.record["commit"],
        config={"stage_1": trained.glam.record["config"], "stage_2": trained.record["config"]},
        costs=stage_costs(read_costs(Path(trained.record["config"]["glam"])) | read_costs(path)),
    )


def _of_bench(path: Path) -> Exportable:
    trained = methods.load(path)
    experiment = trained.experiment
    if trained.step > 1:
        raise DataError(
            f"{path}: its latents span {trained.step} steps, which the decoder node does not execute; "
            "export a run with switches.step 1"
        )
    with np.load(path / SAMPLES_FILE, allow_pickle=False) as samples:
        arrays = dict(samples)
    keys = [f"image.{name}" for name in trained.contract.cameras]
    keys += [f"vector.{vector['name']}" for vector in trained.contract.obs_spec["vectors"]]
    latent = trained.decoder is not None
    return Exportable(
        policy=trained.policy,
        decoder=trained.decoder,
        contract=trained.contract,
        method=experiment.method,
        latent_size=experiment.switches.latent_size if latent else trained.contract.action_size,
        latent_step=1,
        chunk_length=experiment.sizes.chunk_length,
        execute_length=experiment.sizes.execute_length,
        inputs={key: torch.from_numpy(arrays[key]) for key in keys},
        state=torch.from_numpy(arrays["state"]),
        ranges={
            key: Range(low=tuple(arrays[f"{key}_low"].tolist()), high=tuple(arrays[f"{key}_high"].tolist()))
            for key in ("state", "action")
        },
        fingerprints={name.replace("/", "_"): digest for name, digest in trained.record["fingerprints"].items()},
        commit=trained.record["commit"],
        config=trained.record["config"],
        costs=stage_costs(read_costs(path), 2 * experiment.sizes.batch_size),
    )


def stage_costs(costs: Mapping[str, PhaseCost], examples: int = 0) -> dict[str, StageCost]:
    """Costs of a run's phases as a manifest holds them; `examples` of a step where a phase does not say how many."""
    return {
        phase: StageCost(
            steps=cost.steps,
            seconds=round(cost.seconds, 1),
            trained_together=cost.trained_together,
            examples_per_s=round(
                cost.trained_together * cost.steps * (cost.examples or examples) / max(cost.seconds, 1e-9), 1
            ),
            peak_memory_mib=cost.peak_memory_mib,
            loader_share=round(cost.draw_ms / cost.step_ms, 4),
            device=cost.device,
        )
        for phase, cost in costs.items()
    }


@dataclass(frozen=True)
class ExportConfig:
    """Export a finished policy run to a model folder."""

    run: Path
    """Run folder of stage 2, of the baseline, or of the bench."""
    out: Path
    """Model folder to write, such as models/lift; must be new or an earlier export."""


def export(config: ExportConfig) -> Manifest:
    """Export the policy of a finished run.

    Raises:
        DataError: the run is not finished, or `config.out` holds something that is no model folder.
        ModelFolderError: torch and ONNX Runtime disagree.
    """
    if config.out.exists() and any(config.out.iterdir()) and not (config.out / MANIFEST_FILE).exists():
        raise DataError(f"{config.out} holds something that is no model folder; choose another path or delete it")
    trained = exportable(config.run)
    inputs, state = trained.inputs, trained.state

    partial = config.out.with_name(config.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    golden = {name: values.numpy() for name, values in inputs.items()}
    policy, decoder = trained.policy, trained.decoder
    policy_file = LATENT_POLICY_FILE if decoder is not None else DIRECT_POLICY_FILE
    golden["chunk"] = export_graph(policy, inputs, "chunk", partial / policy_file)
    if decoder is not None:
        latent = torch.from_numpy(golden["chunk"][:, 0])
        golden |= {"latent": latent.numpy(), "state": state.numpy()}
        golden["action"] = export_graph(
            decoder, {"latent": latent, "state": state}, "action", partial / ACTION_DECODER_FILE
        )
    np.savez(partial / GOLDEN_FILE, allow_pickle=False, **golden)
    manifest = make_manifest(trained)
    (partial / CARD_FILE).write_text(model_card(manifest, config.out.name))
    written = write_manifest(partial, manifest)
    load_model(partial)

    shutil.rmtree(config.out, ignore_errors=True)
    partial.rename(config.out)
    return written


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `glam export`."""
    config = tyro.cli(ExportConfig, prog="glam export", args=sys.argv[1:] if arguments is None else arguments)
    manifest = export(config)
    size = sum(path.stat().st_size for path in config.out.iterdir())
    print(f"{config.out}: {manifest.kind} of {manifest.method} for {manifest.task}, {size / 1e6:.1f} MB")


def export_graph(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path) -> np.ndarray:
    """Write a module as an ONNX graph with a free batch axis, and check it.

    Args:
        module: called with the inputs' tensors in order; in evaluation mode.
        inputs: by ONNX name, the batch first; the export is checked on them.
        output: name of the module's single output.
        path: file to write.

    Returns:
        The module's output for `inputs`.

    Raises:
        ModelFolderError: ONNX Runtime computes something else than torch.
    """
    module = module.eval()
    arguments = tuple(inputs.values())
    batch = torch.export.Dim("batch")
    with torch.inference_mode():
        expected = module(*arguments).numpy()
    with _quiet_exporter():
        torch.onnx.export(
            module,
            arguments,
            path,
            input_names=list(inputs),
            output_names=[output],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=_dynamic_batch(module, len(arguments), batch),
            external_data=False,
            verbose=False,
        )
    _strip_traces(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for rows in (slice(None), slice(0, 1)):
        feed = {name: values[rows].numpy() for name, values in inputs.items()}
        error = float(np.abs(session.run([output], feed)[0] - expected[rows]).max())
        if not error <= TOLERANCE:
            raise ModelFolderError(
                f"{path.name}: ONNX Runtime differs from torch by {error:.3g}, more than {TOLERANCE:g}; "
                "look for an operator that the exporter translates differently"
            )
    return expected


def _strip_traces(path: Path) -> None:
    """Remove the stack traces that the exporter leaves at every node: they name folders of the machine that
    exported."""
    model = onnx.load(path)
    for item in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    onnx.save(model, path)


@contextmanager
def _quiet_exporter() -> Generator[None, None, None]:
    """Silences the exporter's progress and torch's own deprecations; neither helps who exports a model."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def golden_inputs(store: Store, obs_spec: ObsSpec) -> tuple[dict[str, Tensor], Tensor]:
    """Real observations, spread over a store.

    Returns:
        Policy inputs by ONNX name (B, T, ...), and the robot states (B, S) of the same moments.

    Raises:
        DataError: the store has fewer frames than the golden batch.
    """
    if store.num_frames < GOLDEN_BATCH:
        raise DataError(f"{store.path} has {store.num_frames} frames, golden vectors need {GOLDEN_BATCH}")
    windows = policy_windows(store.episode_ends, obs_spec.history, horizon=1).observations
    rows = windows[np.linspace(0, len(windows) - 1, GOLDEN_BATCH).astype(int)]
    keys = {f"image.{image.name}": f"images/{image.name}" for image in obs_spec.images}
    keys |= {f"vector.{vector.name}": vector.name for vector in obs_spec.vectors}
    arrays = store.load({*keys.values(), "state"})
    inputs = {name: torch.from_numpy(arrays[key][rows]) for name, key in keys.items()}
    return inputs, torch.from_numpy(arrays["state"][rows[:, -1]])


def make_manifest(trained: Exportable) -> Manifest:
    """The manifest of a trained policy, not yet evaluated."""
    return Manifest(
        kind="latent_policy" if trained.decoder is not None else "direct_policy",
        method=trained.method,
        task=trained.contract.task,
        embodiment=trained.contract.embodiment,
        obs_spec=ObsSpec.model_validate(trained.contract.obs_spec),
        action_spec=ActionSpec.model_validate(trained.contract.action_spec),
        state_spec=VectorSpec.model_validate(trained.contract.state_spec),
        latent_size=trained.latent_size,
        latent_step=trained.latent_step,
        chunk_length=trained.chunk_length,
        execute_length=trained.execute_length,
        statistics=_statistics(trained),
        training_ranges=trained.ranges,
        costs=trained.costs,
        dataset_fingerprints=trained.fingerprints,
        commit=trained.commit,
        config=trained.config,
    )


def _statistics(trained: Exportable) -> dict[str, Statistics]:
    modules: dict[str, nn.Module | None] = {"features": trained.policy.features.standardize}
    if trained.decoder is not None:
        modules |= {name: getattr(trained.decoder, name) for name in ("state", "latent", "action")}
    else:
        modules["action"] = trained.policy.output
    return {
        name: Statistics(mean=tuple(module.mean.tolist()), std=tuple(module.std.tolist()))
        for name, module in modules.items()
        if isinstance(module, Standardizer)
    }


def _range(values: np.ndarray) -> Range:
    return Range(low=tuple(values.min(axis=0).tolist()), high=tuple(values.max(axis=0).tolist()))


def _dynamic_batch(module: nn.Module, count: int, batch: torch.export.Dim) -> tuple:
    """A free first axis for every argument, in the shape that the exporter wants for this module's signature."""
    axes = tuple({0: batch} for _ in range(count))
    return (axes,) if _takes_varargs(module) else axes


def _takes_varargs(module: nn.Module) -> bool:
    return bool(module.forward.__code__.co_flags & 0x04)
