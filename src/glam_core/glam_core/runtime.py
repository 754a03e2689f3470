"""Runs an exported model with ONNX Runtime, after its hashes and its golden vectors were checked."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from glam_core.errors import ConfigurationError, ModelFolderError, ObservationError, SpecError, closest
from glam_core.manifest import (
    ACTION_DECODER_FILE,
    DIRECT_POLICY_FILE,
    GOLDEN_FILE,
    LATENT_POLICY_FILE,
    Manifest,
    verify_folder,
)
from glam_core.observation import Observation, check_observation

GOLDEN_TOLERANCE = 1e-4
CPU = ("CPUExecutionProvider",)

Shape = tuple[int | str, ...]


def load_model(folder: Path | str, intra_op_threads: int = 1, providers: Sequence[str] = CPU) -> Model:
    """Loads a model folder; refuses it unless every hash, every input and output, and the golden vectors fit.

    Args:
        folder: The model folder.
        intra_op_threads: Threads per operator; one leaves the other cores to the rest of the robot.
        providers: ONNX Runtime execution providers, best first.

    Raises:
        ModelFolderError: The folder is incomplete, altered, or does not do what its manifest says.
        ConfigurationError: The number of threads is not positive, or a provider is not installed.
    """
    if intra_op_threads < 1:
        raise ConfigurationError(f"intra_op_threads must be at least 1, not {intra_op_threads}")
    for provider in providers:
        if provider not in onnxruntime.get_available_providers():
            raise ConfigurationError(closest(provider, onnxruntime.get_available_providers(), "ONNX Runtime provider"))
    folder = Path(folder)
    manifest = verify_folder(folder)
    latent = manifest.kind == "latent_policy"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    policy_path = folder / (LATENT_POLICY_FILE if latent else DIRECT_POLICY_FILE)
    policy = _session(policy_path, options, providers)
    _require_signature(policy, policy_path, _policy_inputs(manifest), _policy_outputs(manifest))
    decoder = None
    if latent:
        decoder_path = folder / ACTION_DECODER_FILE
        decoder = _session(decoder_path, options, providers)
        _require_signature(decoder, decoder_path, _decoder_inputs(manifest), _decoder_outputs(manifest))
    model = Model(manifest, policy, decoder)
    _self_test(model, folder / GOLDEN_FILE)
    return model


class Model:
    """A model that passed its self-test. Made by `load_model`.

    Attributes:
        manifest: What it is.
    """

    def __init__(
        self,
        manifest: Manifest,
        policy: onnxruntime.InferenceSession,
        decoder: onnxruntime.InferenceSession | None,
    ) -> None:
        self.manifest = manifest
        self._policy = policy
        self._decoder = decoder

    @property
    def provider(self) -> str:
        """The ONNX Runtime execution provider in use."""
        return self._policy.get_providers()[0]

    def predict(self, observation: Observation) -> NDArray[np.float32]:
        """Predicts a chunk.

        Args:
            observation: All streams of the manifest's observation spec.

        Returns:
            `(H, d) float32` latents, or `(H, A)` actions for a direct policy.

        Raises:
            ObservationError: A stream is missing, of another shape or type, or not finite; or the chunk is not finite.
        """
        return self.predict_batch([observation])[0]

    def predict_batch(self, observations: Sequence[Observation]) -> NDArray[np.float32]:
        """Predicts `(B, H, d) float32` chunks for B observations at once; see `predict`."""
        if not observations:
            raise ObservationError("no observation was given; expected at least one")
        spec = self.manifest.obs_spec
        for observation in observations:
            check_observation(observation, spec)
        feed = {_image_input(i.name): np.stack([o.images[i.name] for o in observations]) for i in spec.images}
        feed |= {_vector_input(v.name): np.stack([o.vectors[v.name] for o in observations]) for v in spec.vectors}
        return self.run_policy(feed)

    def decode(self, latent: ArrayLike, state: ArrayLike) -> NDArray[np.float32]:
        """Decodes one latent with the live robot state.

        Args:
            latent: `(d,)` latent, or `(A,)` action for a direct policy.
            state: `(S,)` robot state; see `glam_core.tool.state_vector`.

        Returns:
            `(A,) float32` action; for a direct policy the latent itself.

        Raises:
            SpecError: A size is another one.
            ObservationError: An input or the action is not finite.
        """
        return self.decode_batch(np.asarray(latent)[None], np.asarray(state)[None])[0]

    def decode_batch(self, latents: ArrayLike, states: ArrayLike) -> NDArray[np.float32]:
        """Decodes `(B, d)` latents with `(B, S)` robot states to `(B, A) float32` actions; see `decode`."""
        z = _rows(latents, self.manifest.latent_size, "latent")
        s = _rows(states, self.manifest.state_spec.size, "robot state")
        if len(z) != len(s):
            raise SpecError(f"{len(z)} latents came with {len(s)} robot states; expected as many")
        if self._decoder is None:
            return z
        action = self._decoder.run(["action"], {"latent": z, "state": s})[0]
        return _checked(action, (len(z), self.manifest.action_spec.size), "action")

    def run_policy(self, feed: dict[str, NDArray]) -> NDArray[np.float32]:
        """Runs the policy on inputs under their ONNX names, with a batch dimension; returns `(B, H, d) float32`."""
        batch = len(next(iter(feed.values())))
        chunk = self._policy.run(["chunk"], feed)[0]
        return _checked(chunk, (batch, self.manifest.chunk_length, self.manifest.latent_size), "chunk")


def _self_test(model: Model, path: Path) -> None:
    """Runs the golden inputs and compares the outputs with the golden ones."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            golden = dict(archive)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ModelFolderError(f"{path} can not be read ({error}); export the model again") from error
    inputs = list(_policy_inputs(model.manifest))
    latent = model.manifest.kind == "latent_policy"
    expected = [*inputs, "chunk", *(("latent", "state", "action") if latent else ())]
    missing = [name for name in expected if name not in golden]
    if missing:
        raise ModelFolderError(f"{path} lacks {', '.join(missing)}; export the model again")
    try:
        _compare(model.run_policy({name: golden[name] for name in inputs}), golden["chunk"], "chunk", path)
        if latent:
            _compare(model.decode_batch(golden["latent"], golden["state"]), golden["action"], "action", path)
    except ModelFolderError:
        raise
    except Exception as error:  # ONNX Runtime has no common base for its errors
        raise ModelFolderError(
            f"the golden inputs of {path} can not be run ({error}); export the model again"
        ) from error


def _compare(got: NDArray, wanted: NDArray, name: str, path: Path) -> None:
    if got.shape != wanted.shape:
        raise ModelFolderError(
            f"{path}: the model gives a {name} of shape {got.shape}, the golden one has {wanted.shape}"
        )
    error = float(np.abs(got - wanted).max())
    if not error <= GOLDEN_TOLERANCE:
        raise ModelFolderError(
            f"{path}: the model's {name} differs from the golden one by {error:.3g}, more than {GOLDEN_TOLERANCE:g}; "
            "this machine computes something else than the one that exported it: export the model again"
        )


def _session(path: Path, options: onnxruntime.SessionOptions, providers: Sequence[str]) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # ONNX Runtime has no common base for its errors
        raise ModelFolderError(f"{path} can not be loaded ({error}); export the model again") from error


def _require_signature(
    session: onnxruntime.InferenceSession,
    path: Path,
    inputs: dict[str, tuple[str, Shape]],
    outputs: dict[str, tuple[str, Shape]],
) -> None:
    """Raises ModelFolderError, with all problems, unless the graph has just these inputs, and these outputs."""
    got_inputs = {node.name: (node.type, tuple(node.shape)) for node in session.get_inputs()}
    got_outputs = {node.name: (node.type, tuple(node.shape)) for node in session.get_outputs()}
    problems = [f"unexpected input {name}" for name in got_inputs if name not in inputs]
    for kind, wanted, got in (("input", inputs, got_inputs), ("output", outputs, got_outputs)):
        for name, (dtype, shape) in wanted.items():
            if name not in got:
                problems.append(f"no {kind} {name}")
            elif got[name][0] != dtype or not _fits(got[name][1], shape):
                problems.append(f"{kind} {name} is {got[name][0]} {got[name][1]}, expected {dtype} {shape}")
    if problems:
        raise ModelFolderError(f"{path} does not fit its manifest: {'; '.join(problems)}; export the model again")


def _fits(got: tuple, wanted: Shape) -> bool:
    """Whether a graph's shape allows the wanted one; names stand for any size."""
    if len(got) != len(wanted):
        return False
    return all(not isinstance(a, int) or not isinstance(b, int) or a == b for a, b in zip(got, wanted, strict=True))


def _policy_inputs(manifest: Manifest) -> dict[str, tuple[str, Shape]]:
    spec = manifest.obs_spec
    images = {
        _image_input(image.name): ("tensor(uint8)", ("B", spec.history, image.height, image.width, 3))
        for image in spec.images
    }
    vectors = {
        _vector_input(vector.name): ("tensor(float)", ("B", spec.history, vector.size)) for vector in spec.vectors
    }
    return images | vectors


def _policy_outputs(manifest: Manifest) -> dict[str, tuple[str, Shape]]:
    return {"chunk": ("tensor(float)", ("B", manifest.chunk_length, manifest.latent_size))}


def _decoder_inputs(manifest: Manifest) -> dict[str, tuple[str, Shape]]:
    return {
        "latent": ("tensor(float)", ("B", manifest.latent_size)),
        "state": ("tensor(float)", ("B", manifest.state_spec.size)),
    }


def _decoder_outputs(manifest: Manifest) -> dict[str, tuple[str, Shape]]:
    return {"action": ("tensor(float)", ("B", manifest.action_spec.size))}


def _image_input(name: str) -> str:
    return f"image.{name}"


def _vector_input(name: str) -> str:
    return f"vector.{name}"


def _rows(values: ArrayLike, size: int, what: str) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != size:
        raise SpecError(f"a {what} has {size} numbers in this model, not shape {array.shape[1:]}")
    if not np.all(np.isfinite(array)):
        raise ObservationError(f"the {what} is not finite; nothing is decoded from it")
    return array


def _checked(output: object, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    array = np.asarray(output, dtype=np.float32)
    if array.shape != shape:
        raise SpecError(f"the model gave a {what} of shape {array.shape}; its manifest says {shape}")
    if not np.all(np.isfinite(array)):
        raise ObservationError(f"the model gave a {what} that is not finite; look at its inputs")
    return array
