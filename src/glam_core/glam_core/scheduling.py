"""Real-time priority for what moves an arm, where the system permits it."""

from __future__ import annotations

import os

GUARDIAN, DRIVER, DECODER = 10, 5, 4
"""Priorities: what may stop an arm goes before what moves it, and that before what decides."""


def real_time(priority: int) -> bool:
    """Gives this thread, and the threads and processes that it starts from now on, a real-time priority (`SCHED_RR`).

    It needs the capability CAP_SYS_NICE or a limit `rtprio` of the user; without, everything goes on as it was.

    Returns:
        Whether the system permitted it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except (OSError, AttributeError):  # not permitted, or another system
        return False
    return True
