"""What a Kortex arm says is wrong, by name: its banks of faults and warnings, its errors, and the states it is in."""

from __future__ import annotations

from collections.abc import Iterable

from kinova_driver.kortex.definitions import (
    ActuatorConfig,
    Base,
    Common,
    ErrorCodes,
    GripperConfig,
    InterconnectConfig,
    SubErrorCodes,
)

EMERGENCY_STOP = "EMERGENCY_STOP_ACTIVATED"
"""What the base reports from an emergency stop until its faults are cleared."""
ARM_IN_FAULT = "ARM_IN_FAULT"
"""Our own: the arm is in the state of fault, and its banks do not say why."""
CONNECTION_LOST = "CONNECTION_LOST"
"""Our own: nothing was heard from the arm for too long."""
CONNECTION_RESTORED = "CONNECTION_RESTORED"
"""Our own: the arm is back after it was lost, and waits for `clear_faults`."""
COMMANDS_LOST = "COMMANDS_LOST"
"""Our own: the arm answered too many commands in a row too late or not at all."""
PACKETS_LOST = "PACKETS_LOST"
"""Our own: too many measurements of the last moments did not come."""
SESSION_LOST = "SESSION_LOST"
"""Our own: the arm takes no commands from this session, because it ended or another one took control."""
SERVOING_MODE_CHANGED = "SERVOING_MODE_CHANGED"
"""Our own: somebody took the arm out of single-level servoing."""
ACTION_ABORTED = "ACTION_ABORTED"
"""Our own: a motion of the arm's own ended before its goal."""


def _bits(enumeration) -> dict[int, str]:
    return {value: name for name, value in enumeration.items() if value}


BASE_BITS = _bits(Base.SafetyIdentifier)
ACTUATOR_BITS = _bits(ActuatorConfig.SafetyIdentifierBankA)
INTERCONNECT_BITS = _bits(InterconnectConfig.SafetyIdentifier)
GRIPPER_BITS = _bits(GripperConfig.SafetyIdentifier)
"""Bit to name, of bank A; no bit of a bank B is documented."""

_PREFIX = "ARMSTATE_"


def names(bits: dict[int, str], bank_a: int, bank_b: int = 0) -> tuple[str, ...]:
    """Names of the bits that are set, the lowest first; a bit without a name is called by its bank and number."""
    known = [bits.get(1 << bit, f"BANK_A_BIT_{bit}") for bit in range(32) if bank_a >> bit & 1]
    return (*known, *(f"BANK_B_BIT_{bit}" for bit in range(32) if bank_b >> bit & 1))


def bank(bits: dict[int, str], faults: Iterable[str]) -> int:
    """The bank A in which exactly these named bits are set; the inverse of `names`."""
    by_name = {name: bit for bit, name in bits.items()}
    return sum({by_name[name] for name in faults})


def of_feedback(feedback) -> tuple[str, ...]:
    """Every fault in a measurement, named with its place: `EMERGENCY_STOP_ACTIVATED`, `joint_3.MAXIMUM_TORQUE`."""
    return _everything(feedback, "fault_bank_a", "fault_bank_b")


def warnings_of_feedback(feedback) -> tuple[str, ...]:
    """Every warning in a measurement, named like the faults."""
    return _everything(feedback, "warning_bank_a", "warning_bank_b")


def arm_state_name(state: int) -> str:
    """The name of an arm state: `SERVOING_READY`, `IN_FAULT`; `STATE_<number>` for one that is not documented."""
    known = Common.ArmState.DESCRIPTOR.values_by_number.get(state)
    return known.name.removeprefix(_PREFIX) if known else f"STATE_{state}"


def error_name(code: int, sub_code: int) -> str:
    """The name of an error: `ERROR_DEVICE/WRONG_SERVOING_MODE`; numbers where it is not documented."""
    known = ErrorCodes.DESCRIPTOR.values_by_number.get(code)
    known_sub = SubErrorCodes.DESCRIPTOR.values_by_number.get(sub_code)
    return f"{known.name if known else code}/{known_sub.name if known_sub else sub_code}"


def _everything(feedback, a: str, b: str) -> tuple[str, ...]:
    found = list(names(BASE_BITS, getattr(feedback.base, a), getattr(feedback.base, b)))
    for number, actuator in enumerate(feedback.actuators, start=1):
        bank_a, bank_b = getattr(actuator, a), getattr(actuator, b)
        if bank_a or bank_b:
            found += [f"joint_{number}.{name}" for name in names(ACTUATOR_BITS, bank_a, bank_b)]
    interconnect = feedback.interconnect
    for place, device, bits in (
        ("interconnect", interconnect, INTERCONNECT_BITS),
        ("gripper", interconnect.gripper_feedback, GRIPPER_BITS),
    ):
        found += [f"{place}.{name}" for name in names(bits, getattr(device, a), getattr(device, b))]
    return tuple(found)
