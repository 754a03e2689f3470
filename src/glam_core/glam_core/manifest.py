"""The manifest of a model folder, and the check that nothing in the folder was altered.

`manifest.json` holds the sha256 of every other file, and a digest of its own bytes (with the digest itself left empty).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from glam_core.errors import GlamError, ModelFolderError
from glam_core.normalize import Statistics
from glam_core.schema import Schema
from glam_core.spec import ActionSpec, ObsSpec, VectorSpec

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.npz"
CARD_FILE = "card.md"
LATENT_POLICY_FILE = "latent_policy.onnx"
ACTION_DECODER_FILE = "action_decoder.onnx"
DIRECT_POLICY_FILE = "policy.onnx"

REQUIRED_FILES = {
    "latent_policy": (LATENT_POLICY_FILE, ACTION_DECODER_FILE, GOLDEN_FILE),
    "direct_policy": (DIRECT_POLICY_FILE, GOLDEN_FILE),
}

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Range(Schema):
    """The range of each component that was seen in training, in the unit of the data."""

    error_type: ClassVar[type[GlamError]] = ModelFolderError

    low: tuple[float, ...]
    high: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.low) != len(self.high) or any(a > b for a, b in zip(self.low, self.high, strict=False)):
            raise ValueError(f"a range needs low <= high for every component, not {self.low} and {self.high}")
        return self


class Evaluation(Schema):
    """A measured success rate.

    Attributes:
        n: Episodes.
        successes: Successful ones.
        interval: 95 % Wilson interval of the success rate.
        seeds: The seeds of the episodes.
    """

    error_type: ClassVar[type[GlamError]] = ModelFolderError

    n: int = Field(ge=1)
    successes: int = Field(ge=0)
    interval: tuple[float, float]
    seeds: tuple[int, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.successes > self.n or len(self.seeds) != self.n:
            raise ValueError(
                f"{self.successes} successes of {self.n} episodes with {len(self.seeds)} seeds do not fit together"
            )
        return self

    @property
    def success_rate(self) -> float:
        """Successes over episodes."""
        return self.successes / self.n


class StageCost(Schema):
    """What one phase of a training took.

    Attributes:
        steps: Gradient steps; of a phase that was cut short, those after it went on.
        seconds: Wall time of these steps, shared by all runs that were trained together.
        trained_together: How many runs shared it.
        examples_per_s: Training examples per second, of all of them.
        peak_memory_mib: Most memory: of the GPU, or of the process on a CPU.
        loader_share: Time of making a batch over that of a whole step.
        device: What trained.
    """

    error_type: ClassVar[type[GlamError]] = ModelFolderError

    steps: int = Field(ge=1)
    seconds: float = Field(ge=0.0)
    trained_together: int = Field(ge=1)
    examples_per_s: float = Field(ge=0.0)
    peak_memory_mib: float = Field(ge=0.0)
    loader_share: float = Field(ge=0.0)
    device: str


class Manifest(Schema):
    """All that one must know to run a model, and where it came from.

    Attributes:
        schema_version: Version of this format.
        kind: `latent_policy` (a latent policy and an action decoder) or `direct_policy` (a policy of actions).
        method: How it was trained, for example `glam` or `mip`.
        task: The task that it was trained for.
        embodiment: The robot that it was trained for.
        obs_spec: What it sees.
        action_spec: What it does.
        state_spec: The robot state that the decoder reads.
        latent_size: d; the action's size for a direct policy.
        latent_step: k, action steps that one latent spans.
        chunk_length: H, latents per prediction.
        execute_length: Latents that are executed before the next prediction.
        statistics: Normalisation inside the graphs, for inspection.
        training_ranges: What was seen in training.
        dataset_fingerprints: Data set name to fingerprint.
        commit: Git commit of the code that trained it.
        config: The resolved configuration of the training.
        files: File name to sha256, filled in by `write_manifest`.
        evaluation: The measured success.
        baseline: That of MIP on the raw actions of the target demonstrations, same perception and budget, same seeds.
        latency: Measured latencies, the unit in the key: `policy_median_ms`.
        costs: What each phase of the training took, in their order.
        digest: sha256 of this file with an empty digest, filled in by `write_manifest`.
    """

    error_type: ClassVar[type[GlamError]] = ModelFolderError

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["latent_policy", "direct_policy"]
    method: str
    task: str
    embodiment: str
    obs_spec: ObsSpec
    action_spec: ActionSpec
    state_spec: VectorSpec
    latent_size: int = Field(ge=1)
    latent_step: int = Field(default=1, ge=1)
    chunk_length: int = Field(ge=1)
    execute_length: int = Field(ge=1)
    statistics: dict[str, Statistics] = Field(default_factory=dict)
    training_ranges: dict[str, Range] = Field(default_factory=dict)
    dataset_fingerprints: dict[str, str] = Field(default_factory=dict)
    commit: str = ""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    files: dict[str, Sha256] = Field(default_factory=dict)
    evaluation: Evaluation | None = None
    baseline: Evaluation | None = None
    latency: dict[str, float] = Field(default_factory=dict)
    costs: dict[str, StageCost] = Field(default_factory=dict)
    digest: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.execute_length > self.chunk_length:
            raise ValueError(f"execute_length {self.execute_length} is above chunk_length {self.chunk_length}")
        if self.kind == "direct_policy" and self.latent_size != self.action_spec.size:
            raise ValueError(
                f"a direct policy has latent_size {self.action_spec.size}, the action's, not {self.latent_size}"
            )
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or name == MANIFEST_FILE:
                raise ValueError(f"files names '{name}', which is not a plain path inside the folder")
        return self


def write_manifest(folder: Path | str, manifest: Manifest) -> Manifest:
    """Writes `manifest.json` with the sha256 of every file that now lies in the folder.

    Args:
        folder: The model folder, complete but for its manifest.
        manifest: Its `files` and `digest` are replaced.

    Returns:
        The manifest as written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is not a folder; write the model's files there first")
    hashes = {name: _sha256((folder / name).read_bytes()) for name in _files_in(folder)}
    blank = Manifest.model_validate(manifest.model_dump() | {"files": hashes, "digest": ""})
    digest = _sha256(_text(blank).encode())
    written = blank.model_copy(update={"digest": digest})
    (folder / MANIFEST_FILE).write_bytes(_text(written).encode())
    return written


def read_manifest(folder: Path | str) -> Manifest:
    """Reads and validates `manifest.json`, its own digest included; the other files are `verify_folder`'s work.

    Raises:
        ModelFolderError: It is missing, altered, of a newer version, or not a manifest.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.parent.is_dir():
        raise ModelFolderError(f"there is no model folder {path.parent}; give a folder that holds a {MANIFEST_FILE}")
    if not path.is_file():
        raise ModelFolderError(
            f"{path} is missing; export the model again, or give the folder that `glam export` wrote"
        )
    raw = path.read_bytes()
    try:
        data = json.loads(raw.decode())
    except ValueError as error:
        raise ModelFolderError(f"{path} is damaged ({error}); restore it, or export the model again") from error
    if not isinstance(data, dict):
        raise ModelFolderError(f"{path} holds no manifest; export the model again")
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ModelFolderError(
            f"{path} has schema version {version}; this GLAM reads up to {SCHEMA_VERSION}: "
            "update GLAM, or export the model again"
        )
    entry = b'"digest": "%b"'
    digest = str(data.get("digest", ""))
    if _sha256(raw.replace(entry % digest.encode(), entry % b"", 1)) != digest:
        raise ModelFolderError(f"{path} was altered after export; restore it, or export the model again")
    try:
        return Manifest.model_validate(data)
    except GlamError as error:
        raise ModelFolderError(f"{path} is not valid: {error}") from error


def verify_folder(folder: Path | str) -> Manifest:
    """Reads the manifest and checks every file of the folder against it.

    Raises:
        ModelFolderError: It lists every file that is missing, altered or not named in the manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    present = _files_in(folder)
    problems = [
        f"{name} is not named in {MANIFEST_FILE}: move it out of the folder"
        for name in present
        if name not in manifest.files
    ]
    for name, sha256 in sorted(manifest.files.items()):
        if name not in present:
            problems.append(f"{name} is missing: restore it")
        elif _sha256((folder / name).read_bytes()) != sha256:
            problems.append(f"{name} was altered (its sha256 differs from {MANIFEST_FILE}): restore it")
    problems += [
        f"{name} is not part of the export, but every {manifest.kind} needs it"
        for name in REQUIRED_FILES[manifest.kind]
        if name not in manifest.files
    ]
    if problems:
        raise ModelFolderError(f"model folder {folder}: {'; '.join(problems)}. Or export the model again")
    return manifest


def _text(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files_in(folder: Path) -> list[str]:
    """Every file below the folder but the manifest, as sorted posix paths."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != MANIFEST_FILE)
