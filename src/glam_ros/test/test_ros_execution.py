"""Latents become commands: decoded once with the live state, repeated, held, never from another episode or model."""

from __future__ import annotations

import numpy as np
import pytest

from glam_core.errors import ObservationError, SpecError, StaleObservationError
from glam_core.pose import tool_down
from glam_core.spec import ActionSpec
from glam_core.tool import ToolState
from glam_ros.execution import LatentExecution, require_arms
from glam_ros.records import MeasuredTool, PlannedChunk

STEP_S, TICK_S = 0.1, 0.025


class Decoder:
    """Takes the first five numbers of the latent for the action, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, latent: np.ndarray, state: np.ndarray) -> np.ndarray:
        self.calls += 1
        return latent[:5].astype(np.float32)


def make(decode: Decoder | None = None, hold_s: float = 0.2) -> LatentExecution:
    return LatentExecution(
        decode or Decoder(), ActionSpec(), latent_size=5, period_s=TICK_S, max_state_age_s=0.15, hold_s=hold_s
    )


def tool(stamp: float, x: float = 0.4, arm: str = "arm") -> MeasuredTool:
    return MeasuredTool(arm, stamp, ToolState(tool_down(np.array([x, 0.0, 0.2]), 0.0), 0.0))


def chunk(observed_at: float, length: int = 4, size: int = 5, value: float = 0.01) -> PlannedChunk:
    latents = np.zeros((length, size), np.float32)
    latents[:, 0] = value * np.arange(1, length + 1)
    return PlannedChunk("toy", 0, latents, observed_at, observed_at, STEP_S, 0.01)


def test_nothing_is_commanded_before_the_first_plan() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    assert execution.tick(0.0) is None


def test_a_latent_is_decoded_once_and_its_target_is_repeated() -> None:
    decode = Decoder()
    execution = make(decode)
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    first = execution.tick(0.0)
    execution.add_tool(tool(0.02, x=0.405))
    second = execution.tick(TICK_S)
    assert decode.calls == 1
    assert first.new_step
    assert not second.new_step
    assert second.decode_s == 0.0
    np.testing.assert_allclose(second.commands["arm"].T_base_tool, first.commands["arm"].T_base_tool)
    assert first.commands["arm"].T_base_tool[0, 3] == pytest.approx(0.41)
    assert second.due_at == first.due_at


def test_a_command_is_due_at_the_end_of_its_step() -> None:
    """However early or late it is decoded: what passes on the way to the arm must not slow it."""
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    assert execution.tick(0.0).due_at == pytest.approx(STEP_S)
    execution.add_tool(tool(STEP_S - TICK_S))
    assert execution.tick(STEP_S - TICK_S).due_at == pytest.approx(2 * STEP_S)


def test_a_latent_is_decoded_with_the_tool_where_it_will_be_by_then() -> None:
    """A tick before a goal is due, a quarter of the way is left; when it is due, an eighth."""
    execution = make()
    execution.add_tool(tool(0.0, x=0.40))
    execution.add_chunk(chunk(0.0), 0.0)
    goal = execution.tick(0.0).commands["arm"].T_base_tool[0, 3]
    assert goal == pytest.approx(0.41)
    now = STEP_S - TICK_S
    execution.add_tool(tool(now, x=goal - 0.01 / 4))
    ahead = execution.tick(now)
    assert ahead.new_step
    assert ahead.commands["arm"].T_base_tool[0, 3] == pytest.approx(goal - 0.01 / 8 + 0.02)


@pytest.mark.parametrize(("now", "new"), [(STEP_S - 1.6 * TICK_S, False), (STEP_S - 1.4 * TICK_S, True)])
def test_a_step_is_decoded_at_the_tick_nearest_to_one_before_its_boundary(now: float, new: bool) -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    execution.tick(0.0)
    execution.add_tool(tool(now))
    assert execution.tick(now).new_step is new


def test_the_next_latent_is_decoded_with_the_tool_as_it_is_then() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    execution.tick(0.0)
    execution.add_tool(tool(STEP_S, x=0.5))
    assert execution.tick(STEP_S).commands["arm"].T_base_tool[0, 3] == pytest.approx(0.52, abs=1e-6)


def test_when_plans_run_out_the_measured_pose_is_held_and_then_there_is_silence() -> None:
    execution = make(hold_s=0.2)
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0, length=2), 0.0)
    execution.add_tool(tool(0.2, x=0.45))
    held = execution.tick(0.2)
    assert held.hold
    assert held.commands["arm"].T_base_tool[0, 3] == pytest.approx(0.45)
    execution.add_tool(tool(0.3, x=0.46))
    held = execution.tick(0.3)
    assert held.commands["arm"].T_base_tool[0, 3] == pytest.approx(0.45), "a hold does not follow a drift"
    execution.add_tool(tool(0.5))
    assert execution.tick(0.5) is None


def test_halted_the_tool_is_held_until_a_new_plan_comes() -> None:
    execution = make()
    execution.halt()
    execution.add_tool(tool(0.0))
    assert execution.tick(0.0) is None, "there was nothing to hold from"
    execution.add_chunk(chunk(0.0), 0.0)
    assert not execution.tick(0.0).hold
    execution.halt()
    execution.add_tool(tool(0.05, x=0.45))
    held = execution.tick(0.05)
    assert held.hold
    assert held.commands["arm"].T_base_tool[0, 3] == pytest.approx(0.45)
    execution.add_chunk(chunk(0.06), 0.06)
    execution.add_tool(tool(0.07))
    assert not execution.tick(0.07).hold


def test_a_hold_keeps_the_last_grip() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    gripping = np.zeros((1, 5), np.float32)
    gripping[:, 4] = 1.0
    execution.add_chunk(PlannedChunk("toy", 0, gripping, 0.0, 0.0, STEP_S, 0.01), 0.0)
    assert execution.tick(0.0).commands["arm"].gripper == 1.0
    held = execution.tick(STEP_S)
    assert held.hold
    assert held.commands["arm"].gripper == 1.0


def test_a_new_plan_ends_a_hold() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0, length=1), 0.0)
    execution.add_tool(tool(0.1))
    assert execution.tick(0.1).hold
    execution.add_chunk(chunk(0.1), 0.12)
    assert not execution.tick(0.125).hold


def test_a_stale_tool_state_ends_the_commands_and_names_arm_and_age() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0, length=8), 0.0)
    with pytest.raises(StaleObservationError, match=r"arm 'arm' is 0\.300 s old; at most 0\.15 s"):
        execution.tick(0.3)


def test_a_missing_tool_state_is_named() -> None:
    execution = make()
    execution.add_chunk(chunk(0.0), 0.0)
    with pytest.raises(StaleObservationError, match="no tool state of arm 'arm'"):
        execution.tick(0.0)


def test_after_a_reset_old_plans_are_gone_and_late_ones_are_refused() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    assert execution.tick(0.0) is not None
    execution.forget(before=0.1)
    execution.add_tool(tool(0.11))
    assert execution.tick(0.11) is None
    with pytest.raises(ObservationError, match=r"0\.050 s before the reset"):
        execution.add_chunk(chunk(0.05), 0.12)
    execution.add_chunk(chunk(0.12), 0.13)
    assert execution.tick(0.13) is not None


@pytest.mark.parametrize("size", [3, 6])
def test_a_chunk_of_another_model_is_refused(size: int) -> None:
    with pytest.raises(SpecError, match=f"{size}"):
        make().add_chunk(chunk(0.0, size=size), 0.0)


def test_a_chunk_with_nan_is_refused_and_the_old_one_goes_on() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    bad = chunk(0.05)
    bad.latents[2, 1] = np.nan
    with pytest.raises(ObservationError, match="not finite from step 2"):
        execution.add_chunk(bad, 0.06)
    assert execution.tick(0.07) is not None


def test_the_gripper_command_stays_within_its_range() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    plan = chunk(0.0)
    plan.latents[:, 4] = 1.02
    execution.add_chunk(plan, 0.0)
    assert execution.tick(0.0).commands["arm"].gripper == 1.0


def test_the_predicted_path_chains_the_remaining_latents() -> None:
    execution = make()
    execution.add_tool(tool(0.0))
    execution.add_chunk(chunk(0.0), 0.0)
    execution.tick(0.15)
    path = [command.T_base_tool[0, 3] for command in execution.predicted_path(0.15)["arm"]]
    np.testing.assert_allclose(path, 0.4 + np.cumsum([0.02, 0.03, 0.04]), atol=1e-6)


def test_two_arms_are_moved_by_one_action() -> None:
    spec = ActionSpec(arms=("left", "right"))
    execution = LatentExecution(
        lambda latent, _state: latent, spec, latent_size=10, period_s=TICK_S, max_state_age_s=0.15, hold_s=0.2
    )
    execution.add_chunk(chunk(0.0, size=10), 0.0)
    execution.add_tool(tool(0.0, x=0.3, arm="left"))
    with pytest.raises(StaleObservationError, match="no tool state of arm 'right'"):
        execution.tick(0.0)
    execution.add_tool(tool(0.0, x=0.5, arm="right"))
    commands = execution.tick(0.0).commands
    assert {arm: command.T_base_tool[0, 3] for arm, command in commands.items()} == {
        "left": pytest.approx(0.31),
        "right": pytest.approx(0.5),
    }


def test_a_tool_of_an_unknown_arm_is_refused() -> None:
    with pytest.raises(SpecError, match="arm 'left', but the model moves arm"):
        make().add_tool(tool(0.0, arm="left"))


def test_a_model_of_other_arms_does_not_fit_the_station() -> None:
    with pytest.raises(SpecError, match="10 numbers, for the arms left, right; the station has the arms arm"):
        require_arms(ActionSpec(arms=("left", "right")), ("arm",))


def test_a_model_with_other_action_components_does_not_fit_the_station() -> None:
    spec = ActionSpec(components=("x", "y", "z", "gripper"), units=("m", "m", "m", "1"))
    with pytest.raises(SpecError, match="4 numbers per arm"):
        require_arms(spec, ("arm",))
