"""The scripted expert as a node: demonstrates in a simulated cell, through the same topics as a policy.

It drives all arms of the station, sees the privileged scene vector, decides once per camera frame and sends its
decisions at the control rate.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import SetBool

from glam_core.errors import ConfigurationError, closest
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.station import load_station
from glam_core.tool import ToolCommand
from glam_msgs.msg import EpisodeStatus
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_sim.experts import Expert
from glam_sim.model import EMBODIMENTS
from glam_sim.scene import SeenScene, scene_from_vector
from glam_sim.tasks import TASKS
from kinova_driver import messages
from kinova_driver.params import declare, parameter
from kinova_driver.process import run

_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True)
class ExpertParameters:
    """Parameters of the expert."""

    station: str = parameter("", "path of the station file")
    embodiment: str = parameter("gen3", f"what moves: {' or '.join(EMBODIMENTS)}")


def seen_scene(values: NDArray[np.float32], task: str, arms: tuple[str, ...]) -> SeenScene:
    """The scene that a scene vector `(D,)` of a task describes.

    Raises:
        ConfigurationError: The task is unknown, is for other arms, or its scenes have another size.
    """
    if task not in TASKS:
        raise ConfigurationError(closest(task, TASKS, "task"))
    if TASKS[task].layout.arm_names != arms:
        wanted = ", ".join(TASKS[task].layout.arm_names)
        raise ConfigurationError(f"the task '{task}' is for the arms {wanted}; the station has {', '.join(arms)}")
    return scene_from_vector(values, TASKS[task])


class ExpertNode(Node):
    """Demonstrates while `~/drive` says so, in the manner that the episode's seed decides."""

    def __init__(self) -> None:
        super().__init__("expert")
        settings = declare(self, ExpertParameters)
        if not settings.station:
            raise ConfigurationError("the parameter 'station' is empty; give the path of a station file")
        station = load_station(settings.station)
        simulated = [camera for camera in station.cameras if camera.simulated]
        if not simulated:
            raise ConfigurationError(
                f"the expert decides at the pace of a simulated camera; the station '{station.name}' has none"
            )
        self._arms, self._embodiment = {arm.name: arm for arm in station.arms}, settings.embodiment
        self._patience_s = min(station.limits(arm).stop_timeout_s for arm in self._arms)
        if self._embodiment not in EMBODIMENTS:
            raise ConfigurationError(closest(self._embodiment, EMBODIMENTS, "embodiment"))
        self._driving = False
        self._expert: Expert | None = None
        self._task = ""
        self._status: EpisodeStatus | None = None
        self._scene: NDArray[np.float32] | None = None
        self._decision: dict[str, ToolCommand] = {}
        self._observed_at = 0.0
        self._sequence = 0
        self._commands = {
            name: self.create_publisher(
                ToolCommandMessage, f"{arm.namespace}/command", 5, event_callbacks=messages.NO_EVENTS
            )
            for name, arm in self._arms.items()
        }
        # Only what is newest counts, so that nothing of an episode that is over can be taken for the one that begins.
        self.create_subscription(EpisodeStatus, "episode_status", self._on_status, _NEWEST)
        self.create_subscription(Float32MultiArray, "scene", self._on_scene, _NEWEST)
        pace = f"{simulated[0].topic.rpartition('/')[0]}/camera_info"
        self.create_subscription(CameraInfo, pace, self._on_frame, qos_profile_sensor_data)
        self.create_service(SetBool, "~/drive", self._on_drive)
        self.create_timer(1.0 / station.rates.control_hz, self._send)

    def _on_drive(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Begins to demonstrate the episode that is announced next, or ceases."""
        self._driving = request.data
        self._expert = self._status = self._scene = None
        self._decision = {}
        response.success = True
        return response

    def _on_status(self, message: EpisodeStatus) -> None:
        self._status = message

    def _on_scene(self, message: Float32MultiArray) -> None:
        self._scene = np.array(message.data, np.float32)

    def _on_frame(self, message: CameraInfo) -> None:
        if not self._driving or self._status is None or self._scene is None:
            return
        task, seed = self._status.task, self._status.seed
        try:
            scene = seen_scene(self._scene, task, tuple(self._arms))
        except ConfigurationError as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        if self._expert is None:
            self._expert = Expert(task, self._embodiment, seed)
            self._expert.reset(scene)
            self.get_logger().info(f"demonstrates {task}, seed {seed}")
        self._observed_at = messages.monotonic_from_stamp(message.header.stamp)
        self._decision = self._expert.act(scene, self._observed_at)
        self._send()

    def _send(self) -> None:
        """Sends the decision, for as long as the driver would wait for the next one."""
        now = time.monotonic()
        if now - self._observed_at > self._patience_s:
            return
        for name, decision in self._decision.items():
            namespace = self._arms[name].namespace
            message = ToolCommandMessage(
                arm=name,
                sequence=self._sequence,
                pose=messages.pose_message(decision.T_base_tool),
                gripper=decision.gripper,
            )
            message.header.stamp = messages.stamp_from_monotonic(now)
            message.header.frame_id = "/".join(part for part in (namespace.strip("/"), "base_link") if part)
            message.observed_at = messages.stamp_from_monotonic(self._observed_at)
            message.due = messages.stamp_from_monotonic(self._observed_at + COMMAND_STEP_S)
            message.expires = messages.stamp_from_monotonic(now + self._patience_s)
            self._commands[name].publish(message)
        self._sequence += 1


def main() -> None:
    """Runs the expert until it is told to end."""

    def build(stack: ExitStack) -> list[Node]:
        node = ExpertNode()
        stack.callback(node.destroy_node)
        return [node]

    sys.exit(run(build))
