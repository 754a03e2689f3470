"""A model folder whose policy really lifts the red cube: a rule over the privileged scene vector, as one ONNX graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime

from glam_core.manifest import Manifest, write_manifest
from glam_core.spec import ActionSpec, ObsSpec, VectorSpec, robot_state_spec

SCENE = VectorSpec(
    name="scene",
    components=(
        *(f"arm.{name}" for name in ("x", "y", "z", "cos_yaw", "sin_yaw", "gripper")),
        *(f"red_cube.{name}" for name in ("x", "y", "z", "cos_4yaw", "sin_4yaw")),
    ),
    units=("m", "m", "m", "1", "1", "1", "m", "m", "m", "1", "1"),
)
LENGTH = 4

# Above the cube: go down and close; closed on the cube: go up; anywhere else: go there, at a safe height.
RULE = """
<ir_version: 9, opset_import: ["" : 18]>
lift (float[B,1,11] scene) => (float[B,4,5] chunk)
<float near_m = {0.012}, float safe_z = {0.12}, float up_m = {0.03}, float shut = {0.42}, float gain = {0.5},
 float least = {-0.025}, float most = {0.025}, int64[1] plane = {2},
 int64[2] xy = {0, 1}, int64[1] z = {2}, int64[1] g = {5}, int64[2] cube_xy = {6, 7}, int64[1] cube_z = {8},
 int64[3] repeat = {1, 4, 1}>
{
  tool_xy = Gather <axis = 2> (scene, xy)
  tool_z = Gather <axis = 2> (scene, z)
  gripper = Gather <axis = 2> (scene, g)
  there_xy = Gather <axis = 2> (scene, cube_xy)
  there_z = Gather <axis = 2> (scene, cube_z)
  way_xy = Sub (there_xy, tool_xy)
  distance = ReduceL2 <keepdims = 1> (way_xy, plane)
  above = Less (distance, near_m)
  down = Sub (there_z, tool_z)
  height = Abs (down)
  low = Less (height, near_m)
  at_cube = And (above, low)
  closed = Greater (gripper, shut)
  held = And (at_cube, closed)
  way_up = Sub (safe_z, tool_z)
  way_z_free = Where (above, down, way_up)
  way_z = Where (held, up_m, way_z_free)
  step_xy = Mul (way_xy, gain)
  move_xy = Clip (step_xy, least, most)
  move_z = Clip (way_z, least, most)
  turn = Sub (gripper, gripper)
  grip = Cast <to = 1> (at_cube)
  action = Concat <axis = 2> (move_xy, move_z, turn, grip)
  chunk = Tile (action, repeat)
}
"""


def write_lift_model(folder: Path) -> Manifest:
    """Writes the folder, as an export would."""
    folder.mkdir(parents=True)
    rule = onnx.parser.parse_model(RULE)
    rule.graph.input[0].name = "vector.scene"  # the text format has no dots in names
    for node in rule.graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = "vector.scene" if name == "scene" else name
    onnx.save(rule, folder / "policy.onnx")
    scenes = np.random.default_rng(0).normal(scale=0.1, size=(4, 1, SCENE.size)).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "policy.onnx")
    feed = {"vector.scene": scenes}
    np.savez(folder / "golden.npz", **feed, chunk=session.run(["chunk"], feed)[0])
    manifest = Manifest(
        kind="direct_policy",
        method="rule",
        task="lift",
        embodiment="gen3",
        obs_spec=ObsSpec(vectors=(SCENE,)),
        action_spec=ActionSpec(),
        state_spec=robot_state_spec(),
        latent_size=5,
        chunk_length=LENGTH,
        execute_length=1,
    )
    return write_manifest(folder, manifest)
