"""The recorder's side of the graph: a station's topics into episode files, and the services that begin and end them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from glam_core.errors import ConfigurationError, DataError, GlamError, closest
from glam_core.spec import ActionSpec, ImageSpec, ObsSpec
from glam_core.station import Station
from glam_core.tool import ToolState
from glam_msgs.msg import CommandReport, EpisodeStatus
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_msgs.msg import ToolState as ToolStateMessage
from glam_msgs.srv import StartRecording
from glam_ros import convert, qos, topics
from glam_ros.recording import FLUSH_S, EpisodeInfo, Recorder
from glam_ros.records import EpisodeProgress
from glam_ros.watching import STOPPED

DRIVERS = ("expert", "keyboard", "policy")
"""Who may move the arm while it is recorded."""
PEOPLE_CAMERA = "overview"

_DEPTH = 200
_MEASUREMENTS = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=_DEPTH)
"""Matches every publisher; a long queue, for the time that the disk takes."""
_COMMANDS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=_DEPTH)
_STAMP = struct.Struct("<iI")
_STAMP_OFFSET = 4  # after the encapsulation of CDR, a message with a header begins with its stamp


class EpisodeRecorder:
    """Records what a station publishes; images pass through as bytes and are never decoded.

    Services of the node: `~/start` (glam_msgs/StartRecording), `~/save` and `~/discard` (std_srvs/Trigger).
    """

    def __init__(self, node: Node, station: Station, cameras: Sequence[str], folder: Path, embodiment: str) -> None:
        """Subscribes and serves.

        Args:
            node: The node to do it with.
            station: Names the arms, cameras and topics.
            cameras: Cameras to record; all but the one for people when empty.
            folder: Folder of the episodes.
            embodiment: What moves.

        Raises:
            ConfigurationError: A camera is not one of the station's.
        """
        self._node, self._station, self._embodiment = node, station, embodiment
        names = tuple(cameras) or tuple(name for name in station.camera_names if name != PEOPLE_CAMERA)
        self.cameras = tuple(station.camera(name) for name in names)
        self.progress: EpisodeProgress | None = None
        self.stopped: dict[str, str] = {}
        """The drivers that have stopped their arm since this was last cleared, and why."""
        self.stops = 0
        """How often drivers were enabled again during this episode."""
        self.saved = 0
        self.failure = ""
        """Why the last episode ended by itself; empty where it did not."""
        self.on_frame: Callable[[float], None] = lambda stamp: None
        """Called with the stamp (s) of every frame of the first camera."""
        self._newest: dict[str, bytes] = {}
        kinds: dict[str, type] = {}
        for camera in self.cameras:
            kinds[self._absolute(camera.topic)] = Image
        self._pace = next(iter(kinds), "")
        for arm in station.arms:
            kinds[topics.of_arm(arm.namespace, topics.TOOL_STATE)] = ToolStateMessage
            kinds[topics.of_arm(arm.namespace, topics.JOINT_STATES)] = JointState
        self._needed = list(kinds)
        for arm in station.arms:
            kinds[topics.of_arm(arm.namespace, topics.COMMAND)] = ToolCommandMessage
            kinds[topics.of_arm(arm.namespace, topics.COMMAND_REPORT)] = CommandReport
        kinds[self._absolute(topics.EPISODE_STATUS)] = EpisodeStatus
        kinds[self._absolute(topics.SCENE)] = Float32MultiArray
        self._recorder = Recorder(folder, kinds)
        for topic, kind in kinds.items():
            profile = _COMMANDS if kind in (ToolCommandMessage, CommandReport, EpisodeStatus) else _MEASUREMENTS
            node.create_subscription(kind, topic, self._taker(topic, kind), profile, raw=True)
        node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, qos.STATUS)
        node.create_service(StartRecording, "~/start", self._on_start)
        node.create_service(Trigger, "~/save", self._on_save)
        node.create_service(Trigger, "~/discard", self._on_discard)
        node.create_timer(FLUSH_S, self._flush)

    @property
    def recording(self) -> bool:
        """Whether an episode is being recorded."""
        return self._recorder.file is not None

    @property
    def silent(self) -> list[str]:
        """Topics without which no episode can begin, and that have said nothing yet."""
        return [topic for topic in self._needed if topic not in self._newest]

    def start(self, task: str, seed: int, driver: str) -> str:
        """Begins an episode and returns its path. What a simulated cell says of task and seed is what counts.

        Raises:
            GlamError: It can not begin; the message says why.
        """
        if driver not in DRIVERS:
            raise ConfigurationError(closest(driver, DRIVERS, "driver"))
        if self.progress is not None:
            if task != self.progress.task:
                raise ConfigurationError(closest(task, (self.progress.task,), "task") + ": it is what the cell runs")
            seed = self.progress.seed
        if not task:
            raise ConfigurationError("an episode is of a task; give its name")
        if self.silent:
            raise DataError(f"nothing has come on {', '.join(self.silent)} yet; is every camera and driver running?")
        images = (ImageSpec(name=camera.name, height=camera.height, width=camera.width) for camera in self.cameras)
        info = EpisodeInfo(
            task=task,
            seed=seed,
            driver=driver,
            embodiment=self._embodiment,
            station=self._station.name,
            obs_spec=ObsSpec(images=tuple(images)),
            action_spec=ActionSpec(arms=self._station.arm_names),
        )
        path = str(self._recorder.start(info, time.time_ns()))
        self.failure, self.stops = "", 0
        self._node.get_logger().info(f"recording {path}")
        return path

    def save(self, success: bool = True) -> str:
        """Ends the episode and returns its path.

        Args:
            success: What the person says; a simulated cell knows better about success, never about failure.

        Raises:
            DataError: Nothing is being recorded, or the disk is full.
        """
        good = success and (self.progress is None or self.progress.success)
        path = str(self._recorder.save(good, time.time_ns(), {"stops": self.stops}))
        self.saved += 1
        self._node.get_logger().info(f"saved {path}" + ("" if good else ", marked as failed"))
        return path

    def discard(self) -> str:
        """Ends the episode without a trace and returns the path that is gone; raises DataError without an episode."""
        path = str(self._recorder.discard())
        self._node.get_logger().info(f"discarded {path}")
        return path

    def tool(self, arm: str, namespace: str) -> ToolState:
        """The newest measurement of an arm's tool.

        Raises:
            DataError: There is none yet.
        """
        raw = self._newest.get(topics.of_arm(namespace, topics.TOOL_STATE))
        if raw is None:
            raise DataError(f"the tool of arm '{arm}' has not been measured yet")
        return convert.tool_state_from_message(deserialize_message(raw, ToolStateMessage)).tool

    def _absolute(self, topic: str) -> str:
        return self._node.resolve_topic_name(topic)

    def _taker(self, topic: str, kind: type) -> Callable[..., None]:
        """What to do with a topic's messages, given (message in CDR, what is known about its way)."""

        def take(data: bytes, way: dict[str, int]) -> None:
            self._newest[topic] = data
            try:
                self._recorder.add(topic, way.get("source_timestamp") or time.time_ns(), data)
            except DataError as error:
                self._end_by_itself(error)
            if kind is EpisodeStatus:
                self.progress = convert.episode_from_message(deserialize_message(data, EpisodeStatus))
            elif topic == self._pace:
                seconds, nanoseconds = _STAMP.unpack_from(data, _STAMP_OFFSET)
                self.on_frame(seconds + 1e-9 * nanoseconds)

        return take

    def _flush(self) -> None:
        try:
            self._recorder.flush()
        except DataError as error:
            self._end_by_itself(error)

    def _end_by_itself(self, error: DataError) -> None:
        self.failure = str(error)
        self._node.get_logger().error(self.failure)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for health in convert.healths_from_message(message):
            if health.message.startswith(STOPPED):
                self.stopped[health.name] = health.message

    def _on_start(self, request: StartRecording.Request, response: StartRecording.Response) -> StartRecording.Response:
        try:
            response.path = self.start(request.task, request.seed, request.driver)
            response.success = True
        except GlamError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_save(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(self.save, response)

    def _on_discard(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(self.discard, response)


def _answer(action: Callable[[], str], response: Trigger.Response) -> Trigger.Response:
    try:
        response.message = action()
        response.success = True
    except GlamError as error:
        response.success, response.message = False, str(error)
    return response
