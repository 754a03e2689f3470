"""Faults, errors and states by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinova_driver import faults
from kinova_driver.kortex.definitions import BaseCyclic

BANKS = [faults.BASE_BITS, faults.ACTUATOR_BITS, faults.INTERCONNECT_BITS, faults.GRIPPER_BITS]


@given(st.sampled_from(BANKS), st.data())
def test_names_and_back(bits, data):
    chosen = data.draw(st.sets(st.sampled_from(sorted(bits.values()))))
    assert set(faults.names(bits, faults.bank(bits, chosen))) == chosen


@given(st.sampled_from(BANKS), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_every_bit_has_a_name(bits, bank_a, bank_b):
    names = faults.names(bits, bank_a, bank_b)
    assert len(set(names)) == len(names) == bank_a.bit_count() + bank_b.bit_count()


def test_banks_have_their_bits():
    assert faults.ACTUATOR_BITS[0x1] == "FOLLOWING_ERROR"
    assert faults.ACTUATOR_BITS[0x400000] == "COMMUNICATION_TICK_LOST"
    assert faults.BASE_BITS[0x800000] == faults.EMERGENCY_STOP
    assert faults.names(faults.ACTUATOR_BITS, 1 << 31) == ("BANK_A_BIT_31",)


def test_faults_and_warnings_of_a_measurement_are_named_with_their_place():
    feedback = BaseCyclic.Feedback(actuators=[BaseCyclic.ActuatorFeedback() for _ in range(7)])
    assert faults.of_feedback(feedback) == faults.warnings_of_feedback(feedback) == ()
    feedback.base.fault_bank_a = 0x800010
    feedback.actuators[2].fault_bank_a = 0x20
    feedback.actuators[6].warning_bank_a = 0x20000
    feedback.interconnect.fault_bank_a = 0x80
    feedback.interconnect.gripper_feedback.fault_bank_a = 0x1
    assert faults.of_feedback(feedback) == (
        "JOINT_FAULT",
        "EMERGENCY_STOP_ACTIVATED",
        "joint_3.MAXIMUM_TORQUE",
        "interconnect.COMMUNICATION_TICK_LOST",
        "gripper.MAXIMUM_MOTOR_CURRENT",
    )
    assert faults.warnings_of_feedback(feedback) == ("joint_7.MAXIMUM_MOTOR_TEMPERATURE",)


@pytest.mark.parametrize(
    ("state", "name"), [(7, "SERVOING_READY"), (4, "IN_FAULT"), (10, "BRAKE_RELEASING"), (99, "STATE_99")]
)
def test_states_have_names(state, name):
    assert faults.arm_state_name(state) == name


@pytest.mark.parametrize(
    ("code", "sub_code", "name"),
    [
        (3, 75, "ERROR_DEVICE/WRONG_SERVOING_MODE"),
        (3, 130, "ERROR_DEVICE/SESSION_NOT_IN_CONTROL"),
        (1, 5, "ERROR_PROTOCOL_SERVER/UNSUPPORTED_METHOD"),
        (9, 999, "9/999"),
    ],
)
def test_errors_have_names(code, sub_code, name):
    assert faults.error_name(code, sub_code) == name
