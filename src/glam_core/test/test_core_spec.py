"""Specs: JSON round trips, look-ups, and errors that name the fault."""

import pytest

from glam_core.errors import SpecError, closest
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec, VectorSpec, robot_state_spec


@pytest.fixture
def obs_spec():
    cameras = tuple(ImageSpec(name=name, height=96, width=128) for name in ("front", "side"))
    return ObsSpec(images=cameras, vectors=(robot_state_spec(("left", "right")),), rate_hz=10, history=2)


def test_specs_survive_json(obs_spec):
    assert ObsSpec.model_validate_json(obs_spec.model_dump_json()) == obs_spec
    action_spec = ActionSpec(arms=("left", "right"))
    assert ActionSpec.model_validate_json(action_spec.model_dump_json()) == action_spec


def test_sizes_follow_the_arms():
    assert ActionSpec().size == 5
    assert ActionSpec(arms=("left", "right")).size == 10
    assert ActionSpec().step_s == pytest.approx(0.1)
    state = robot_state_spec(("left", "right"))
    assert state.size == 20
    assert state.components[0] == "left.x"
    assert state.components[19] == "right.gripper"
    assert len(state.units) == 20


def test_streams_are_found_by_name(obs_spec):
    assert obs_spec.image("side").width == 128
    assert obs_spec.vector("state").size == 20


def test_an_unknown_stream_lists_the_legal_ones(obs_spec):
    with pytest.raises(SpecError, match=r"unknown camera 'frnt'; legal: front, side; did you mean 'front'\?"):
        obs_spec.image("frnt")
    with pytest.raises(SpecError, match="unknown vector 'scene'; legal: state"):
        obs_spec.vector("scene")


def test_specs_are_frozen(obs_spec):
    with pytest.raises(ValueError, match="frozen"):
        obs_spec.history = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageSpec(name="front", height=0, width=96), "height: .*greater than 0"),
        (lambda: ImageSpec(name="", height=96, width=96), "name"),
        (lambda: ImageSpec(name="front", height=96, width=96, heigth=1), "unknown key 'heigth'.*did you mean 'height'"),
        (lambda: ImageSpec(name="front", height=96), "width is missing"),
        (lambda: VectorSpec(name="state", components=("x", "y"), units=("m",)), "2 components but 1 units"),
        (lambda: VectorSpec(name="state", components=("x", "x"), units=("m", "m")), "repeated: x"),
        (lambda: VectorSpec(name="state", components=(), units=()), "components"),
        (lambda: ObsSpec(images=(ImageSpec(name="front", height=1, width=1),) * 2), "cameras .* repeated: front"),
        (lambda: ObsSpec(history=0), "history"),
        (lambda: ObsSpec(rate_hz=float("nan")), "rate_hz"),
        (lambda: ActionSpec(arms=()), "arms"),
        (lambda: ActionSpec(arms=("arm", "arm")), "repeated: arm"),
        (lambda: ActionSpec(components=("x", "y")), "2 components but 5 units"),
        (lambda: ObsSpec.model_validate({"images": [{"name": "front", "hieght": 1}]}), "in images.0"),
        (lambda: ObsSpec.model_validate_json("{"), "JSON"),
    ],
)
def test_bad_specs_say_what_is_wrong(make, message):
    with pytest.raises(SpecError, match=message):
        make()


def test_all_faults_are_listed_at_once():
    with pytest.raises(SpecError, match=r"height.*width"):
        ImageSpec(name="front", height=-1, width=0)


def test_closest_suggests_only_what_is_close():
    assert closest("lfit", ["lift", "stack_two"], "task") == (
        "unknown task 'lfit'; legal: lift, stack_two; did you mean 'lift'?"
    )
    assert closest("pour", ["lift"], "task") == "unknown task 'pour'; legal: lift"
    assert closest("pour", [], "task") == "unknown task 'pour'; legal: (none)"
