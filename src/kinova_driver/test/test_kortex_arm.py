"""The Kortex backend against a server that answers like an arm, and like one that is not well."""

import math
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from stub_arm import StubArm

from glam_core.errors import ConfigurationError
from glam_core.gen3 import HOME_RAD, JOINTS
from glam_core.pose import exp_so3, transform
from kinova_driver import faults, units
from kinova_driver.arm import Arm, ArmError
from kinova_driver.kortex import api
from kinova_driver.kortex.client import KException
from kinova_driver.kortex.definitions import Api, Base, Common, Session
from kinova_driver.kortex.link import Link
from kinova_driver.kortex.lock import AddressLock
from kinova_driver.kortex_arm import KortexArm

ENOUGH_S = 5.0
QUICK = {"timeouts": {"session_s": 0.5, "connection_s": 0.5, "request_s": 0.3, "command_s": 0.1, "feedback_s": 0.05}}


def own(address, **options):
    return api.own()


def wait_for(condition, timeout_s=ENOUGH_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def fails(call, *arguments):
    try:
        call(*arguments)
    except ArmError:
        return True
    return False


def refusal(arm):
    """Streams commands until the answer to one of them is an error; returns what it says."""
    errors = []

    def refused():
        try:
            arm.command_joint_speeds(np.zeros(7))
        except ArmError as error:
            errors.append(str(error))
        return bool(errors)

    wait_for(refused)
    return errors[0]


@pytest.fixture
def server():
    server = StubArm()
    yield server
    server.close()


@pytest.fixture
def arm(server):
    arm: Arm = KortexArm(server.config(**QUICK), own)
    arm.connect()
    yield arm
    arm.disconnect()


# -- connecting --------------------------------------------------------------------------------------------------------


def test_connecting_logs_in_twice_with_short_time_outs_and_moves_nothing(server, arm):
    sessions = [request for name, request, _ in server.calls if name == "CreateSession"]
    assert len(sessions) == 2
    for session in sessions:
        assert (session.username, session.password) == ("admin", "admin")
        assert (session.session_inactivity_timeout, session.connection_inactivity_timeout) == (500, 500)
    assert server.commands() == []
    arm.disconnect()
    assert server.names().count("CloseSession") == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kortex")]
    arm.disconnect()


def test_the_password_comes_from_the_environment(server, monkeypatch):
    arm = KortexArm(server.config(username="lab", password_env="KINOVA_PASSWORD", **QUICK), own)
    with pytest.raises(ConfigurationError, match="environment variable KINOVA_PASSWORD, which is not set"):
        arm.connect()
    monkeypatch.setenv("KINOVA_PASSWORD", "s3cret")
    arm.connect()
    assert server.last("CreateSession").password == "s3cret"
    arm.disconnect()


def test_a_wrong_password_is_said_at_once(server):
    server.refuse("CreateSession", 3, 15)
    started = time.monotonic()
    with pytest.raises(ArmError, match="does not let 'admin' log in.*INVALID_PASSWORD; set username and password"):
        KortexArm(server.config(), own).connect()
    assert time.monotonic() - started < 1.0


def test_nobody_at_the_address(server):
    config = server.config()
    server.close()
    with pytest.raises(
        ArmError, match=f"127.0.0.1 can not be reached on TCP port {server.tcp_port}.*check its address"
    ):
        KortexArm(config, own).connect()
    with pytest.raises(ArmError, match="there is no host 'no such host'.*check the arm's address"):
        KortexArm(config.model_copy(update={"address": "no such host"}), own).connect()


def test_wrong_degrees_of_freedom(server):
    server.answers["GetActuatorCount"] = lambda request, header: Base.ActuatorInformation(count=6)
    with pytest.raises(ArmError, match="has 6 joints; this driver is for the Gen3 with 7 joints"):
        KortexArm(server.config(**QUICK), own).connect()


def test_the_session_of_a_killed_driver_is_waited_for(server):
    refusals = iter([54, 54])

    def create(request, header):
        sub_code = next(refusals, 0)
        return Api.Error(error_code=3, error_sub_code=sub_code) if sub_code else Common.Empty()

    server.answers["CreateSession"] = create
    arm = KortexArm(server.config(**QUICK), own)
    arm.connect()
    assert server.names().count("CreateSession") == 4
    arm.disconnect()


def test_a_session_that_is_never_given_is_explained(server):
    server.refuse("CreateSession", 3, 54)
    with pytest.raises(ArmError, match="gives us no session on TCP.*INVALID_USER_SESSION_ACCESS.*may hold it"):
        KortexArm(server.config(**QUICK), own).connect()


def test_an_arm_without_feedback(server):
    server.answers["RefreshFeedback"] = lambda request, header: None
    with pytest.raises(ArmError, match=f"gives no feedback on UDP port {server.udp_port}|no connection"):
        KortexArm(server.config(**QUICK), own).connect()


def test_the_servoing_mode_is_set_on_the_way_in(server):
    server.servoing_mode = Base.LOW_LEVEL_SERVOING
    arm = KortexArm(server.config(**QUICK), own)
    arm.connect()
    assert server.servoing_mode == Base.SINGLE_LEVEL_SERVOING
    arm.disconnect()


def test_two_drivers_of_one_arm_are_one_too_many(server, arm):
    with pytest.raises(ArmError, match="is driven by process [0-9]+ of this computer"):
        KortexArm(server.config(**QUICK), own).connect()
    arm.disconnect()
    other = KortexArm(server.config(**QUICK), own)
    other.connect()
    other.disconnect()


def test_the_lock_of_another_process_is_named_and_ends_with_it(tmp_path):
    code = (
        "import sys, pathlib; from kinova_driver.kortex.lock import AddressLock\n"
        "lock = AddressLock('10.0.0.1', 10000, pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], text=True, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        lock = AddressLock("10.0.0.1", 10000, tmp_path)
        with pytest.raises(ArmError, match=f"the arm at 10.0.0.1:10000 is driven by process {process.pid} "):
            lock.acquire()
        AddressLock("10.0.0.2", 10000, tmp_path).acquire()
        process.kill()
        process.wait()
        lock.acquire()
        lock.release()


# -- measuring ---------------------------------------------------------------------------------------------------------


def test_a_measurement_is_in_our_units(server, arm):
    server.feedback.actuators[2].torque = 5.0
    server.feedback.actuators[4].velocity = 90.0
    server.feedback.base.tool_external_wrench_force_z = -3.0
    server.gripper_percent = 40.0
    server.measure()
    wait_for(lambda: arm.read().tool.gripper == pytest.approx(0.4))
    state = arm.read()
    assert state.joint_names == JOINTS
    np.testing.assert_allclose(np.exp(1j * state.positions), np.exp(1j * HOME_RAD), atol=1e-6)
    assert state.efforts[2] == -5.0
    assert state.velocities[4] == pytest.approx(math.pi / 2)
    np.testing.assert_array_equal(state.wrench, [0, 0, -3, 0, 0, 0])
    assert state.arm_state == "SERVOING_READY"
    assert state.faults == ()
    assert 0.0 <= time.monotonic() - state.stamp < 0.5
    assert state.is_finite()


def test_joints_are_followed_over_the_wrap(server, arm):
    start = arm.read().positions[0]
    for step in range(1, 13):
        server.positions[0] = start - math.radians(40.0) * step
        server.measure()
        wait_for(lambda step=step: abs(arm.read().positions[0] - start + math.radians(40.0) * step) < 1e-4)


def test_the_rate_is_held_and_losses_are_counted(server, arm):
    wait_for(lambda: arm.statistics.received > 400)
    assert arm.statistics.rate_hz > 300.0
    assert arm.statistics.lost == 0
    count = iter(range(10**9))
    answer = server.answers["RefreshFeedback"]
    server.answers["RefreshFeedback"] = lambda *call: None if next(count) % 5 == 0 else answer(*call)
    wait_for(lambda: arm.statistics.lost > 5)
    assert arm.read().faults == ()


def test_a_measurement_that_is_not_finite_is_refused(server, arm):
    server.feedback.actuators[3].position = math.nan
    wait_for(lambda: fails(arm.read))
    with pytest.raises(ArmError, match="can not be used: the angle is not finite"):
        arm.read()
    server.feedback.actuators[3].position = 0.0
    wait_for(lambda: not fails(arm.read))


def test_faults_of_the_arm_are_named(server, arm):
    server.feedback.base.fault_bank_a = faults.bank(faults.BASE_BITS, ["JOINT_FAULT"])
    server.feedback.actuators[1].fault_bank_a = faults.bank(faults.ACTUATOR_BITS, ["FOLLOWING_ERROR"])
    wait_for(lambda: arm.read().faults == ("JOINT_FAULT", "joint_2.FOLLOWING_ERROR"))
    server.feedback.base.fault_bank_a = server.feedback.actuators[1].fault_bank_a = 0
    server.feedback.base.active_state = Common.ArmState.Value("ARMSTATE_IN_FAULT")
    wait_for(lambda: arm.read().faults == ("ARM_IN_FAULT",))
    assert arm.read().arm_state == "IN_FAULT"


def test_reading_before_connecting_is_refused(server):
    arm = KortexArm(server.config(), own)
    for call in (arm.read, arm.hold, arm.stop, arm.home, arm.clear_faults, arm.emergency_stop):
        with pytest.raises(ArmError, match="call connect first"):
            call()


# -- commanding --------------------------------------------------------------------------------------------------------


def test_joint_speeds_in_degrees(server, arm):
    speeds = np.linspace(-1.0, 1.0, 7)
    arm.command_joint_speeds(speeds)
    np.testing.assert_allclose(server.speeds(), speeds, atol=1e-6)
    arm.hold()
    np.testing.assert_array_equal(server.speeds(), np.zeros(7))


def test_a_twist_in_the_base_frame(server, arm):
    arm.command_twist(np.array([0.1, 0.0, -0.05, 0.0, 0.0, math.pi / 2]))
    request = server.last("SendTwistCommand")
    assert request.reference_frame == Common.CARTESIAN_REFERENCE_FRAME_BASE
    assert request.twist.linear_x == pytest.approx(0.1, abs=1e-5)
    assert request.twist.angular_z == pytest.approx(90.0)
    arm.hold()
    assert server.last("SendTwistCommand").twist == Base.Twist()


def test_a_twist_is_that_of_our_tool_whatever_tool_the_arm_has(server, arm):
    state = arm.read()
    kortex_tool = state.tool.T_base_tool @ transform(np.eye(3), [0.0, 0.1, 0.0])
    for name, value in zip(("x", "y", "z"), kortex_tool[:3, 3], strict=True):
        setattr(server.feedback.base, f"tool_pose_{name}", value)
    wait_for(lambda: arm.read().stamp > state.stamp + 0.05)
    arm.command_twist(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    lever = kortex_tool[:3, 3] - state.tool.T_base_tool[:3, 3]
    twist = server.last("SendTwistCommand").twist
    np.testing.assert_allclose([twist.linear_x, twist.linear_y], [-lever[1], lever[0]], atol=1e-5)


def test_a_motion_to_a_pose_is_the_arms_own(server, arm):
    goal = arm.read().tool.T_base_tool @ transform(exp_so3([0.0, 0.0, 0.3]), [0.02, 0.0, 0.0])
    arm.command_pose(goal)
    pose = server.last("ExecuteAction").reach_pose.target_pose
    sent = units.pose([pose.x, pose.y, pose.z, pose.theta_x, pose.theta_y, pose.theta_z])
    np.testing.assert_allclose(sent, goal, atol=1e-5)
    assert arm.read().homing
    server.end_action()
    wait_for(lambda: not arm.read().homing)


def test_home(server, arm):
    arm.home()
    assert server.last("ExecuteActionFromReference").identifier == 2
    assert arm.read().homing
    with pytest.raises(ArmError, match="the motion home is under way"):
        arm.command_joint_speeds(np.zeros(7))
    server.end_action()
    wait_for(lambda: not arm.read().homing)
    arm.command_joint_speeds(np.zeros(7))


def test_a_motion_that_is_aborted_is_named(server, arm):
    arm.home()
    server.end_action(Base.ACTION_ABORT, abort_details=56)
    wait_for(lambda: arm.read().faults == (faults.ACTION_ABORTED,))
    with pytest.raises(ArmError, match="the motion home was aborted: ERROR_DEVICE/CONTROL_OUTSIDE_WORKSPACE"):
        arm.command_joint_speeds(np.zeros(7))
    arm.clear_faults()
    arm.command_joint_speeds(np.zeros(7))


def test_a_stop_ends_the_motion_home_without_a_fault(server, arm):
    arm.home()
    arm.hold()
    assert server.commands()[-1] == "Stop"
    server.end_action(Base.ACTION_ABORT, abort_details=55)
    wait_for(lambda: not arm.read().homing)
    assert arm.read().faults == ()


def test_an_arm_without_a_home(server):
    server.answers["ReadAllActions"] = lambda request, header: Base.ActionList()
    arm = KortexArm(server.config(**QUICK), own)
    arm.connect()
    with pytest.raises(ArmError, match="has no action called Home; restore its default actions"):
        arm.home()
    assert not arm.read().homing
    arm.disconnect()


def test_emergency_stop_and_clear_faults(server, arm):
    arm.emergency_stop()
    assert server.commands() == ["ApplyEmergencyStop"]
    server.servoing_mode = Base.LOW_LEVEL_SERVOING
    arm.clear_faults()
    assert "ClearFaults" in server.commands()
    assert server.servoing_mode == Base.SINGLE_LEVEL_SERVOING


@pytest.mark.parametrize(
    ("command", "value", "message"),
    [
        ("command_joint_speeds", np.zeros(6), r"joint speeds has the shape \(7,\), not \(6,\)"),
        ("command_joint_speeds", np.full(7, np.nan), "joint speeds is not finite"),
        ("command_joint_speeds", np.array([0, 0, 1.5, 0, 0, 1.3, 0]), "can not turn joint_3, joint_6 this fast"),
        ("command_twist", np.zeros(7), r"twist has the shape \(6,\)"),
        ("command_twist", np.full(6, np.inf), "twist is not finite"),
        ("command_pose", np.eye(3), r"pose has the shape \(4, 4\)"),
        ("command_pose", np.full((4, 4), np.nan), "pose is not finite"),
        ("command_gripper", 1.5, "0 .open. to 1 .closed., not 1.5"),
        ("command_gripper", math.nan, "is not finite"),
    ],
)
def test_bad_commands_are_refused(server, arm, command, value, message):
    with pytest.raises(ArmError, match=message):
        getattr(arm, command)(value)
    assert server.commands() == []


def test_late_answers_are_borne_a_few_times(server, arm):
    silent = iter([None] * 3)
    server.answers["SendJointSpeedsCommand"] = lambda request, header: next(silent, Common.Empty())
    until = time.monotonic() + 3 * QUICK["timeouts"]["command_s"]
    while time.monotonic() < until:
        arm.command_joint_speeds(np.zeros(7))
        time.sleep(0.02)
    assert arm.read().faults == ()
    server.answers["SendJointSpeedsCommand"] = lambda request, header: None
    assert "no answer in time" in refusal(arm)
    assert arm.read().faults == (faults.COMMANDS_LOST,)


def test_a_late_answer_delays_no_command(server, arm):
    """An arm that answers late gets its commands at their pace all the same."""
    release = threading.Event()

    def slow(request, header):
        release.wait(ENOUGH_S)
        return Common.Empty()

    server.answers["SendJointSpeedsCommand"] = slow
    started = time.monotonic()
    for _ in range(3):
        arm.command_joint_speeds(np.full(7, 0.1))
    assert time.monotonic() - started < QUICK["timeouts"]["command_s"]
    release.set()
    wait_for(lambda: server.commands().count("SendJointSpeedsCommand") == 3)


def test_a_stop_is_the_last_word(server, arm, monkeypatch):
    """A command that waits for its turn while the arm is stopped is dropped."""
    entered, release = threading.Event(), threading.Event()
    begin = Link.begin

    def slow(link, name, request):
        entered.set()
        release.wait(ENOUGH_S)
        return begin(link, name, request)

    monkeypatch.setattr(Link, "begin", slow)
    errors = []

    def command():
        try:
            arm.command_joint_speeds(np.full(7, 0.1))
        except ArmError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=command) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(ENOUGH_S)
    stopper = threading.Thread(target=arm.stop)
    stopper.start()
    release.set()
    for thread in [*threads, stopper]:
        thread.join()
    wait_for(lambda: "Stop" in server.commands())
    assert server.commands()[-1] == "Stop"
    assert server.commands().count("SendJointSpeedsCommand") == 1
    assert all("was stopped while the command was on its way" in error for error in errors)
    assert len(errors) == 2


def test_stops_are_not_held_up_by_a_command_that_hangs(server, arm):
    server.answers["ExecuteActionFromReference"] = lambda request, header: None
    acting = threading.Thread(target=lambda: fails(arm.home))
    acting.start()
    wait_for(lambda: "ExecuteActionFromReference" in server.commands())
    started = time.monotonic()
    arm.stop()
    assert time.monotonic() - started < 0.4
    acting.join()


# -- the gripper -------------------------------------------------------------------------------------------------------


def gripper_targets(server):
    return [
        pytest.approx(request.gripper.finger[0].value)
        for name, request, _ in server.calls
        if name == "SendGripperCommand"
    ]


def test_the_gripper_is_thinned_out_and_the_last_target_arrives(server, arm):
    started = time.monotonic()
    for value in np.linspace(0.0, 1.0, 41):
        arm.command_gripper(float(value))
        time.sleep(0.025)
    wait_for(lambda: gripper_targets(server)[-1] == 1.0)
    lasted = time.monotonic() - started
    assert len(gripper_targets(server)) <= 5 * lasted + 1
    request = server.last("SendGripperCommand")
    assert request.mode == Base.GRIPPER_POSITION
    assert server.feedback.actuators  # the stream of the joints goes on


def test_a_gripper_command_that_failed_is_sent_again(server, arm):
    server.refuse("SendGripperCommand", 3, 21)
    arm.command_gripper(0.7)
    wait_for(lambda: server.commands().count("SendGripperCommand") >= 2)
    del server.answers["SendGripperCommand"]
    count = len(server.calls)
    wait_for(lambda: any(name == "SendGripperCommand" for name, _, _ in server.calls[count:]))
    assert server.last("SendGripperCommand").gripper.finger[0].value == pytest.approx(0.7)


def test_a_hold_keeps_the_grip(server, arm):
    arm.command_gripper(0.5)
    wait_for(lambda: gripper_targets(server) == [0.5])
    arm.command_gripper(0.9)  # waits for its turn
    arm.hold()
    time.sleep(0.3)
    assert gripper_targets(server) == [0.5]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_silent_arm_is_named_within_half_a_second_and_comes_back(server, arm):
    arm.command_joint_speeds(np.full(7, 0.1))
    answers = dict(server.answers)
    for name in (*answers, "SendJointSpeedsCommand", "Stop", "CreateSession", "KeepAlive", "CloseSession"):
        server.answers[name] = lambda request, header: None
    started = time.monotonic()
    wait_for(lambda: faults.CONNECTION_LOST in arm.read().faults)
    assert time.monotonic() - started < 1.5  # 20 losses of 50 ms each here; half a second with the usual time-outs
    for call in (arm.hold, arm.stop, lambda: arm.command_joint_speeds(np.zeros(7)), arm.clear_faults):
        with pytest.raises(ArmError, match="CONNECTION_LOST"):
            call()
    server.answers.clear()
    server.answers |= answers
    wait_for(lambda: arm.read().faults == (faults.CONNECTION_RESTORED,))
    assert "Stop" in server.commands()  # what moved when it was lost does not go on
    with pytest.raises(ArmError, match="CONNECTION_RESTORED.*call clear_faults"):
        arm.command_joint_speeds(np.zeros(7))
    arm.clear_faults()
    assert arm.read().faults == ()
    arm.command_joint_speeds(np.zeros(7))
    assert arm.statistics.reconnections == 1


def test_an_arm_that_hangs_up_is_named_at_once(server, arm):
    started = time.monotonic()
    server.hang_up()
    wait_for(lambda: faults.CONNECTION_LOST in arm.read().faults or faults.CONNECTION_RESTORED in arm.read().faults)
    assert time.monotonic() - started < 0.5
    wait_for(lambda: arm.read().faults == (faults.CONNECTION_RESTORED,))


def test_silence_on_tcp_alone_is_noticed_without_any_command(server, arm):
    for name in ("GetServoingMode", "KeepAlive"):
        server.answers[name] = lambda request, header: None
    started = time.monotonic()
    wait_for(lambda: faults.CONNECTION_LOST in arm.read().faults)
    assert time.monotonic() - started < 0.7


@pytest.mark.parametrize("call", ["GetServoingMode", "SendJointSpeedsCommand", "RefreshFeedback"])
def test_a_session_that_was_ended_is_named_and_a_new_one_is_made(server, arm, call):
    server.refuse(call, 3, 54, "session expired")
    started = time.monotonic()
    if call == "SendJointSpeedsCommand":
        assert "INVALID_USER_SESSION_ACCESS: session expired" in refusal(arm)
    wait_for(lambda: faults.SESSION_LOST in arm.read().faults)
    assert time.monotonic() - started < 0.5
    fresh = StubArm()
    server.answers[call] = fresh.answers.get(call, lambda request, header: Common.Empty())
    if call == "RefreshFeedback":
        server.answers[call] = lambda request, header: server.feedback
    fresh.close()
    wait_for(lambda: faults.CONNECTION_RESTORED in arm.read().faults)
    arm.clear_faults()
    assert arm.read().faults == ()


def test_another_session_in_control_is_named_with_who_is_connected(server, arm):
    connection = Common.Connection(connection_information="192.168.1.77:41000")
    server.answers["GetConnections"] = lambda request, header: Session.ConnectionList(connection=[connection])
    server.refuse("SendJointSpeedsCommand", 3, 130)
    assert "SESSION_NOT_IN_CONTROL" in refusal(arm)
    assert arm.read().faults == (faults.SESSION_LOST,)
    del server.answers["SendJointSpeedsCommand"]
    wait_for(lambda: "GetConnections" in server.names())

    def reason():
        with pytest.raises(ArmError, match="SESSION_LOST") as caught:
            arm.command_joint_speeds(np.zeros(7))
        return str(caught.value)

    wait_for(lambda: "connected are 192.168.1.77:41000); call clear_faults" in reason())
    arm.clear_faults()
    arm.command_joint_speeds(np.zeros(7))


def test_a_changed_servoing_mode_is_named_and_undone_by_clear_faults(server, arm):
    server.servoing_mode = Base.LOW_LEVEL_SERVOING
    wait_for(lambda: arm.read().faults == (faults.SERVOING_MODE_CHANGED,))
    assert server.servoing_mode == Base.LOW_LEVEL_SERVOING  # somebody wants it so; only a person changes it back
    arm.clear_faults()
    assert server.servoing_mode == Base.SINGLE_LEVEL_SERVOING
    assert arm.read().faults == ()


def test_an_error_of_the_client_itself_is_an_arm_error(server):
    """Kinova's client has errors of its own, such as one for a router that is being closed."""

    def inactive(router, name, request):
        raise KException(1, 0, "not active")

    arm = KortexArm(server.config(**QUICK), lambda address, **options: replace(api.own(), begin=inactive))
    arm.connect()
    with pytest.raises(ArmError, match="SendJointSpeedsCommand: KException.*not active"):
        arm.command_joint_speeds(np.zeros(7))
    wait_for(lambda: faults.CONNECTION_LOST in arm.read().faults or faults.CONNECTION_RESTORED in arm.read().faults)
    arm.disconnect()


def test_a_refused_command_is_an_arm_error(server, arm):
    server.refuse("SendJointSpeedsCommand", 3, 22, "arm is in fault state")
    assert "ERROR_DEVICE/ROBOT_IN_FAULT: arm is in fault state" in refusal(arm)
    assert arm.read().faults == ()
