"""Keys to commands, without a terminal and without ROS."""

from __future__ import annotations

import os
import pty

import numpy as np
import pytest

from glam_core.errors import ConfigurationError
from glam_core.pose import tool_down, yaw_of
from glam_core.tool import ToolState
from glam_ros.keyboard import KEYS, SPEED_M_S, Deed, Move, Steps, Teleoperation, Terminal, key_map, meaning

HERE = ToolState(tool_down(np.array([0.5, 0.0, 0.3]), 0.2), 0.0)


def test_without_a_press_the_arm_stays_where_it_was_first_seen() -> None:
    teleoperation = Teleoperation(Steps())
    command = teleoperation.command(HERE)
    np.testing.assert_allclose(command.T_base_tool, HERE.T_base_tool, atol=1e-12)
    pushed = ToolState(tool_down(np.array([0.5, 0.0, 0.29]), 0.2), 0.0)
    np.testing.assert_allclose(teleoperation.command(pushed).T_base_tool, HERE.T_base_tool, atol=1e-12)
    teleoperation.reset()
    np.testing.assert_allclose(teleoperation.command(pushed).T_base_tool, pushed.T_base_tool, atol=1e-12)


@pytest.mark.parametrize("key", [key for key, does in KEYS.items() if isinstance(does, Move) and not does.gripper])
def test_a_press_moves_by_one_step(key: str) -> None:
    move = meaning(key)
    assert isinstance(move, Move)
    teleoperation = Teleoperation(Steps(0.005, 0.05))
    teleoperation.press(move, HERE)
    command = teleoperation.command(HERE)
    shift = command.T_base_tool[:3, 3] - HERE.T_base_tool[:3, 3]
    np.testing.assert_allclose(shift, 0.005 * np.array([move.x, move.y, move.z]), atol=1e-9)
    assert yaw_of(command.T_base_tool) - 0.2 == pytest.approx(0.05 * move.yaw)


def test_the_gripper_changes_sides_and_many_presses_keep_the_speed() -> None:
    teleoperation = Teleoperation(Steps(0.01, 0.1))
    teleoperation.press(Move(gripper=True), HERE)
    assert teleoperation.command(HERE).gripper == 1.0
    teleoperation.press(Move(gripper=True), HERE)
    for _ in range(30):
        teleoperation.press(Move(x=1), HERE)
    command = teleoperation.command(HERE)
    assert command.gripper == 0.0
    assert command.T_base_tool[0, 3] - 0.5 == pytest.approx(0.1 * SPEED_M_S)


def test_an_unknown_key_lists_the_legal_ones() -> None:
    with pytest.raises(
        ConfigurationError, match=r"unknown key 'z'; legal: w, s, a, d, r, f, q, e, g, b, v, m, x, o, \?"
    ):
        meaning("z")
    with pytest.raises(ConfigurationError, match="step_rad is a positive number, not nan"):
        Steps(0.01, float("nan"))


def test_the_key_map_names_every_key() -> None:
    text = key_map(Steps(), moving=True)
    assert all(f"  {key}  " in text for key in KEYS)
    assert "  w  x +\n" in text
    assert "0.01 m" in text
    assert "  w  " not in key_map(Steps(), moving=False)
    assert f"  b  {Deed.START}" in key_map(Steps(), moving=False)


def test_a_terminal_gives_keys_at_once_and_is_left_as_it_was() -> None:
    import termios

    person, program = pty.openpty()
    before = termios.tcgetattr(program)
    with Terminal(program) as terminal:
        assert not terminal.pressed()
        os.write(person, b"wg")
        assert terminal.pressed()
        assert terminal.read() == "wg"
        assert terminal.read() == ""
    assert termios.tcgetattr(program) == before
    os.close(person)
    os.close(program)


def test_a_pipe_that_ends_is_silent() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"b\n")
    os.close(writing)
    with Terminal(reading) as terminal:
        assert terminal.read() == "b"
        assert terminal.read() == ""
        assert not terminal.pressed()
    os.close(reading)
