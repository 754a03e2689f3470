"""A tiny model folder for tests: a scripted policy as ONNX graphs, exported like a trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from glam_core.manifest import Manifest, write_manifest
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, VectorSpec, robot_state_spec

LENGTH, LATENT_SIZE = 8, 3


def write_toy_model(
    folder: Path,
    cameras: tuple[str, ...] = ("front",),
    vectors: tuple[VectorSpec, ...] = (),
    arms: tuple[str, ...] = ("arm",),
    motion: tuple[float, float, float] = (0.0, 0.0, 0.01),
    execute_length: int = 4,
    task: str = "lift",
    size: int = 24,
) -> Manifest:
    """Writes a latent policy whose latent is the motion of every arm per step (m, base frame), whatever it sees.

    The decoder closes no gripper and turns no tool. The graphs do read their inputs, so a missing one would be noticed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    obs_spec = ObsSpec(images=tuple(ImageSpec(name=name, height=size, width=size) for name in cameras), vectors=vectors)
    state_spec, action_spec = robot_state_spec(arms), ActionSpec(arms=arms)
    chunk = np.tile(np.asarray(motion, np.float32), (LENGTH, 1))
    onnx.save(_policy(obs_spec, chunk), folder / "latent_policy.onnx")
    onnx.save(_decoder(state_spec.size, len(arms)), folder / "action_decoder.onnx")
    batch = 4
    random = np.random.default_rng(0)
    golden = {f"image.{name}": random.integers(0, 255, (batch, 1, size, size, 3), np.uint8) for name in cameras}
    golden |= {f"vector.{spec.name}": random.normal(size=(batch, 1, spec.size)).astype(np.float32) for spec in vectors}
    latent = random.normal(size=(batch, LATENT_SIZE)).astype(np.float32)
    action = np.tile(np.concatenate([latent, np.zeros((batch, 2), np.float32)], axis=1), (1, len(arms)))
    np.savez(
        folder / "golden.npz",
        **golden,
        chunk=np.tile(chunk, (batch, 1, 1)),
        latent=latent,
        state=random.normal(size=(batch, state_spec.size)).astype(np.float32),
        action=action,
    )
    (folder / "card.md").write_text("# A scripted policy for tests\n", encoding="utf-8")
    return write_manifest(
        folder,
        Manifest(
            kind="latent_policy",
            method="scripted",
            task=task,
            embodiment="gen3",
            obs_spec=obs_spec,
            action_spec=action_spec,
            state_spec=state_spec,
            latent_size=LATENT_SIZE,
            chunk_length=LENGTH,
            execute_length=execute_length,
        ),
    )


def _policy(spec: ObsSpec, chunk: np.ndarray) -> onnx.ModelProto:
    """`chunk + 0 * mean(inputs)`."""
    inputs, nodes, terms = [], [], []
    shapes = {}
    for image in spec.images:
        shapes[f"image.{image.name}"] = (TensorProto.UINT8, ["B", spec.history, image.height, image.width, 3])
    for vector in spec.vectors:
        shapes[f"vector.{vector.name}"] = (TensorProto.FLOAT, ["B", spec.history, vector.size])
    for number, (name, (kind, shape)) in enumerate(shapes.items()):
        inputs.append(helper.make_tensor_value_info(name, kind, shape))
        nodes += [
            helper.make_node("Cast", [name], [f"float{number}"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", [f"float{number}"], [f"flat{number}"], axis=1),
            helper.make_node("ReduceMean", [f"flat{number}", "axes"], [f"mean{number}"], keepdims=1),
        ]
        terms.append(f"mean{number}")
    nodes += [
        helper.make_node("Sum", terms, ["sum"]),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "axes"], ["nothing3"]),
        helper.make_node("Add", ["plan", "nothing3"], ["chunk"]),
    ]
    constants = {"axes": np.array([1], np.int64), "zero": np.zeros((1, 1), np.float32), "plan": chunk[None]}
    return _model(nodes, inputs, "chunk", ["B", *chunk.shape], constants)


def _decoder(state_size: int, arms: int) -> onnx.ModelProto:
    """Per arm: the latent, no turn, an open gripper, and `0 * state`."""
    take = np.zeros((LATENT_SIZE, 5 * arms), np.float32)
    for arm in range(arms):
        take[:, 5 * arm : 5 * arm + 3] = np.eye(3)
    nodes = [
        helper.make_node("MatMul", ["latent", "take"], ["moves"]),
        helper.make_node("MatMul", ["state", "ignore"], ["nothing"]),
        helper.make_node("Add", ["moves", "nothing"], ["action"]),
    ]
    inputs = [
        helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["B", LATENT_SIZE]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, ["B", state_size]),
    ]
    constants = {"take": take, "ignore": np.zeros((state_size, 5 * arms), np.float32)}
    return _model(nodes, inputs, "action", ["B", 5 * arms], constants)


def _model(nodes: list, inputs: list, output: str, shape: list, constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "scripted", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
