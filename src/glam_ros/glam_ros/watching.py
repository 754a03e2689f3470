"""What can be seen of a running graph from its topics alone, episode by episode."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState

from glam_core.station import Station
from glam_msgs.msg import CommandReport, EpisodeStatus, LatentChunk
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_msgs.msg import ToolState as ToolStateMessage
from glam_ros import convert, qos, topics
from glam_ros.meters import Level
from glam_ros.records import EpisodeProgress

JPEG_QUALITY = 92

CAMERA_TO_POLICY = "camera to policy"
INFERENCE = "inference"
DECODE = "decode"
POLICY_AND_DECODER = "policy and decoder"
TO_DRIVER = "decoder to driver"
CAMERA_TO_ARM = "camera to arm"
STAGES = (CAMERA_TO_POLICY, INFERENCE, DECODE, POLICY_AND_DECODER, TO_DRIVER, CAMERA_TO_ARM)

CHUNKS = "policy chunks"
COMMANDS = "control commands"
JOINT_STATES = "joint states"
SENT = "commands to the arm"
"""What the driver tells an arm, each time with the arm's name: when, and so how steadily."""

STOPPED = "stopped"
"""How the diagnostics of a driver begin that waits for a person to enable it again."""
REAL_TIME_FACTOR = "real_time_factor"
"""The value of the simulated cell's diagnostics that says how fast its time passes."""


@dataclass
class EpisodeRecord:
    """One episode as it was seen.

    Attributes:
        number: Position in the series, from 1.
        seed: Seed of the initial state.
        success: Whether the cell said so.
        duration_s: Time since the reset, of the cell's clock.
        frames: Stamp (s) and JPEG of every image for people.
        stamps: Stream to the stamps of its messages, s.
        latencies: Stage to its latencies, s.
        clamps: Limit to the number of commands that it changed.
        faults: Fault to the number of reports of it.
        stops: Why a driver stopped its arm, so that it had to be enabled again; one entry per time.
        real_time_factors: Simulated over real time, as the cell reports it.
        tool_paths: By arm, tool positions (3,), m, in its base frame.
    """

    number: int
    seed: int
    success: bool = False
    duration_s: float = 0.0
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    stamps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    clamps: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    stops: list[str] = field(default_factory=list)
    real_time_factors: list[float] = field(default_factory=list)
    tool_paths: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))


class Watcher:
    """Subscribes to a graph's topics, and writes what comes into the episode that is being recorded."""

    def __init__(self, node: Node, station: Station, model_cameras: Sequence[str], film_camera: str) -> None:
        """Subscribes.

        Args:
            node: The node to subscribe with.
            station: Names the cameras and arms.
            model_cameras: Cameras whose rate is measured.
            film_camera: Camera whose images are kept.
        """
        self.progress: EpisodeProgress | None = None
        self.newest_plan_s = -math.inf
        """When the observation behind the newest command was captured, s."""
        self.stopped: dict[str, str] = {}
        """The drivers that have stopped their arm, and why."""
        self._episode: EpisodeRecord | None = None
        self._inference: dict[float, float] = {}
        self._decoded: set[tuple[str, int]] = set()
        subscribe = node.create_subscription
        subscribe(EpisodeStatus, topics.EPISODE_STATUS, self._on_progress, qos.STATUS)
        subscribe(LatentChunk, topics.LATENT_CHUNK, self._on_chunk, qos.COMMANDS)
        subscribe(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, qos.STATUS)
        for arm in station.arms:
            topic = functools.partial(topics.of_arm, arm.namespace)
            subscribe(ToolCommandMessage, topic(topics.COMMAND), self._on_command, qos.COMMANDS)
            subscribe(CommandReport, topic(topics.COMMAND_REPORT), self._on_report, qos.COMMANDS)
            subscribe(ToolStateMessage, topic(topics.TOOL_STATE), self._on_tool, qos.STATES)
            subscribe(JointState, topic(topics.JOINT_STATES), self._on_joints, qos.STATES)
        for name in model_cameras:
            camera, callback = station.camera(name), functools.partial(self._on_image, f"camera {name}")
            if camera.simulated:  # what comes with every image, and weighs nothing
                subscribe(CameraInfo, topics.camera_info(camera.topic), callback, qos.IMAGES)
            else:
                subscribe(Image, camera.topic, callback, qos.IMAGES)
        subscribe(Image, station.camera(film_camera).topic, self._on_film, qos.IMAGES)

    def begin(self, episode: EpisodeRecord) -> None:
        """What comes from now on belongs to this episode."""
        self._episode = episode
        self._inference.clear()
        self._decoded.clear()

    def end(self) -> None:
        """What comes from now on belongs to no episode."""
        self._episode = None

    def _on_progress(self, message: EpisodeStatus) -> None:
        self.progress = convert.episode_from_message(message)

    def _on_chunk(self, message: LatentChunk) -> None:
        if self._episode is None:
            return
        chunk = convert.chunk_from_message(message)
        self._inference[convert.seconds(message.header.stamp)] = chunk.inference_s
        self._episode.stamps[CHUNKS].append(chunk.received_at)
        self._episode.latencies[CAMERA_TO_POLICY].append(chunk.received_at - chunk.observed_at)
        self._episode.latencies[INFERENCE].append(chunk.inference_s)

    def _on_command(self, message: ToolCommandMessage) -> None:
        if not message.hold:
            self.newest_plan_s = convert.seconds(message.observed_at)
        if self._episode is None:
            return
        self._episode.stamps[COMMANDS].append(convert.seconds(message.header.stamp))
        if message.decode_s > 0.0:
            self._decoded.add((message.arm, message.sequence))
            self._episode.latencies[DECODE].append(message.decode_s)
            inference_s = self._inference.get(convert.seconds(message.observed_at))
            if inference_s is not None:
                self._episode.latencies[POLICY_AND_DECODER].append(inference_s + message.decode_s)

    def _on_report(self, message: CommandReport) -> None:
        if self._episode is None:
            return
        sent = convert.sent_command_from_message(message)
        self._episode.stamps[f"{SENT} '{sent.arm}'"].append(sent.sent_at)
        self._episode.clamps.update(sent.clamps)
        # A goal that is sent again goes out with the driver's next tick: only new ones tell how long the way is.
        if (sent.arm, sent.sequence) in self._decoded and not sent.hold:
            self._decoded.discard((sent.arm, sent.sequence))
            self._episode.latencies[TO_DRIVER].append(sent.sent_at - sent.issued_at)
            self._episode.latencies[CAMERA_TO_ARM].append(sent.sent_at - sent.observed_at)

    def _on_tool(self, message: ToolStateMessage) -> None:
        if self._episode is not None:
            measured = convert.tool_state_from_message(message)
            self._episode.tool_paths[measured.arm].append(measured.tool.T_base_tool[:3, 3])

    def _on_joints(self, message: JointState) -> None:
        if self._episode is not None:
            self._episode.stamps[JOINT_STATES].append(convert.seconds(message.header.stamp))

    def _on_image(self, stream: str, message: Image | CameraInfo) -> None:
        if self._episode is not None:
            self._episode.stamps[stream].append(convert.seconds(message.header.stamp))

    def _on_film(self, message: Image) -> None:
        if self._episode is None:
            return
        image, stamp = convert.image_from_message(message, "film")
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
        if done:
            self._episode.frames.append((stamp, jpeg.tobytes()))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        if self._episode is None:
            return
        for health in convert.healths_from_message(message):
            if health.message.startswith(STOPPED):
                self.stopped[health.name] = health.message
            if REAL_TIME_FACTOR in health.values:
                self._episode.real_time_factors.append(float(health.values[REAL_TIME_FACTOR]))
            if health.level != Level.OK:
                self._episode.faults[f"{health.name}: {health.message}"] += 1
