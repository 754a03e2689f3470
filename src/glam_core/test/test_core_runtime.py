"""Loading and running exported models."""

import numpy as np
import onnx
import pytest
from tiny_models import ACTION, CHUNK, HISTORY, LATENT, SCENE, SIDE, STATE, decoder_graph, manifest_of, policy_graph

from glam_core.agent import Agent
from glam_core.errors import ConfigurationError, ModelFolderError, ObservationError, SpecError
from glam_core.manifest import write_manifest
from glam_core.observation import Observation
from glam_core.pose import tool_down
from glam_core.runtime import load_model
from glam_core.tool import ToolState


def observation(seed=0, **changes):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (HISTORY, SIDE, SIDE, 3), np.uint8)
    scene = rng.normal(size=(HISTORY, SCENE)).astype(np.float32)
    return Observation(**({"stamp": 0.0, "images": {"front": image}, "vectors": {"scene": scene}} | changes))


def seal(folder, kind="latent_policy", **changes):
    write_manifest(folder, manifest_of(kind, **changes))


def test_a_latent_policy_predicts_and_decodes(latent_folder):
    model = load_model(latent_folder)
    assert model.manifest.task == "lift"
    assert model.provider == "CPUExecutionProvider"
    chunk = model.predict(observation())
    assert (chunk.shape, chunk.dtype) == ((CHUNK, LATENT), np.float32)
    action = model.decode(chunk[0], np.zeros(STATE, np.float32))
    assert (action.shape, action.dtype) == ((ACTION,), np.float32)


def test_a_batch_is_the_same_as_one_by_one(latent_folder):
    model = load_model(latent_folder, intra_op_threads=2)
    observations = [observation(seed) for seed in range(3)]
    batch = model.predict_batch(observations)
    np.testing.assert_allclose(batch, [model.predict(each) for each in observations], atol=1e-5)
    states = np.random.default_rng(0).normal(size=(3, STATE))
    actions = model.decode_batch(batch[:, 0], states)
    one_by_one = [model.decode(chunk[0], state) for chunk, state in zip(batch, states, strict=True)]
    np.testing.assert_allclose(actions, one_by_one, atol=1e-5)


def test_a_direct_policy_decodes_to_its_own_actions(direct_folder):
    model = load_model(direct_folder)
    chunk = model.predict(observation())
    assert chunk.shape == (CHUNK, ACTION)
    np.testing.assert_array_equal(model.decode(chunk[2], np.zeros(STATE)), chunk[2])


def test_a_model_drives_an_agent(latent_folder):
    model = load_model(latent_folder)
    manifest = model.manifest
    agent = Agent(model.predict, model.decode, manifest.action_spec, manifest.chunk_length, manifest.execute_length)
    result = agent.act(observation(), {"arm": ToolState(tool_down([0.4, 0, 0.2], 0), 0.0)}, 0.0)
    assert result.replanned
    assert not result.held


def test_an_altered_file_is_refused(latent_folder):
    path = latent_folder / "latent_policy.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"latent_policy\.onnx was altered"):
        load_model(latent_folder)


def test_other_weights_fail_the_self_test(latent_folder):
    onnx.save(decoder_graph(np.ones((LATENT + STATE, ACTION))), latent_folder / "action_decoder.onnx")
    seal(latent_folder)
    with pytest.raises(ModelFolderError, match="the model's action differs from the golden one by"):
        load_model(latent_folder)


@pytest.mark.parametrize(("difference", "passes"), [(0.8e-4, True), (1.5e-4, False), (np.nan, False)])
def test_the_tolerance_of_the_self_test(latent_folder, difference, passes):
    golden = dict(np.load(latent_folder / "golden.npz"))
    golden["chunk"][1, 2, 1] += np.float32(difference)
    np.savez(latent_folder / "golden.npz", **golden)
    seal(latent_folder)
    if passes:
        load_model(latent_folder)
    else:
        with pytest.raises(ModelFolderError, match="the model's chunk differs from the golden one"):
            load_model(latent_folder)


def test_golden_files_that_do_not_fit_are_refused(latent_folder):
    golden = dict(np.load(latent_folder / "golden.npz"))
    for changed, message in (
        ({key: value for key, value in golden.items() if key not in ("state", "chunk")}, "lacks chunk, state"),
        (golden | {"chunk": golden["chunk"][:, :3]}, "golden one has"),
        (golden | {"vector.scene": golden["vector.scene"].astype(np.float64)}, "can not be run"),
    ):
        np.savez(latent_folder / "golden.npz", **changed)
        seal(latent_folder)
        with pytest.raises(ModelFolderError, match=message):
            load_model(latent_folder)
    for content in (b"no archive", b""):
        (latent_folder / "golden.npz").write_bytes(content)
        seal(latent_folder)
        with pytest.raises(ModelFolderError, match="can not be read"):
            load_model(latent_folder)


def test_golden_files_can_not_run_code(latent_folder):
    np.savez(latent_folder / "golden.npz", chunk=np.array([{"a": 1}], dtype=object))
    seal(latent_folder)
    with pytest.raises(ModelFolderError, match=r"golden\.npz can not be read"):
        load_model(latent_folder)


def test_a_model_of_another_action_size_is_refused(latent_folder):
    onnx.save(decoder_graph(np.ones((LATENT + STATE, 7)), action_size=7), latent_folder / "action_decoder.onnx")
    seal(latent_folder)
    with pytest.raises(ModelFolderError, match=r"output action is tensor\(float\) \('B', 7\), expected .* \('B', 5\)"):
        load_model(latent_folder)


def test_a_misspelt_camera_is_refused(latent_folder):
    weight = np.ones((HISTORY * SCENE, CHUNK * LATENT))
    onnx.save(policy_graph(LATENT, weight, image_name="image.frnt"), latent_folder / "latent_policy.onnx")
    seal(latent_folder)
    with pytest.raises(ModelFolderError, match=r"unexpected input image\.frnt; no input image\.front"):
        load_model(latent_folder)


def test_what_is_no_network_is_refused(latent_folder):
    (latent_folder / "latent_policy.onnx").write_bytes(b"not a network")
    seal(latent_folder)
    with pytest.raises(ModelFolderError, match=r"latent_policy\.onnx can not be loaded"):
        load_model(latent_folder)


def test_bad_settings_are_refused(latent_folder):
    with pytest.raises(ConfigurationError, match="intra_op_threads must be at least 1, not 0"):
        load_model(latent_folder, intra_op_threads=0)
    with pytest.raises(ConfigurationError, match=r"unknown ONNX Runtime provider 'TpuExecutionProvider'; legal: .*CPU"):
        load_model(latent_folder, providers=["TpuExecutionProvider"])


def test_bad_observations_are_refused(latent_folder):
    model = load_model(latent_folder)
    good = observation()
    with pytest.raises(ObservationError, match=r"the model needs the camera 'front'; .*legal: frnt; did you mean"):
        model.predict(observation(images={"frnt": good.images["front"]}))
    with pytest.raises(ObservationError, match=r"camera 'front' is uint8 \(2, 4, 5, 3\)"):
        model.predict(observation(images={"front": np.zeros((HISTORY, SIDE, SIDE + 1, 3), np.uint8)}))
    with pytest.raises(ObservationError, match="vector 'scene' is not finite in a, b, c"):
        model.predict(observation(vectors={"scene": np.full((HISTORY, SCENE), np.nan, np.float32)}))
    with pytest.raises(ObservationError, match="at least one"):
        model.predict_batch([])


def test_bad_latents_and_states_are_refused(latent_folder, direct_folder):
    model = load_model(latent_folder)
    with pytest.raises(SpecError, match=r"a latent has 2 numbers in this model, not shape \(5,\)"):
        model.decode(np.zeros(5), np.zeros(STATE))
    with pytest.raises(SpecError, match="a robot state has 10 numbers"):
        model.decode(np.zeros(LATENT), np.zeros(20))
    with pytest.raises(ObservationError, match="the latent is not finite"):
        model.decode([np.nan, 0.0], np.zeros(STATE))
    with pytest.raises(SpecError, match="2 latents came with 1 robot states"):
        model.decode_batch(np.zeros((2, LATENT)), np.zeros((1, STATE)))
    with pytest.raises(ObservationError, match="the latent is not finite"):
        load_model(direct_folder).decode(np.full(ACTION, np.inf), np.zeros(STATE))


def test_a_chunk_that_is_not_finite_is_refused(latent_folder):
    model = load_model(latent_folder)
    with pytest.raises(ObservationError, match="chunk that is not finite"):
        model.predict(observation(vectors={"scene": np.full((HISTORY, SCENE), 3e38, np.float32)}))
