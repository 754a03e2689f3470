"""A station's robot and cameras without a policy, to record on: `ros2 launch glam_ros sim.launch.py task:=lift`."""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction

from glam_ros import graph, launching, resources

ARGUMENTS = {
    "station": (resources.DEFAULT_STATION, "name of a shipped station, or path of a station file"),
    "task": ("", "task of a simulated cell; the station's where it is empty"),
    "seed": ("0", "seed of the first initial state"),
    "embodiment": ("gen3", "what moves: gen3 or umi"),
}


def start(context: LaunchContext) -> list:
    """Reads the arguments and describes the graph."""
    given = launching.values(context, ARGUMENTS)
    place = graph.Place.read(resources.station_file(given["station"]))
    simulation = graph.Simulation(given["task"], int(given["seed"]), given["embodiment"])
    return launching.actions(graph.robot(place, simulation))


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription([*launching.arguments(ARGUMENTS), OpaqueFunction(function=start)])
