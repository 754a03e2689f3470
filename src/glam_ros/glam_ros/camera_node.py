"""One real camera: newest frame in, images with their capture stamps out."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image

from glam_core.spec import ImageSpec
from glam_ros import convert, params, process, qos, topics
from glam_ros.camera import NewestFrame, require_source
from glam_ros.meters import Health, LatencyMeter, Level, RateMeter
from glam_ros.params import parameter
from glam_ros.reporting import Reporter, clock_s

POLLS_PER_FRAME = 4.0
"""How often a new frame is looked for, per frame; it waits for a quarter of its period at most."""


@dataclass(frozen=True)
class CameraParameters:
    """Parameters of a camera node."""

    camera: str = parameter("front", "name of the camera: the place where it stands")
    source: str = parameter("", "device index (0), device path, stream URL or video file")
    topic: str = parameter("", "topic of the images; empty for camera/<camera>/image_raw")
    height: int = parameter(480, "height of the published images, pixels", 16, 2160)
    width: int = parameter(640, "width of the published images, pixels", 16, 3840)
    rate_hz: float = parameter(10.0, "rate of publishing, Hz; surplus frames are dropped", 0.1, 120.0)
    latency_s: float = parameter(0.0, "measured time from light to arrival, s; subtracted from the stamps", 0.0, 1.0)
    autostart: bool = parameter(True, "configure and activate at start")


class CameraNode(LifecycleNode):
    """Publishes the newest frame of one camera."""

    def __init__(self) -> None:
        super().__init__("camera_node")
        params.declare(self, CameraParameters, locked=lambda: process.label(self) != "unconfigured")
        self._newest: NewestFrame | None = None
        self._rate, self._latency = RateMeter(), LatencyMeter()
        self._active = False
        self._last_stamp = 0.0
        self._reporter = Reporter(self, self._health)

    @process.refuse_on_error
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begins to read the camera; one that is not there yet is waited for, one that can not exist is refused."""
        self._settings = settings = params.read(self, CameraParameters)
        require_source(settings.camera, settings.source)
        topic = settings.topic or topics.camera_image(settings.camera)
        self._images = self.create_lifecycle_publisher(Image, topic, qos.IMAGES)
        self._newest = NewestFrame(
            settings.source,
            ImageSpec(name=settings.camera, height=settings.height, width=settings.width),
            lambda: clock_s(self),
            settings.latency_s,
        )
        self._timer = self.create_timer(1.0 / (POLLS_PER_FRAME * settings.rate_hz), self._publish)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begins to publish."""
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ceases to publish; the camera stays open."""
        self._active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the camera go."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the camera go."""
        self._release()
        return super().on_shutdown(state)

    def _publish(self) -> None:
        """Publishes the newest frame, unless the last one was published less than a period ago."""
        if not self._active or self._newest is None:
            return
        due = self._last_stamp + (1.0 - 0.5 / POLLS_PER_FRAME) / self._settings.rate_hz
        if clock_s(self) - self._settings.latency_s < due or (frame := self._newest.take()) is None:
            return
        self._last_stamp = frame.stamp
        self._images.publish(convert.image_message(frame.image, frame.stamp, f"camera_{self._settings.camera}"))
        now = clock_s(self)
        self._rate.tick(now)
        self._latency.add(now - frame.stamp)

    def _health(self, now: float) -> Health:
        name = self.get_name()
        if self._newest is None:
            return Health(name, Level.WARN, "not configured")
        values = {
            "rate_hz": f"{self._rate.rate_hz(now):.1f}",
            "age_s": f"{self._rate.age_s(now):.3f}",
            "capture_to_topic_ms": self._latency.summary_ms(),
        }
        if fault := self._newest.fault:
            return Health(name, Level.ERROR, fault, values)
        return Health(name, Level.OK, f"camera '{self._settings.camera}' publishes", values)

    def _release(self) -> None:
        if self._newest is not None:
            self.destroy_timer(self._timer)
            self.destroy_lifecycle_publisher(self._images)
            self._newest.close()
            self._newest = None
        self._active = False


def main() -> None:
    """Runs the node."""
    process.main(CameraNode)
