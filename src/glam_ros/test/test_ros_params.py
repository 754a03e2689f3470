"""Parameters from a dataclass: ranges hold, types hold, and nothing is clamped in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from glam_core.errors import ConfigurationError
from glam_ros import params
from glam_ros.params import parameter

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class Settings:
    rate_hz: float = parameter(40.0, "control rate, Hz", 1.0, 100.0)
    threads: int = parameter(1, "threads", 1, 4)
    cameras: tuple[str, ...] = parameter((), "names of cameras")
    mode: str = parameter("fast", "speed", choices=("fast", "slow"))
    autostart: bool = parameter(True, "start at once")


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node() -> Iterator[MakeNode]:
    context = Context()
    nodes: list[Node] = []

    def make(*assignments: str) -> Node:
        arguments = ["--ros-args", *(part for each in assignments for part in ("-p", each))]
        rclpy.init(context=context, args=arguments)
        nodes.append(Node("settings", context=context))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_defaults_and_given_values(make_node: MakeNode) -> None:
    node = make_node("rate_hz:=20.5", 'cameras:=["front","side"]')
    params.declare(node, Settings, locked=lambda: False)
    assert params.read(node, Settings) == Settings(rate_hz=20.5, cameras=("front", "side"))


def test_a_whole_number_is_fine_for_a_float(make_node: MakeNode) -> None:
    node = make_node("rate_hz:=20")
    params.declare(node, Settings, locked=lambda: False)
    value = params.read(node, Settings).rate_hz
    assert value == 20.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("rate_hz:=0.5", "rate_hz"),
        ("rate_hz:=200", r"'rate_hz' lies in \[1\.0, 100\.0\], not 200"),
        ("rate_hz:=.nan", "rate_hz"),
        ("rate_hz:=quick", "'rate_hz' is a float, not 'quick'"),
        ("threads:=2.5", "'threads' is a int, not 2.5"),
        ("threads:=9", "threads"),
        ("cameras:=front", "cameras"),
        ("cameras:=[1, 2]", "'cameras' is a list of names"),
        ("mode:=fasst", "did you mean 'fast'"),
        ("autostart:=1", "'autostart' is a bool, not 1"),
    ],
)
def test_bad_values_are_refused_at_start(make_node: MakeNode, assignment: str, message: str) -> None:
    node = make_node(assignment)
    with pytest.raises(ConfigurationError, match=message):
        params.declare(node, Settings, locked=lambda: False)


def test_bad_values_are_refused_later(make_node: MakeNode) -> None:
    node = make_node()
    params.declare(node, Settings, locked=lambda: False)
    assert node.set_parameters([Parameter("threads", value=3)])[0].successful
    refused = node.set_parameters([Parameter("mode", value="slo")])[0]
    assert not refused.successful
    assert "did you mean 'slow'" in refused.reason
    assert params.read(node, Settings) == Settings(threads=3)


def test_changes_without_effect_are_refused(make_node: MakeNode) -> None:
    node = make_node()
    params.declare(node, Settings, locked=lambda: True)
    refused = node.set_parameters([Parameter("threads", value=3)])[0]
    assert not refused.successful
    assert "deactivate and clean up first" in refused.reason


def test_lists_that_belong_together_have_one_length() -> None:
    with pytest.raises(ConfigurationError, match="arms and namespaces have one value each per item, not 2 and 1"):
        params.require_pairs(("left", "right"), ("",), "arms and namespaces")
