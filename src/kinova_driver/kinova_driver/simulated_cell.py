"""A simulated cell as one process: physics, cameras on their topics, and the arms behind Kortex sockets.

A driver reaches the arms as it reaches real ones, from a process of its own. The hand-held gripper has no such sockets:
its driver runs in this process.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from glam_core.errors import ConfigurationError, GlamError
from glam_core.station import ArmConfig, Station, control_port, load_station
from glam_msgs.msg import EpisodeStatus
from glam_msgs.srv import ResetCell
from glam_sim.model import EMBODIMENTS
from glam_sim.tasks import TASKS
from kinova_driver import messages
from kinova_driver.arm import Arm
from kinova_driver.cameras import SPECTATOR, CameraView, Frame, Photographer
from kinova_driver.cell_clock import CellClock
from kinova_driver.driver_node import DriverNode
from kinova_driver.episode import Snapshot, focal_lengths
from kinova_driver.params import declare, parameter
from kinova_driver.process import run
from kinova_driver.simulated_arm import SimulatedArm
from kinova_driver.simulator.arm import ArmOptions
from kinova_driver.simulator.control_port import ControlPort
from kinova_driver.simulator.kortex_cell import KortexCell
from kinova_driver.simulator.server import Address

BASE_FRAME = "base_link"
_QUEUE = QoSProfile(depth=5)
_STATUS_PERIOD_S = 0.1
_DIAGNOSTICS_PERIOD_S = 1.0
_SLOW = 0.95
_ARM = "gen3"
_ANSWER_S = 2.0
_STEPS_PER_CYCLE = 2
"""The arms are measured every 5 ms, which leaves more of the computer to the rest of the graph."""


@dataclass(frozen=True)
class CellParameters:
    """Parameters of the simulated cell."""

    station: str = parameter("", "path of the station file")
    task: str = parameter("", "name of the task; empty for the station's")
    seed: int = parameter(0, "seed of the first initial state", 0, 2**31 - 1)
    embodiment: str = parameter("gen3", f"what moves: {' or '.join(EMBODIMENTS)}")


class CellNode(Node):
    """Owns the cell; publishes its cameras, its scene and the progress of the episode; resets it."""

    def __init__(self) -> None:
        super().__init__("cell")
        self._settings = p = declare(self, CellParameters)
        if not p.station:
            raise ConfigurationError("the parameter 'station' is empty; give the path of a station file")
        self.station = load_station(p.station)
        self.drivers: list[DriverNode] = []
        task = p.task or self.station.task
        cameras = [camera for camera in self.station.cameras if camera.simulated]
        views = [CameraView(c.name, c.height, c.width, c.rate_hz) for c in cameras]
        # The camera for people is slow: it has a thread of its own, so that the others never wait for it.
        groups = [[v for v in views if v.name != SPECTATOR], [v for v in views if v.name == SPECTATOR]]
        self._photographers = [Photographer(p.embodiment, task, g, self._publish_frame) for g in groups if g]
        self.served = p.embodiment == _ARM
        """Whether the arms are behind sockets; otherwise `drivers` drive them in this process."""
        if self.served:
            domain = self.context.get_domain_id()
            options = _arm_options(self.station, domain)
            self._kortex = KortexCell(task, p.seed, options, self._on_measured, _STEPS_PER_CYCLE)
            self._control = ControlPort(self._kortex.tell, control_port(domain))
            self.clock = self._kortex.clock
        else:
            self.clock = CellClock(p.embodiment, task, p.seed, on_measured=self._on_measured)
        # A reset waits for the drivers: what it waits for, and everything else, must not wait for it.
        self._meanwhile = ReentrantCallbackGroup()
        self._resets = [
            self.create_client(Trigger, f"{arm.namespace}/reset", callback_group=self._meanwhile)
            for arm in self.station.arms
        ]
        self._focal = focal_lengths(p.embodiment, task, {camera.name: camera.height for camera in cameras})
        self._images, self._infos = {}, {}
        for camera in cameras:
            place = camera.topic.rpartition("/")[0]
            self._images[camera.name] = self._publisher(Image, camera.topic, qos_profile_sensor_data)
            self._infos[camera.name] = self._publisher(CameraInfo, f"{place}/camera_info", qos_profile_sensor_data)
        self._scene = self._publisher(Float32MultiArray, "scene")
        self._status = self._publisher(EpisodeStatus, "episode_status")
        self._markers = self._publisher(MarkerArray, "scene_markers")
        self._diagnostics = self._publisher(DiagnosticArray, "/diagnostics")
        alone = MutuallyExclusiveCallbackGroup()
        self.create_service(ResetCell, "~/reset", self._on_reset, callback_group=alone)  # type: ignore[arg-type]  # async
        self.create_timer(_STATUS_PERIOD_S, self._publish_status)
        self.create_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        for photographer in self._photographers:
            photographer.start()
        if self.served:
            self._kortex.start()
            self._control.start()
        else:
            self.clock.start()

    def close(self) -> None:
        """Ends the cell."""
        if self.served:
            self._control.close()
            self._kortex.close()
        self.clock.close()
        for photographer in self._photographers:
            photographer.close()
        self.destroy_node()

    def make_arm(self, config: ArmConfig) -> Arm:
        """The hand-held gripper, as an arm of this process."""
        return SimulatedArm(self.clock, config.name)

    def _publisher(self, kind: type, topic: str, qos: QoSProfile = _QUEUE) -> Publisher:
        return self.create_publisher(kind, topic, qos, event_callbacks=messages.NO_EVENTS)

    def _on_measured(self, snapshot: Snapshot) -> None:
        """On the clock's thread, at every tick."""
        for driver in self.drivers:
            driver.wake()
        for photographer in self._photographers:
            photographer.offer(snapshot)
        self._scene.publish(messages.vector_message(snapshot.scene))

    def _publish_frame(self, frame: Frame) -> None:
        """On a photographer's thread: the shortest way from the camera to the wire."""
        message = messages.image_message(frame.image, frame.stamp, f"camera_{frame.camera}")
        self._images[frame.camera].publish(message)
        info = messages.camera_info_message(message.height, message.width, self._focal[frame.camera], message.header)
        self._infos[frame.camera].publish(info)

    def _publish_status(self) -> None:
        snapshot = self.clock.snapshot()
        status = EpisodeStatus(
            episode=snapshot.episode,
            task=snapshot.task,
            seed=snapshot.seed,
            elapsed_s=snapshot.elapsed_s,
            success=snapshot.success,
            timed_out=snapshot.timed_out,
        )
        status.header.stamp = stamp = messages.stamp_from_monotonic(snapshot.stamp)
        status.header.frame_id = BASE_FRAME
        self._status.publish(status)
        shapes = {
            item.name: messages.Shape(item.extent_m, item.colour, item.is_round)
            for item in TASKS[snapshot.task].objects
        }
        self._markers.publish(messages.object_markers(snapshot.objects, shapes, stamp, BASE_FRAME))

    def _diagnose(self) -> None:
        statistics, snapshot = self.clock.statistics(), self.clock.snapshot()
        slow = statistics.real_time_factor < _SLOW
        message = messages.diagnostics_message(
            DiagnosticStatus.WARN if slow else DiagnosticStatus.OK,
            "simulated cell",
            "slower than real time: close other programs or render less" if slow else "in real time",
            "simulation",
            {
                "real_time_factor": statistics.real_time_factor,
                "overruns": statistics.overruns,
                "tick_median_ms": 1e3 * statistics.tick_median_s,
                "tick_p99_ms": 1e3 * statistics.tick_p99_s,
                "task": snapshot.task,
                "seed": snapshot.seed,
                "episode": snapshot.episode,
            },
        )
        self._diagnostics.publish(message)

    async def _on_reset(self, request: ResetCell.Request, response: ResetCell.Response) -> ResetCell.Response:
        """Everything to its place; drivers that are there are left disabled."""
        try:
            await self._disable_drivers()
            self.clock.reset(request.seed, request.task)
            for photographer in self._photographers:
                photographer.settle()  # no frame of the episode that is over shall come after this answer
            response.success = True
        except GlamError as error:
            response.success, response.message = False, str(error)
        return response

    async def _disable_drivers(self) -> None:
        """An arm that is put somewhere else must not go on with what it was told before."""
        for driver in self.drivers:
            driver.reset_driver()
        for client in self._resets if self.served else ():
            if client.service_is_ready():
                await self._answer_or_nothing(client, client.call_async(Trigger.Request()))

    async def _answer_or_nothing(self, client: Client, future: Future) -> None:
        """Waits for an answer, but not for ever: a driver may be frozen, or just ending."""
        over = Future(executor=self.executor)

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        future.add_done_callback(end)
        patience = self.create_timer(_ANSWER_S, end, callback_group=self._meanwhile)
        await over
        self.destroy_timer(patience)
        if not future.done():
            client.remove_pending_request(future)
            self.get_logger().warning(f"{client.srv_name} did not answer; the cell is reset without it")


def _arm_options(station: Station, domain: int) -> dict[str, ArmOptions]:
    """How the arms of a station are served, by name."""
    options = {}
    for arm in station.arms:
        config = station.reached(arm.name, domain)
        assert config.tcp_port is not None and config.udp_port is not None
        address = Address(tcp_port=config.tcp_port, udp_port=config.udp_port)
        options[arm.name] = ArmOptions(address, config.username, config.password)
    return options


def main() -> None:
    """Runs a station's simulated cell until it is told to end."""
    sys.setswitchinterval(0.001)  # physics and callbacks share the interpreter: neither shall wait long for the other

    def build(stack: ExitStack) -> list[Node]:
        cell = CellNode()
        stack.callback(cell.close)
        for arm in () if cell.served else cell.station.arms:
            driver = DriverNode(cell.make_arm, arm.name, arm.namespace, follows_poses=True)
            stack.callback(driver.close)
            driver.autostart()
            cell.drivers.append(driver)
        return [cell, *cell.drivers]

    sys.exit(run(build))
