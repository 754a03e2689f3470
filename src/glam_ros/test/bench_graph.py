"""A test bench for nodes of this process: what stands around them, over real DDS in a domain of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from glam_core.pose import tool_down
from glam_core.tool import ToolState
from glam_msgs.msg import EpisodeStatus, LatentChunk
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_msgs.msg import ToolState as ToolStateMessage
from glam_ros import convert, process, qos, topics
from glam_ros.domains import own_domain
from glam_ros.graph import Process
from glam_ros.meters import Health
from glam_ros.records import EpisodeProgress, IssuedCommand, MeasuredTool, PlannedChunk
from glam_ros.supervisor import ros_arguments

PATIENCE_S = 20.0


class Bench:
    """Plays the cameras, the arm and the cell, and keeps what the nodes under test publish."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.domain = self._stack.enter_context(own_domain())
        self._context = Context()
        rclpy.init(context=self._context, args=[], domain_id=self.domain)
        self.node = node = Node("bench", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._tested: list[Node] = []
        self._tested_executor: SingleThreadedExecutor | None = None
        self.chunks: list[PlannedChunk] = []
        self.commands: list[IssuedCommand] = []
        self.healths: dict[str, Health] = {}
        self._cameras = {
            name: node.create_publisher(Image, topics.camera_image(name), qos.IMAGES)
            for name in ("front", "side", "wrist")
        }
        self._tool = node.create_publisher(ToolStateMessage, topics.TOOL_STATE, qos.COMMANDS)
        self._chunk = node.create_publisher(LatentChunk, topics.LATENT_CHUNK, qos.PLANS)
        self._episode = node.create_publisher(EpisodeStatus, topics.EPISODE_STATUS, qos.STATUS)
        node.create_subscription(LatentChunk, topics.LATENT_CHUNK, self._keep_chunk, qos.COMMANDS)
        node.create_subscription(ToolCommandMessage, topics.COMMAND, self._keep_command, qos.COMMANDS)
        node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._keep_health, qos.STATUS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tested_executor is not None:
            self._tested_executor.shutdown()
        for node in self._tested:
            process.close(node)
        rclpy.try_shutdown()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
        self._context.destroy()
        self._stack.close()

    def make(self, make_node: Callable[[], Node], described: Process) -> Node:
        """Makes the node under test with the parameters of its process."""
        rclpy.init(args=ros_arguments(replace(described, renames=False)), domain_id=self.domain)
        node = make_node()
        self._tested.append(node)
        self._tested_executor = SingleThreadedExecutor()
        self._tested_executor.add_node(node)
        return node

    def await_(
        self, condition: Callable[[], object], meanwhile: Callable[[], object] = lambda: None, period_s: float = 0.01
    ) -> None:
        """Serves all callbacks until the condition holds, doing `meanwhile` once per period."""
        deadline, next_time = time.monotonic() + PATIENCE_S, 0.0
        while not condition():
            assert time.monotonic() < deadline, f"waited for {PATIENCE_S} s in vain"
            if time.monotonic() >= next_time:
                next_time = max(next_time + period_s, time.monotonic())
                meanwhile()
            self._executor.spin_once(timeout_sec=0.001)
            if self._tested_executor is not None:
                self._tested_executor.spin_once(timeout_sec=0.001)

    def connected(self) -> None:
        """Waits until the nodes under test hear and are heard."""
        publishers = (*self._cameras.values(), self._tool, self._chunk, self._episode)
        listening = [publisher for publisher in publishers if self._tested_topics(publisher.topic_name)]
        self.await_(lambda: all(publisher.get_subscription_count() > 0 for publisher in listening))

    def message(self, stage: str) -> str:
        """What a stage said last on /diagnostics, empty before it said anything."""
        return self.healths[stage].message if stage in self.healths else ""

    def see(self, camera: str, stamp: float | None = None, value: int = 100) -> float:
        """Publishes an image of one colour; returns its stamp."""
        stamp = time.time() if stamp is None else stamp
        image = np.full((24, 24, 3), value, np.uint8)
        self._cameras[camera].publish(convert.image_message(image, stamp, f"camera_{camera}"))
        return stamp

    def see_both(self) -> float:
        """Publishes an image of both cameras with the same stamp, and returns it."""
        return self.see("side", self.see("front"))

    def see_message(self, camera: str, message: Image) -> None:
        """Publishes an image message as it is."""
        self._cameras[camera].publish(message)

    def measure(self, x: float = 0.4, stamp: float | None = None) -> None:
        """Publishes a tool state."""
        tool = ToolState(tool_down(np.array([x, 0.0, 0.2]), 0.0), 0.0)
        measured = MeasuredTool("arm", time.time() if stamp is None else stamp, tool)
        self._tool.publish(convert.tool_state_message(measured, "base_link"))

    def plan(self, latents: np.ndarray, observed_at: float | None = None, step_s: float = 0.1) -> None:
        """Publishes a chunk."""
        stamp = time.time() if observed_at is None else observed_at
        self._chunk.publish(convert.chunk_message(PlannedChunk("bench", 0, latents, stamp, stamp, step_s, 0.0)))

    def end_planner(self) -> None:
        """Takes the publisher of chunks away, as when the policy's process is gone."""
        self.node.destroy_publisher(self._chunk)

    def begin_planner(self) -> None:
        """Makes a new one, and waits until it is heard."""
        self._chunk = self.node.create_publisher(LatentChunk, topics.LATENT_CHUNK, qos.PLANS)
        self.await_(lambda: self._chunk.get_subscription_count() > 1)

    def announce(self, episode: int, elapsed_s: float = 0.0) -> None:
        """Publishes an episode status."""
        progress = EpisodeProgress(time.time(), episode, "lift", episode, elapsed_s, False, False)
        self._episode.publish(convert.episode_message(progress))

    def _tested_topics(self, topic: str) -> bool:
        subscriptions = (each for node in self._tested for each in node.subscriptions)
        return any(each.topic_name == topic for each in subscriptions)

    def _keep_chunk(self, message: LatentChunk) -> None:
        self.chunks.append(convert.chunk_from_message(message))

    def _keep_command(self, message: ToolCommandMessage) -> None:
        self.commands.append(convert.command_from_message(message))

    def _keep_health(self, message: DiagnosticArray) -> None:
        for health in convert.healths_from_message(message):
            self.healths[health.name] = health
