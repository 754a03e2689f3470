"""The ROS subcommands of `glam`; each module is imported when its command is called."""

from __future__ import annotations


def up() -> int:
    """`glam up`: starts the graph of a station with a model."""
    from glam_ros.up import main

    return main()


def record() -> int:
    """`glam record`: records episodes of the running graph."""
    from glam_ros.record_demos import main

    return main()


def demo() -> int:
    """`glam demo`: runs episodes through the live graph and reports."""
    from glam_ros.demo import main

    return main()
