"""The manifest, and the check that a model folder is whole."""

import hashlib
import json
import math

import pytest
from tiny_models import manifest_of

from glam_core.errors import ModelFolderError
from glam_core.manifest import read_manifest, verify_folder, write_manifest

FILES = ["latent_policy.onnx", "action_decoder.onnx", "golden.npz", "card.md"]


def rewrite(folder, **changes):
    """Changes the manifest as someone would who also mends its digest."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text()) | changes | {"digest": ""}
    data = {key: value for key, value in data.items() if value is not ...}
    text = json.dumps(data, indent=2)
    path.write_text(text.replace('"digest": ""', f'"digest": "{hashlib.sha256(text.encode()).hexdigest()}"'))


def test_round_trip(latent_folder):
    written = verify_folder(latent_folder)
    assert sorted(written.files) == sorted(FILES)
    assert written == read_manifest(latent_folder)
    before = manifest_of()
    assert written.model_copy(update={"files": {}, "digest": ""}) == before
    assert written.evaluation.success_rate == 0.5


def test_writing_is_deterministic_and_can_be_repeated(latent_folder):
    first = (latent_folder / "manifest.json").read_bytes()
    write_manifest(latent_folder, read_manifest(latent_folder))
    assert (latent_folder / "manifest.json").read_bytes() == first


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_a_flipped_byte_in_any_file_is_found(latent_folder, name, where):
    path = latent_folder / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=f"{name} was altered.*restore it.*export the model again"):
        verify_folder(latent_folder)


def test_a_flipped_byte_anywhere_in_the_manifest_is_found(latent_folder):
    path = latent_folder / "manifest.json"
    original = path.read_bytes()
    for index, position in enumerate(range(0, len(original), 5)):
        content = bytearray(original)
        content[position] ^= (0x01, 0x03, 0x20, 0xFF)[index % 4]
        path.write_bytes(content)
        with pytest.raises(ModelFolderError, match=r"manifest\.json"):
            verify_folder(latent_folder)
    path.write_bytes(original)
    verify_folder(latent_folder)


def test_added_white_space_in_the_manifest_is_found(latent_folder):
    path = latent_folder / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ModelFolderError, match="altered after export"):
        read_manifest(latent_folder)


def test_all_problems_are_listed_at_once(latent_folder):
    (latent_folder / "card.md").write_text("another card")
    (latent_folder / "golden.npz").unlink()
    (latent_folder / "notes.txt").write_text("hello")
    with pytest.raises(ModelFolderError) as caught:
        verify_folder(latent_folder)
    for part in ("notes.txt is not named", "card.md was altered", "golden.npz is missing", str(latent_folder)):
        assert part in str(caught.value)


def test_extra_files_are_welcome_when_they_are_named(latent_folder):
    (latent_folder / "plots").mkdir()
    (latent_folder / "plots" / "loss.svg").write_text("<svg/>")
    write_manifest(latent_folder, manifest_of())
    assert "plots/loss.svg" in verify_folder(latent_folder).files


def test_a_folder_without_its_networks_is_refused(tmp_path):
    (tmp_path / "policy.onnx").write_bytes(b"x")
    write_manifest(tmp_path, manifest_of())
    with pytest.raises(ModelFolderError, match=r"latent_policy\.onnx is not part of the export.*every latent_policy"):
        verify_folder(tmp_path)


def test_a_missing_manifest_or_folder_is_named(tmp_path):
    with pytest.raises(ModelFolderError, match=r"manifest\.json is missing; export the model again"):
        verify_folder(tmp_path)
    with pytest.raises(ModelFolderError, match=r"there is no model folder .*nothing"):
        verify_folder(tmp_path / "nothing")
    with pytest.raises(ModelFolderError, match="is not a folder"):
        write_manifest(tmp_path / "nothing", manifest_of())


def test_a_newer_manifest_asks_for_an_update(latent_folder):
    rewrite(latent_folder, schema_version=2, new_field=True)
    with pytest.raises(ModelFolderError, match="schema version 2; this GLAM reads up to 1: update GLAM"):
        read_manifest(latent_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mehtod": "glam"}, "unknown key 'mehtod'.*did you mean 'method'"),
        ({"task": ...}, "task is missing"),
        ({"kind": "world_model"}, "kind"),
        ({"files": {"../escape": "0" * 64}}, "not a plain path"),
        ({"files": {"card.md": "short"}}, "files.card.md"),
        ({"execute_length": 9}, "execute_length 9 is above chunk_length 6"),
        ({"schema_version": 0}, "schema_version"),
    ],
)
def test_invalid_manifests_say_what_is_wrong(latent_folder, changes, message):
    rewrite(latent_folder, **changes)
    with pytest.raises(ModelFolderError, match=f"manifest.json is not valid: .*{message}"):
        read_manifest(latent_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"{}"])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "direct_policy", "latent_size": 2}, "a direct policy has latent_size 5, the action's, not 2"),
        ({"latent_size": 0}, "latent_size"),
        ({"evaluation": {"n": 2, "successes": 3, "interval": [0, 1], "seeds": [1, 2]}}, "3 successes of 2 episodes"),
        ({"training_ranges": {"x": {"low": [1.0], "high": [0.0]}}}, "low <= high"),
        ({"statistics": {"state": ([0.0], [math.nan])}}, "statistics.state.std"),
        ({"latency": {"policy_median_ms": math.inf}}, "latency"),
    ],
)
def test_contradictory_manifests_can_not_be_made(changes, message):
    with pytest.raises(ModelFolderError, match=message):
        manifest_of(**changes)
