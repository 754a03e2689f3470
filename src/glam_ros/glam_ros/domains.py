"""A ROS domain for one graph alone, so that it hears no other graph of this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from glam_core.errors import ConfigurationError

DOMAINS = range(1, 101)
FIRST_PORT, PORTS_PER_DOMAIN = 7400, 250
"""Where DDS listens: domain `d` has the UDP ports from `FIRST_PORT + d PORTS_PER_DOMAIN` on."""
FIRST_PARTICIPANT, RESERVATION = 10, 248
"""Offsets of the port that the first participant of a domain takes, and of one that none ever takes."""


@contextmanager
def own_domain() -> Iterator[int]:
    """A domain in which nobody on this machine takes part, reserved against others who ask here until it is left.

    Raises:
        ConfigurationError: All are in use.
    """
    first = os.getpid() % len(DOMAINS)
    for domain in (*DOMAINS[first:], *DOMAINS[:first]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reservation:
            if _bind(reservation, domain, RESERVATION) and _is_free(domain):
                yield domain
                return
    raise ConfigurationError("every ROS domain of this machine is in use; end other graphs first")


def _is_free(domain: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return _bind(probe, domain, FIRST_PARTICIPANT)


def _bind(endpoint: socket.socket, domain: int, offset: int) -> bool:
    try:
        endpoint.bind(("", FIRST_PORT + domain * PORTS_PER_DOMAIN + offset))
    except OSError:
        return False
    return True
