"""Tiny model folders for the tests of manifest and runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from glam_core.manifest import Manifest, write_manifest
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, VectorSpec, robot_state_spec

HISTORY, SIDE, SCENE, CHUNK, LATENT, STATE, ACTION = 2, 4, 3, 6, 2, 10, 5


def manifest_of(kind="latent_policy", **changes) -> Manifest:
    """The manifest of the tiny model, before it is written."""
    scene = VectorSpec(name="scene", components=("a", "b", "c"), units=("m", "m", "1"))
    camera = ImageSpec(name="front", height=SIDE, width=SIDE)
    fields = {
        "kind": kind,
        "method": "glam" if kind == "latent_policy" else "mip",
        "task": "lift",
        "embodiment": "gen3",
        "obs_spec": ObsSpec(images=(camera,), vectors=(scene,), history=HISTORY),
        "action_spec": ActionSpec(),
        "state_spec": robot_state_spec(),
        "latent_size": LATENT if kind == "latent_policy" else ACTION,
        "chunk_length": CHUNK,
        "execute_length": 4,
        "statistics": {"state": ([0.0] * 10, [1.0] * 10)},
        "training_ranges": {"gripper": {"low": [0.0], "high": [1.0]}},
        "dataset_fingerprints": {"demos": "abc"},
        "commit": "0" * 40,
        "config": {"seed": 0, "policy": {"width": 8, "name": "π"}},
        "evaluation": {"n": 2, "successes": 1, "interval": [0.1, 0.9], "seeds": [1, 2]},
        "latency": {"policy_median_ms": 1.5},
    }
    return Manifest.model_validate(fields | changes)


def policy_graph(size: int, weight: np.ndarray, image_name: str = "image.front") -> onnx.ModelProto:
    """chunk = reshape(vector.scene W) + mean(image) / 255."""
    inputs = [
        helper.make_tensor_value_info(image_name, TensorProto.UINT8, ["B", HISTORY, SIDE, SIDE, 3]),
        helper.make_tensor_value_info("vector.scene", TensorProto.FLOAT, ["B", HISTORY, SCENE]),
    ]
    outputs = [helper.make_tensor_value_info("chunk", TensorProto.FLOAT, ["B", CHUNK, size])]
    constants = {
        "flat": np.array([-1, HISTORY * SCENE]),
        "flat_image": np.array([-1, HISTORY * SIDE * SIDE * 3]),
        "shape": np.array([-1, CHUNK, size]),
        "last": np.array([1]),
        "scale": np.float32(255.0),
        "weight": weight.astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", [image_name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "flat_image"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "last"], ["mean"], keepdims=1),
        helper.make_node("Div", ["mean", "scale"], ["brightness"]),
        helper.make_node("Reshape", ["vector.scene", "flat"], ["scene"]),
        helper.make_node("MatMul", ["scene", "weight"], ["product"]),
        helper.make_node("Add", ["product", "brightness"], ["sum"]),
        helper.make_node("Reshape", ["sum", "shape"], ["chunk"]),
    ]
    return _model(nodes, inputs, outputs, constants)


def decoder_graph(weight: np.ndarray, latent_size: int = LATENT, action_size: int = ACTION) -> onnx.ModelProto:
    """action = [latent, state] W."""
    inputs = [
        helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["B", latent_size]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, ["B", STATE]),
    ]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["B", action_size])]
    nodes = [
        helper.make_node("Concat", ["latent", "state"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "weight"], ["action"]),
    ]
    return _model(nodes, inputs, outputs, {"weight": weight.astype(np.float32)})


def _model(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def golden_of(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """Golden inputs and the outputs that the graphs of the folder give for them."""
    rng = np.random.default_rng(7)
    golden: dict[str, np.ndarray] = {
        "image.front": rng.integers(0, 256, (4, HISTORY, SIDE, SIDE, 3), np.uint8),
        "vector.scene": rng.normal(size=(4, HISTORY, SCENE)).astype(np.float32),
    }
    policy = "latent_policy.onnx" if kind == "latent_policy" else "policy.onnx"
    golden["chunk"] = np.asarray(onnxruntime.InferenceSession(folder / policy).run(["chunk"], dict(golden))[0])
    if kind == "latent_policy":
        golden["latent"] = golden["chunk"][:, 0]
        golden["state"] = rng.normal(size=(4, STATE)).astype(np.float32)
        feed = {"latent": golden["latent"], "state": golden["state"]}
        session = onnxruntime.InferenceSession(folder / "action_decoder.onnx")
        golden["action"] = np.asarray(session.run(["action"], feed)[0])
    return golden


def build(folder: Path, kind: str) -> Path:
    """Writes a whole model folder."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    if kind == "latent_policy":
        onnx.save(
            policy_graph(LATENT, rng.normal(size=(HISTORY * SCENE, CHUNK * LATENT))), folder / "latent_policy.onnx"
        )
        onnx.save(decoder_graph(rng.normal(size=(LATENT + STATE, ACTION))), folder / "action_decoder.onnx")
    else:
        onnx.save(policy_graph(ACTION, rng.normal(size=(HISTORY * SCENE, CHUNK * ACTION))), folder / "policy.onnx")
    np.savez(folder / "golden.npz", **golden_of(folder, kind))
    (folder / "card.md").write_text("# A tiny model\n")
    write_manifest(folder, manifest_of(kind))
    return folder
