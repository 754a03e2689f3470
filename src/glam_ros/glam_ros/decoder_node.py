"""Latent chunks and live tool states in, one stamped and expiring command per arm out, at the control rate."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path as FolderPath

from nav_msgs.msg import Path
from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from visualization_msgs.msg import MarkerArray

from glam_core.errors import GlamError
from glam_core.runtime import load_model
from glam_core.scheduling import DECODER, real_time
from glam_msgs.msg import EpisodeStatus, LatentChunk
from glam_msgs.msg import ToolCommand as ToolCommandMessage
from glam_msgs.msg import ToolState as ToolStateMessage
from glam_ros import convert, params, process, qos, topics
from glam_ros.execution import LatentExecution, Tick, require_arms
from glam_ros.meters import Health, LatencyMeter, Level, RateMeter
from glam_ros.params import parameter
from glam_ros.records import IssuedCommand
from glam_ros.reporting import Reporter, clock_s

CHUNK, TOOL, TICK, POLICY = "chunk", "tool state", "tick", "policy"
"""What can be at fault."""

PATIENCE_PERIODS = 1.5
"""How long a tick waits for fresh tool states: a timer of one period would run ahead of every second one."""

TRAIL_STEPS = 300
"""Length of the tool's path that viewers are shown."""


@dataclass(frozen=True)
class DecoderParameters:
    """Parameters of the decoder node."""

    model_folder: str = parameter("", "folder of an exported model, the same as the policy node's")
    arms: tuple[str, ...] = parameter(("arm",), "names of the station's arms")
    namespaces: tuple[str, ...] = parameter(("",), "namespace of every arm's topics, in the order of the arms")
    rate_hz: float = parameter(40.0, "control rate: commands per second and arm; the driver's, Hz", 1.0, 1000.0)
    max_state_age_s: float = parameter(
        0.15, "an older tool state ends the commands, and the driver holds, s", 0.01, 5.0
    )
    command_lifetime_s: float = parameter(0.1, "a command expires after this time, s", 0.01, 1.0)
    hold_s: float = parameter(1.0, "the tools are held for this long when the plans run out, s", 0.0, 60.0)
    autostart: bool = parameter(True, "configure and activate at start")


class DecoderNode(LifecycleNode):
    """Executes the policy's chunks."""

    def __init__(self) -> None:
        super().__init__("decoder_node")
        params.declare(self, DecoderParameters, locked=lambda: process.label(self) != "unconfigured")
        self._markers = self.create_lifecycle_publisher(MarkerArray, topics.PREDICTED_PATH, qos.COMMANDS)
        self._execution: LatentExecution | None = None
        self._reporter = Reporter(self, self._health)

    @process.refuse_on_error
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads and self-tests the model, and checks that the station has the arms that it moves."""
        self._settings = settings = params.read(self, DecoderParameters)
        model = load_model(FolderPath(settings.model_folder))
        manifest = model.manifest
        params.require_pairs(settings.arms, settings.namespaces, "arms and namespaces")
        require_arms(manifest.action_spec, settings.arms)
        self._step_s = manifest.action_spec.step_s
        self._execution = LatentExecution(
            decode=model.decode,
            action_spec=manifest.action_spec,
            latent_size=manifest.latent_size,
            period_s=1.0 / settings.rate_hz,
            max_state_age_s=settings.max_state_age_s,
            hold_s=settings.hold_s,
        )
        self._episode: int | None = None
        self._sequence = 0
        self._active = False
        self._faults: dict[str, str] = {}
        self._rate, self._decoding, self._age = RateMeter(), LatencyMeter(), LatencyMeter()
        self._connect()
        self._period_s, self._ticked_at = 1.0 / settings.rate_hz, -math.inf
        self._awaited = set(settings.arms)
        self._timer = self.create_timer(PATIENCE_PERIODS * self._period_s, self._on_tick)
        self.get_logger().info(f"model '{FolderPath(settings.model_folder).name}' passed its self-test")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begins to command, on no plan older than now."""
        self._forget(before=clock_s(self))
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ceases to command; the driver's watchdog stops the arms."""
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

    def _connect(self) -> None:
        """Subscribes to plans, tools and resets, and makes a publisher per arm."""
        settings = self._settings
        self._inputs = [
            self.create_subscription(
                LatentChunk,
                topics.LATENT_CHUNK,
                self._on_chunk,
                qos.PLANS,
                event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_liveliness, use_default_callbacks=False),
            ),
            self.create_subscription(EpisodeStatus, topics.EPISODE_STATUS, self._on_episode, qos.STATUS),
        ]
        self._commands, self._trail_publishers = {}, {}
        self._frames = dict(zip(settings.arms, map(topics.base_frame, settings.namespaces), strict=True))
        for arm, namespace in zip(settings.arms, settings.namespaces, strict=True):
            state, command, trail = (
                topics.of_arm(namespace, topic) for topic in (topics.TOOL_STATE, topics.COMMAND, topics.TOOL_PATH)
            )
            self._inputs.append(self.create_subscription(ToolStateMessage, state, self._on_tool, qos.STATES))
            self._commands[arm] = self.create_lifecycle_publisher(ToolCommandMessage, command, qos.COMMANDS)
            self._trail_publishers[arm] = self.create_lifecycle_publisher(Path, trail, qos.COMMANDS)

    def _on_chunk(self, message: LatentChunk) -> None:
        if self._active and self._execution is not None:
            try:
                self._execution.add_chunk(convert.chunk_from_message(message), clock_s(self))
                self._faults.pop(CHUNK, None)
            except GlamError as error:
                self._refuse(CHUNK, f"chunk refused: {error}")

    def _on_liveliness(self, event: QoSLivelinessChangedInfo) -> None:
        """A policy came to life, or its process is frozen or gone: then the rest of its plan is not executed."""
        if event.alive_count:
            self._faults.pop(POLICY, None)
        elif self._active and self._execution is not None:
            self._refuse(POLICY, "the policy's process is frozen or gone: the tools are held")
            self._execution.halt()
            self._on_tick()

    def _on_tool(self, message: ToolStateMessage) -> None:
        if self._active and self._execution is not None:
            try:
                self._execution.add_tool(convert.tool_state_from_message(message))
                self._faults.pop(TOOL, None)
            except GlamError as error:
                self._refuse(TOOL, f"tool state refused: {error}")
                return
            self._awaited.discard(message.arm)
            if not self._awaited:
                self._answer()

    def _answer(self) -> None:
        """Every tool was measured anew: commands at once; the timer only fills in when states fail to come."""
        if clock_s(self) - self._ticked_at >= 0.5 * self._period_s:
            self._timer.reset()
            self._on_tick()

    def _on_episode(self, message: EpisodeStatus) -> None:
        """A new episode: no plan of the old one may act in it."""
        progress = convert.episode_from_message(message)
        if self._active and self._episode is not None and progress.episode != self._episode:
            self._forget(before=progress.began_at)
        self._episode = progress.episode

    def _on_tick(self) -> None:
        if not self._active or self._execution is None:
            return
        now = self._ticked_at = clock_s(self)
        self._awaited = set(self._settings.arms)
        try:
            tick = self._execution.tick(now)
            self._faults.pop(TICK, None)
        except GlamError as error:
            # Silence: the driver's watchdog holds the arms, then stops them.
            self._refuse(TICK, str(error))
            return
        if tick is None:
            return
        self._publish(tick, now)
        if tick.new_step:
            self._decoding.add(tick.decode_s)
            self._show(self._execution, now)

    def _publish(self, tick: Tick, now: float) -> None:
        for arm, command in tick.commands.items():
            issued = IssuedCommand(
                arm=arm,
                sequence=self._sequence,
                command=command,
                issued_at=now,
                observed_at=tick.observed_at,
                due_at=tick.due_at,
                expires_at=now + self._settings.command_lifetime_s,
                hold=tick.hold,
                decode_s=tick.decode_s,
            )
            self._commands[arm].publish(convert.command_message(issued, self._frames[arm]))
        self._sequence += 1
        self._rate.tick(now)
        self._age.add(now - tick.observed_at)

    def _show(self, execution: LatentExecution, now: float) -> None:
        """Publishes the path to come and the path of the past, for viewers, where somebody looks."""
        for arm, position in execution.tool_positions().items():
            self._trails[arm].append(position)
            if self._trail_publishers[arm].get_subscription_count():
                message = convert.path_message(self._trails[arm], self._frames[arm], now)
                self._trail_publishers[arm].publish(message)
        if self._markers.get_subscription_count():
            paths = execution.predicted_path(now)
            self._markers.publish(convert.path_markers(paths, self._frames, now, lifetime_s=2.0 * self._step_s))

    def _forget(self, before: float) -> None:
        if self._execution is not None:
            self._execution.forget(before)
        self._trails = {arm: deque(maxlen=TRAIL_STEPS) for arm in self._settings.arms}

    def _refuse(self, source: str, fault: str) -> None:
        """Reports what is wrong with an input or a tick, until the next good one; logs it when it is new."""
        if source not in self._faults:
            self.get_logger().error(fault)
        self._faults[source] = fault

    def _health(self, now: float) -> Health:
        if self._execution is None:
            return Health(self.get_name(), Level.WARN, "not configured")
        values = {
            "rate_hz": f"{self._rate.rate_hz(now):.1f}",
            "age_s": f"{self._rate.age_s(now):.3f}",
            "decode_ms": self._decoding.summary_ms(),
            "observation_age_ms": self._age.summary_ms(),
        }
        fault = "; ".join(self._faults.values())
        return Health(self.get_name(), Level.ERROR if fault else Level.OK, fault or "executes", values)

    def _release(self) -> None:
        """Ends the timer, the subscriptions and the publishers of commands."""
        if self._execution is None:
            return
        self.destroy_timer(self._timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for publisher in (*self._commands.values(), *self._trail_publishers.values()):
            self.destroy_lifecycle_publisher(publisher)
        self._execution, self._active = None, False


def main() -> None:
    """Runs the node."""
    real_time(DECODER)
    process.main(DecoderNode, process.quick_executor)
