"""The devices of the simulated arm, and the banks of bits in which they report faults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glam_core.errors import ConfigurationError, closest
from kinova_driver.kortex.definitions import ActuatorConfig, Base, Common, GripperConfig, InterconnectConfig

FIRMWARE = 2 << 24 | 6 << 16
"""2.6.0, one byte per part."""


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: What it is called here.
        identifier: Its number on the wire.
        kind: Value of `Common.DeviceTypes`.
        order: Counted from the base.
        bank: The enumeration of its faults.
    """

    name: str
    identifier: int
    kind: int
    order: int
    bank: object


_TYPES = Common.DeviceTypes
_BIG, _SMALL = _TYPES.Value("BIG_ACTUATOR"), _TYPES.Value("SMALL_ACTUATOR")

DEVICES = (
    Device("base", 0, _TYPES.Value("BASE"), 0, Base.SafetyIdentifier),
    *(Device(f"joint_{n}", n, _BIG if n < 5 else _SMALL, n, ActuatorConfig.SafetyIdentifierBankA) for n in range(1, 8)),
    Device("interconnect", 8, _TYPES.Value("INTERCONNECT"), 8, InterconnectConfig.SafetyIdentifier),
    Device("gripper", 9, _TYPES.Value("GRIPPER"), 9, GripperConfig.SafetyIdentifier),
)
INTERCONNECT, GRIPPER = 8, 9


def device(name: str) -> Device:
    """The device called `name`."""
    for candidate in DEVICES:
        if candidate.name == name:
            return candidate
    raise ConfigurationError(closest(name, [candidate.name for candidate in DEVICES], "device of the arm"))


def fault_names(owner: Device) -> list[str]:
    """Every fault that a device knows."""
    return [name for name, bit in owner.bank.items() if bit]  # type: ignore[attr-defined]


def reporter_of(fault: str, name: str = "") -> Device:
    """The device that reports a fault: the one called `name`, or the first that knows the fault.

    Raises:
        ConfigurationError: It knows no such fault.
    """
    candidates = (device(name),) if name else DEVICES
    for candidate in candidates:
        if fault in fault_names(candidate):
            return candidate
    legal = sorted({fault for candidate in candidates for fault in fault_names(candidate)})
    raise ConfigurationError(closest(fault, legal, f"fault of {name or 'the arm'}"))


def bank(identifier: int, faults: Iterable[tuple[int, str]]) -> int:
    """The faults of one device as the bits of its bank."""
    bits = 0
    for owner, name in faults:
        if owner == identifier:
            bits |= DEVICES[identifier].bank.Value(name)  # type: ignore[attr-defined]
    return bits
