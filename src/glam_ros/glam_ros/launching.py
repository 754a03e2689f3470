"""The graph as actions of launch and launch_ros, for the launch files."""

from __future__ import annotations

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from glam_ros.graph import Graph, Process
from glam_ros.resources import graph_environment


def arguments(described: dict[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Declarations of launch arguments, from name to default and description."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in described.items()
    ]


def values(context: LaunchContext, names: dict[str, tuple[str, str]]) -> dict[str, str]:
    """The values that the launch arguments were given."""
    return {name: LaunchConfiguration(name).perform(context) for name in names}


def actions(graph: Graph) -> list[SetEnvironmentVariable | Node]:
    """What starts the graph's processes; when one of them ends, all of them end."""
    variables = [SetEnvironmentVariable(name, value) for name, value in graph_environment(None, graph.domain).items()]
    return [*variables, *(node(process) for process in graph.processes)]


def node(process: Process) -> Node:
    """The action of one process."""
    parameters = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in process.parameters.items()
        if value != ()
    }
    return Node(
        package=process.package,
        executable=process.executable,
        name=process.name if process.renames else None,
        namespace=process.namespace or None,
        parameters=[parameters] if parameters else None,
        remappings=list(process.remappings) or None,
        prefix=process.interpreter or None,
        output="screen",
        emulate_tty=False,
        on_exit=Shutdown(reason=f"{process.label} ended"),
    )
