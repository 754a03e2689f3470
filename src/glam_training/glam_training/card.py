"""The card of a model folder, written from its manifest alone: what it is, what it was measured to do, its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glam_core.manifest import Manifest

_RECONSTRUCTION = (
    'The method is a reconstruction of "Imitation from Heterogeneous Demonstrations using Grounded Latent-Action World '
    'Models" (arXiv 2606.21672) from what is public about it: exact losses, sizes and data counts of the authors were '
    "not available, and neither this model nor its numbers are theirs."
)

COST_COLUMNS = "phase | steps | minutes | examples/s | peak memory, MiB | loader's share of a step | on"

_GLAM = ("glam", "glam_o", "target_only")


def model_card(manifest: Manifest, name: str) -> str:
    """Markdown for people.

    Args:
        manifest: of the model; with or without an evaluation.
        name: of the folder.
    """
    sections = [
        ("What it is", _what(manifest)),
        ("Data", _data(manifest)),
        ("Training", "\n\n".join(filter(None, (_training(manifest), _costs(manifest))))),
        ("Measured", _measured(manifest, name)),
        ("Limits", _limits(manifest)),
    ]
    method = manifest.method.upper().replace("_", "-")
    parts = [f"# {name}: {method} for {manifest.task}"]
    parts += [f"## {title}\n\n{text}" for title, text in sections]
    return "\n\n".join(parts) + "\n"


def _what(manifest: Manifest) -> str:
    sees = [f"camera `{image.name}` ({image.height} x {image.width})" for image in manifest.obs_spec.images]
    sees += [f"vector `{vector.name}` ({vector.size})" for vector in manifest.obs_spec.vectors]
    if manifest.kind == "latent_policy":
        does = (
            f"predicts chunks of {manifest.chunk_length} latent actions of size {manifest.latent_size}, "
            f"{manifest.execute_length} of which are executed before the next prediction; a decoder turns each latent, "
            "with the live robot state, into a tool motion"
        )
    else:
        does = (
            f"predicts chunks of {manifest.chunk_length} tool motions directly, {manifest.execute_length} of which are "
            "executed before the next prediction"
        )
    text = (
        f"A policy for the task `{manifest.task}` on `{manifest.embodiment}`. It sees {' and '.join(sees)} and {does}."
    )
    return f"{text}\n\n{_RECONSTRUCTION}" if manifest.method in _GLAM else text


def _data(manifest: Manifest) -> str:
    if "experiment" in manifest.config:
        return _bench_data(manifest)
    stage = _stage(manifest, "stage_1")
    auxiliary = [Path(path).name for path in stage.get("auxiliary", [])]
    lines = []
    for name, fingerprint in manifest.dataset_fingerprints.items():
        is_auxiliary = name in auxiliary
        if is_auxiliary and manifest.kind == "direct_policy":
            continue
        count = stage.get("auxiliary_episodes" if is_auxiliary else "target_episodes")
        role = "auxiliary, its actions are never read" if is_auxiliary else "target, with actions"
        share = f"first {count} episodes" if count else "all episodes"
        lines.append(f"- `{name}` ({role}): {share}, fingerprint `{fingerprint[:16]}`")
    if manifest.kind == "direct_policy" and auxiliary:
        lines.append("- The perception was trained on images and masks of auxiliary sources too; the policy was not.")
    return "\n".join(lines) or "Not recorded."


def _bench_data(manifest: Manifest) -> str:
    experiment = _stage(manifest, "experiment")
    counts = {"target": experiment.get("target_episodes"), "auxiliary": experiment.get("auxiliary_episodes")}
    lines = []
    for name, fingerprint in manifest.dataset_fingerprints.items():
        side = name.split("_")[0]
        role = "with actions" if side == "target" else "without actions"
        lines.append(f"- `{name}` ({role}): {counts.get(side)} episodes, fingerprint `{fingerprint[:16]}`")
    return "\n".join(lines)


def _training(manifest: Manifest) -> str:
    if "experiment" in manifest.config:
        sizes, seed = _stage(manifest, "sizes"), manifest.config.get("seed")
        budget = ", ".join(f"{name.removesuffix('_steps')} {n}" for name, n in sizes.items() if name.endswith("_steps"))
        return (
            f"Gradient steps: {budget}; seed {seed}; commit `{manifest.commit}`. "
            "The manifest holds the whole configuration."
        )
    stage_1, stage_2 = _stage(manifest, "stage_1"), _stage(manifest, "stage_2")
    steps = {
        "segmenter": stage_1.get("segmenter", {}).get("steps") if manifest.obs_spec.images else None,
        "latent actions": stage_1.get("optim", {}).get("steps"),
        "policy": stage_2.get("optim", {}).get("steps"),
    }
    budget = ", ".join(f"{what} {count}" for what, count in steps.items() if count)
    seeds = f"seeds {stage_1.get('seed')} (stage 1) and {stage_2.get('seed')} (stage 2)"
    return f"Gradient steps: {budget}; {seeds}; commit `{manifest.commit}`. The manifest holds the whole configuration."


def _costs(manifest: Manifest) -> str:
    if not manifest.costs:
        return ""
    return "\n".join([f"| {COST_COLUMNS} |", "|---" * 7 + "|", *(f"| {row} |" for row in cost_rows(manifest))])


def cost_rows(manifest: Manifest) -> list[str]:
    """What each phase of the training took, in the columns of `COST_COLUMNS`."""
    rows = []
    for phase, cost in manifest.costs.items():
        shared = f", {cost.trained_together} runs together" if cost.trained_together > 1 else ""
        rows.append(
            f"{phase} | {cost.steps} | {cost.seconds / 60:.1f} | {cost.examples_per_s:.0f} | "
            f"{cost.peak_memory_mib:.0f} | {100 * cost.loader_share:.1f} % | {cost.device}{shared}"
        )
    return rows


def _measured(manifest: Manifest, name: str) -> str:
    evaluation = manifest.evaluation
    if evaluation is None:
        return "Not evaluated yet."
    low, high = evaluation.interval
    seeds = evaluation.seeds
    lines = [
        f"Success in simulation: **{evaluation.successes} of {evaluation.n}** "
        f"({evaluation.success_rate:.2f}, 95 % Wilson interval {low:.2f} to {high:.2f}), "
        f"seeds {seeds[0]} to {seeds[-1]}, on this exported folder.",
        "",
        f"    glam eval --model models/{name} --episodes {evaluation.n} --seed {seeds[0]}",
    ]
    if manifest.baseline is not None:
        low, high = manifest.baseline.interval
        lines += [
            "",
            "The baseline, MIP on the raw actions of the target demonstrations with the same perception, head "
            f"and steps, on the same seeds: {manifest.baseline.successes} of {manifest.baseline.n} "
            f"({manifest.baseline.success_rate:.2f}, {low:.2f} to {high:.2f}).",
        ]
    if manifest.latency:
        latency = ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in manifest.latency.items())
        lines += ["", f"Latency and load: {latency}."]
    return "\n".join(lines)


def _limits(manifest: Manifest) -> str:
    return (
        f"Trained and measured in simulation only, on `{manifest.task}` with its objects, colours, cameras and "
        "lighting; another scene, another camera pose or another gripper needs new demonstrations. The policy does not "
        "know what it has not seen: keep the safety filter on and a hand on the stop button."
    )


def _stage(manifest: Manifest, name: str) -> dict[str, Any]:
    stage = manifest.config.get(name)
    return stage if isinstance(stage, dict) else {}
