"""The keyboard's commands on the wire: decided once per camera frame, sent at the control rate."""

from __future__ import annotations

import time

from rclpy.node import Node

from glam_core.errors import ConfigurationError
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.station import Station
from glam_core.tool import ToolCommand
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_ros import convert, qos, topics
from glam_ros.episodes import EpisodeRecorder
from glam_ros.keyboard import Move, Steps, Teleoperation
from glam_ros.records import IssuedCommand


class TeleopDriver:
    """Moves a station's one arm as keys say, from `begin` on."""

    def __init__(self, node: Node, station: Station, episodes: EpisodeRecorder, steps: Steps) -> None:
        """Publishes nothing yet.

        Args:
            node: The node to publish with.
            station: Of one arm, with a camera to keep pace with.
            episodes: Gives measurements and the pace.
            steps: How far a press goes.

        Raises:
            ConfigurationError: The station has several arms, or no camera.
        """
        if len(station.arms) != 1 or not episodes.cameras:
            raise ConfigurationError(
                f"the keyboard drives one arm, at the pace of a camera; the station '{station.name}' has "
                f"{len(station.arms)} arms, and {len(episodes.cameras)} cameras are recorded"
            )
        self._arm, self._episodes = station.arms[0], episodes
        self._patience_s = station.limits(self._arm.name).stop_timeout_s
        self._teleoperation = Teleoperation(steps)
        self._active = False
        self._decision: ToolCommand | None = None
        self._observed_at = 0.0
        self._sequence = 0
        command = topics.of_arm(self._arm.namespace, topics.COMMAND)
        self._commands = node.create_publisher(ToolCommandMessage, command, qos.COMMANDS)
        node.create_timer(1.0 / station.rates.control_hz, self._send)
        episodes.on_frame = self._on_frame

    def begin(self) -> None:
        """The arm is to stay where it is until a key is pressed."""
        self._teleoperation.reset()
        self._decision, self._active = None, True

    def press(self, move: Move) -> None:
        """Shifts the target; raises DataError where the tool has not been measured yet."""
        self._teleoperation.press(move, self._episodes.tool(self._arm.name, self._arm.namespace))

    def _on_frame(self, stamp: float) -> None:
        if self._active:
            tool = self._episodes.tool(self._arm.name, self._arm.namespace)
            self._decision, self._observed_at = self._teleoperation.command(tool), stamp
            self._send()

    def _send(self) -> None:
        """Sends the decision, for as long as the driver would wait for the next one."""
        now = time.time()
        if self._decision is None or now - self._observed_at > self._patience_s:
            return
        issued = IssuedCommand(
            arm=self._arm.name,
            sequence=self._sequence,
            command=self._decision,
            issued_at=now,
            observed_at=self._observed_at,
            due_at=self._observed_at + COMMAND_STEP_S,
            expires_at=now + self._patience_s,
            hold=False,
            decode_s=0.0,
        )
        self._commands.publish(convert.command_message(issued, topics.base_frame(self._arm.namespace)))
        self._sequence += 1
