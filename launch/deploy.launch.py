"""The whole graph of a station with a model: `ros2 launch glam_ros deploy.launch.py model:=NAME station:=NAME`."""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction

from glam_ros import choice, graph, launching

ARGUMENTS = {
    "model": ("", "name of a shipped model, or path of a model folder; by default the one of `glam demo`"),
    "station": (
        "",
        "name of a shipped station, or path of a station file; by default the simulated cell with the model's arms",
    ),
    "task": ("", "task of a simulated cell; the model's where it is empty"),
    "seed": ("0", "seed of the first initial state of a simulated cell"),
}


def start(context: LaunchContext) -> list:
    """Reads the arguments and describes the graph."""
    given = launching.values(context, ARGUMENTS)
    folder = choice.model_folder(given["model"])
    place = graph.Place.read(choice.station_file(given["station"], folder))
    simulation = graph.Simulation(given["task"], int(given["seed"]))
    return launching.actions(graph.deployment(place, folder, simulation))


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription([*launching.arguments(ARGUMENTS), OpaqueFunction(function=start)])
