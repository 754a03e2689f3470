"""Watches /diagnostics: one live line on a terminal, and an alarm in the log for everything that goes wrong."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from glam_ros import convert, params, process, qos, topics
from glam_ros.meters import Health, Level
from glam_ros.params import parameter
from glam_ros.reporting import clock_s


@dataclass(frozen=True)
class MonitorParameters:
    """Parameters of the monitor."""

    silence_s: float = parameter(3.0, "a stage that reports less often than this raises an alarm, s", 0.1, 60.0)
    period_s: float = parameter(1.0, "time between two looks, s", 0.05, 60.0)


class Watch:
    """What the stages reported last, and what changed for the worse. Time is passed in."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._heard: dict[str, tuple[float, Health]] = {}
        self._alarms: dict[str, str] = {}

    def hear(self, health: Health, now: float) -> None:
        """Takes in a report."""
        self._heard[health.name] = (now, health)

    def look(self, now: float) -> list[str]:
        """The alarms that are new since the last look, and the ends of old ones."""
        alarms = {}
        for name, (heard_at, health) in self._heard.items():
            if now - heard_at > self._silence_s:
                alarms[name] = f"silent for more than {self._silence_s:g} s"
            elif health.level != Level.OK:
                alarms[name] = health.message
        news = [f"{name}: {alarm}" for name, alarm in alarms.items() if self._alarms.get(name) != alarm]
        news += [f"{name}: well again" for name in self._alarms if name not in alarms]
        self._alarms = alarms
        return news

    def line(self) -> str:
        """Every stage in a few words: rate, and whether it is well."""
        words = []
        for name, (_, health) in sorted(self._heard.items()):
            rate = health.values.get("rate_hz")
            words.append(f"{name} {'ALARM' if name in self._alarms else 'ok'}" + (f" {rate} Hz" if rate else ""))
        return " | ".join(words) or "no stage has reported yet"


class Monitor(Node):
    """Prints what `Watch` sees."""

    def __init__(self) -> None:
        super().__init__("monitor")
        params.declare(self, MonitorParameters, locked=lambda: True)
        settings = params.read(self, MonitorParameters)
        self._watch = Watch(settings.silence_s)
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, qos.STATUS)
        self.create_timer(settings.period_s, self._look)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for health in convert.healths_from_message(message):
            self._watch.hear(health, clock_s(self))

    def _look(self) -> None:
        for news in self._watch.look(clock_s(self)):
            self.get_logger().info(news) if news.endswith("well again") else self.get_logger().error(news)
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[K{self._watch.line()}")
            sys.stdout.flush()


def main() -> None:
    """Runs the monitor."""
    process.main(Monitor)
