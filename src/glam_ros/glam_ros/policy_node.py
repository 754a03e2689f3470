"""Aligned observations in, latent chunks out, once per replan period; the network runs in a thread of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from glam_core.errors import GlamError
from glam_core.runtime import load_model
from glam_core.spec import ImageSpec
from glam_core.tool import state_vector
from glam_msgs.msg import EpisodeStatus, LatentChunk
from glam_msgs.msg import ToolState as ToolStateMessage
from glam_ros import convert, params, process, qos, topics
from glam_ros.execution import require_arms
from glam_ros.inference import InferenceWorker, Prediction
from glam_ros.meters import Health, LatencyMeter, Level, RateMeter
from glam_ros.params import parameter
from glam_ros.planning import Planner, require_streams
from glam_ros.records import MeasuredTool, PlannedChunk
from glam_ros.reporting import Reporter, clock_s

STATE = "state"
SCENE = "scene"
NETWORK = "network"


@dataclass(frozen=True)
class PolicyParameters:
    """Parameters of the policy node."""

    model_folder: str = parameter("", "folder of an exported model: manifest.json, ONNX graphs, golden vectors")
    cameras: tuple[str, ...] = parameter((), "names of the station's cameras")
    camera_topics: tuple[str, ...] = parameter((), "topic of every camera's images; empty for camera/<name>/image_raw")
    arms: tuple[str, ...] = parameter(("arm",), "names of the station's arms")
    namespaces: tuple[str, ...] = parameter(("",), "namespace of every arm's topics, in the order of the arms")
    max_age_s: float = parameter(0.35, "an observation with an older stream is not planned on, s", 0.01, 5.0)
    max_skew_s: float = parameter(0.06, "largest time between the streams of one observation, s", 0.0, 1.0)
    threads: int = parameter(1, "threads of the network's runtime", 1, 64)
    autostart: bool = parameter(True, "configure and activate at start")


class PolicyNode(LifecycleNode):
    """Runs a model's policy on the streams of a station."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        params.declare(self, PolicyParameters, locked=lambda: process.label(self) != "unconfigured")
        self._chunks = self.create_lifecycle_publisher(LatentChunk, topics.LATENT_CHUNK, qos.PLANS)
        self._finished = self.create_guard_condition(self._publish_finished)
        self._worker: InferenceWorker | None = None
        self._reporter = Reporter(self, self._health)

    @process.refuse_on_error
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads and self-tests the model, and checks that the station has the cameras and arms that it needs."""
        self._settings = settings = params.read(self, PolicyParameters)
        model = load_model(Path(settings.model_folder), intra_op_threads=settings.threads)
        self._manifest, self._provider = model.manifest, model.provider
        manifest = model.manifest
        params.require_pairs(settings.arms, settings.namespaces, "arms and namespaces")
        params.require_pairs(settings.cameras, settings.camera_topics or settings.cameras, "cameras and camera_topics")
        require_arms(manifest.action_spec, settings.arms)
        require_streams(manifest.obs_spec, settings.cameras, (STATE, SCENE))
        self._name = Path(settings.model_folder).name
        replan_period_s = manifest.execute_length * manifest.action_spec.step_s
        self._planner = Planner(manifest.obs_spec, replan_period_s, settings.max_age_s, settings.max_skew_s)
        self._measured: dict[str, MeasuredTool] = {}
        self._episode: int | None = None
        self._sequence = 0
        self._active = False
        self._faults: dict[str, str] = {}
        self._rate, self._inference, self._transport = RateMeter(), LatencyMeter(), LatencyMeter()
        self._worker = InferenceWorker(model.predict, self._finished.trigger)
        self._inputs = self._listen()
        cameras = ", ".join(image.name for image in manifest.obs_spec.images) or "no camera"
        self.get_logger().info(
            f"model '{self._name}' passed its self-test; plans on {cameras} every {replan_period_s:g} s"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begins to plan, on nothing older than now."""
        self._planner.forget(before=clock_s(self))
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ceases to plan."""
        self._active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the model go."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the model go."""
        self._release()
        return super().on_shutdown(state)

    def _listen(self) -> list:
        """Subscribes to the streams that the model needs, and to the resets of a simulated cell."""
        settings, spec = self._settings, self._manifest.obs_spec
        given = settings.camera_topics or [topics.camera_image(camera) for camera in settings.cameras]
        camera_topics = dict(zip(settings.cameras, given, strict=True))
        inputs = [self.create_subscription(EpisodeStatus, topics.EPISODE_STATUS, self._on_episode, qos.STATUS)]
        for image in spec.images:
            callback = functools.partial(self._on_image, image)
            inputs.append(self.create_subscription(Image, camera_topics[image.name], callback, qos.IMAGES))
        names = {vector.name for vector in spec.vectors}
        if SCENE in names:
            inputs.append(self.create_subscription(Float32MultiArray, topics.SCENE, self._on_scene, qos.STATES))
        if STATE in names:
            for namespace in settings.namespaces:
                topic = topics.of_arm(namespace, topics.TOOL_STATE)
                inputs.append(self.create_subscription(ToolStateMessage, topic, self._on_tool, qos.STATES))
        return inputs

    def _on_image(self, spec: ImageSpec, message: Image) -> None:
        def take() -> None:
            image, stamp = convert.image_from_message(message, spec.name)
            self._planner.add_image(spec.name, image, stamp)

        self._take(f"camera '{spec.name}'", take)

    def _on_scene(self, message: Float32MultiArray) -> None:
        now = clock_s(self)
        self._take(SCENE, lambda: self._planner.add_vector(SCENE, convert.vector_from_message(message), now))

    def _on_tool(self, message: ToolStateMessage) -> None:
        def take() -> None:
            measured = convert.tool_state_from_message(message)
            self._measured[measured.arm] = measured
            if all(arm in self._measured for arm in self._settings.arms):
                tools = {arm: each.tool for arm, each in self._measured.items()}
                newest = max(each.stamp for each in self._measured.values())
                self._planner.add_vector(STATE, state_vector(tools, self._settings.arms), newest)

        self._take(STATE, take)

    def _on_episode(self, message: EpisodeStatus) -> None:
        """A new episode: what was seen of the old one says nothing about it."""
        progress = convert.episode_from_message(message)
        if self._episode is not None and progress.episode != self._episode:
            self._planner.forget(before=progress.began_at)
            self._measured.clear()
        self._episode = progress.episode

    def _take(self, stream: str, take: Callable[[], None]) -> None:
        """Takes one input in, and looks whether it is time to plan; a bad input is refused and reported."""
        if not self._active or self._worker is None:
            return
        try:
            take()
            self._faults.pop(stream, None)
        except GlamError as error:
            self._refuse(stream, str(error))
            return
        now = clock_s(self)
        if self._worker.busy:
            return
        observation = self._planner.due(now)
        if observation is not None and self._worker.submit(observation, received_at=now):
            self._planner.planned(observation)

    def _publish_finished(self) -> None:
        """In the executor's thread: publishes what the worker has finished."""
        if self._worker is None:
            return
        for prediction in self._worker.results():
            if prediction.chunk is None:
                self._refuse(NETWORK, prediction.error)
            elif self._active and prediction.observation.stamp >= self._planner.forgotten_before:
                self._publish(prediction, prediction.chunk)

    def _publish(self, prediction: Prediction, latents: NDArray[np.float32]) -> None:
        observed_at = prediction.observation.stamp
        chunk = PlannedChunk(
            model=self._name,
            sequence=self._sequence,
            latents=latents,
            observed_at=observed_at,
            received_at=prediction.received_at,
            step_s=self._manifest.action_spec.step_s,
            inference_s=prediction.inference_s,
        )
        self._chunks.publish(convert.chunk_message(chunk))
        self._faults.pop(NETWORK, None)
        self._sequence += 1
        self._rate.tick(clock_s(self))
        self._inference.add(prediction.inference_s)
        self._transport.add(prediction.received_at - observed_at)

    def _refuse(self, source: str, fault: str) -> None:
        """Reports what is wrong with an input or the network, until the next good one; logs it when it is new."""
        if source not in self._faults:
            self.get_logger().error(fault)
        self._faults[source] = fault

    def _health(self, now: float) -> Health:
        if self._worker is None:
            return Health(self.get_name(), Level.WARN, "not configured")
        values = {
            "model": self._name,
            "provider": self._provider,
            "rate_hz": f"{self._rate.rate_hz(now):.2f}",
            "age_s": f"{self._rate.age_s(now):.3f}",
            "inference_ms": self._inference.summary_ms(),
            "camera_to_policy_ms": self._transport.summary_ms(),
        }
        fault = "; ".join(self._faults.values()) or (self._planner.fault(now) if self._active else "")
        return Health(self.get_name(), Level.ERROR if fault else Level.OK, fault or "plans", values)

    def _release(self) -> None:
        """Ends the worker and the subscriptions."""
        if self._worker is None:
            return
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._worker.close()
        self._worker, self._active = None, False


def main() -> None:
    """Runs the node."""
    process.main(PolicyNode)
