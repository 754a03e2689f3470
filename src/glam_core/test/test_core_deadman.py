"""The deadman switch."""

import math

import pytest

from glam_core.deadman import Deadman
from glam_core.errors import SafetyError


def test_a_switch_that_is_not_demanded_is_never_in_the_way():
    assert Deadman(False, 0.1).released(1.0) == ""


def test_commands_count_only_while_it_is_held_and_heard():
    switch = Deadman(True, 0.1)
    assert "not been heard" in switch.released(0.0)
    switch.hear(True, 1.0)
    assert switch.released(1.0) == switch.released(1.099) == ""
    assert "silent for 0.100 s" in switch.released(1.1)
    assert switch.released(math.nan) != ""
    switch.hear(True, 2.0)
    switch.hear(False, 2.01)
    assert "is released" in switch.released(2.02)


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.nan, math.inf])
def test_a_timeout_is_a_positive_number(timeout):
    with pytest.raises(SafetyError, match="positive"):
        Deadman(True, timeout)
