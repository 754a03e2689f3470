"""The client of our own: calls, errors, sessions and notifications over real sockets, and a server that misbehaves."""

import os
import threading
import time

import psutil
import pytest
from stub_server import StubServer

from kinova_driver.kortex import client, services
from kinova_driver.kortex.client import KException, KServerException, RouterClientSendOptions
from kinova_driver.kortex.definitions import Api, Base, BaseCyclic, Common, Session
from kinova_driver.kortex.frame import NOTIFICATION, RESPONSE, Header, WireError, encode

FAST = RouterClientSendOptions(timeout_ms=50)
ENOUGH_S = 5.0


def wait_for(condition, timeout_s=ENOUGH_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@pytest.fixture
def server():
    server = StubServer()
    yield server
    server.close()


class Connection:
    def __init__(self, server, udp=False):
        self.errors: list[KException] = []
        self.transport = client.UDPTransport() if udp else client.TCPTransport()
        self.transport.connect("127.0.0.1", server.udp_port if udp else server.tcp_port)
        self.router = client.RouterClient(self.transport, self.errors.append)
        self.base = client.BaseClient(self.router)
        self.session = client.SessionManager(self.router)

    def close(self):
        self.session.CloseSession()
        self.transport.disconnect()
        self.router.close()


@pytest.fixture
def tcp(server):
    connection = Connection(server)
    yield connection
    connection.close()


@pytest.fixture
def udp(server):
    connection = Connection(server, udp=True)
    yield connection
    connection.close()


def test_a_call_and_its_answer(server, tcp):
    server.answers["GetActuatorCount"] = lambda request, header: Base.ActuatorInformation(count=7)
    assert tcp.base.GetActuatorCount().count == 7
    tcp.base.SetServoingMode(Base.ServoingModeInformation(servoing_mode=Base.SINGLE_LEVEL_SERVOING), options=FAST)
    name, request, header = server.calls[-1]
    assert (name, request.servoing_mode, header.message_id, header.device_id) == ("SetServoingMode", 2, 2, 0)


def test_a_call_to_a_device(server, tcp):
    client.ActuatorConfigClient(tcp.router).ClearFaults(3)
    assert server.calls[-1][2].device_id == 3


def test_feedback_over_udp(server, udp):
    feedback = BaseCyclic.Feedback(base=BaseCyclic.BaseFeedback(tool_pose_x=0.5))
    server.answers["RefreshFeedback"] = lambda request, header: feedback
    assert client.BaseCyclicClient(udp.router).RefreshFeedback(options=FAST) == feedback


def test_an_unknown_call_is_named_with_the_closest(tcp):
    with pytest.raises(WireError, match="did you mean 'SendTwistCommand'"):
        tcp.base.SendTwistComand(Base.TwistCommand())


def test_a_session_tags_every_call_and_ends(server, tcp):
    info = Session.CreateSessionInfo(username="admin", password="secret", session_inactivity_timeout=2000)
    tcp.session.CreateSession(info, FAST)
    tcp.base.GetArmState()
    tcp.session.CloseSession()
    wait_for(lambda: "CloseSession" in server.names())
    assert [(name, header.session_id) for name, _, header in server.calls if name != "KeepAlive"] == [
        ("CreateSession", 0),
        ("GetArmState", 7),
        ("CloseSession", 7),
    ]
    assert server.calls[0][1].password == "secret"
    assert not [thread for thread in threading.enumerate() if thread.name == "kortex-keep-alive"]


def test_a_quiet_session_is_kept_alive(server, tcp):
    tcp.session.CreateSession(Session.CreateSessionInfo(), FAST)
    started = time.monotonic()
    wait_for(lambda: sum(name == "KeepAlive" for name, _, _ in server.calls) >= 3)
    assert 0.4 < time.monotonic() - started < 2.0


def test_keep_alive_survives_silence_and_reports_the_end(server):
    ended = threading.Event()
    connection = Connection(server)
    session = client.SessionManager(connection.router, lambda error: ended.set())
    server.answers["KeepAlive"] = lambda request, header: None
    session.CreateSession(Session.CreateSessionInfo(), FAST)
    wait_for(lambda: sum(name == "KeepAlive" for name, _, _ in server.calls) >= 2)
    assert not ended.is_set()
    server.answers["KeepAlive"] = lambda request, header: Api.Error(error_code=3, error_sub_code=54)
    assert ended.wait(ENOUGH_S)
    session.CloseSession()
    connection.close()


def test_a_refused_session(server, tcp):
    server.answers["CreateSession"] = lambda request, header: Api.Error(
        error_code=3, error_sub_code=15, error_sub_string="wrong password"
    )
    with pytest.raises(KServerException, match="ERROR_DEVICE/INVALID_PASSWORD: wrong password") as caught:
        tcp.session.CreateSession(Session.CreateSessionInfo())
    assert (caught.value.get_error_code(), caught.value.get_error_sub_code()) == (3, 15)


@pytest.mark.parametrize(
    ("payload", "text"),
    [(b"", "UNSUPPORTED_METHOD$"), (b"\xff\xff", "UNSUPPORTED_METHOD: its details could not be read")],
    ids=["no details", "garbage for details"],
)
def test_an_error_without_usable_details_has_the_codes_of_its_header(server, tcp, payload, text):
    method = services.method("Base", "Stop")
    server.answers["Stop"] = lambda request, header: None
    header = Header(RESPONSE, 0, 1, 5, 0, 1, method.service_id, method.function_id)
    answering = threading.Thread(target=lambda: (wait_for(lambda: server.calls), server.send(encode(header, payload))))
    answering.start()
    with pytest.raises(KServerException, match=f"ERROR_PROTOCOL_SERVER/{text}") as caught:
        tcp.base.Stop()
    assert (caught.value.get_error_code(), caught.value.get_error_sub_code()) == (1, 5)
    answering.join()


def test_a_payload_that_is_no_answer(server, tcp):
    server.answers["GetMeasuredCartesianPose"] = lambda request, header: b"\x0d\x00"
    with pytest.raises(WireError, match="are no Pose"):
        tcp.base.GetMeasuredCartesianPose()


def test_a_time_out_leaves_nothing_behind_and_a_late_answer_does_no_harm(server, tcp):
    release = threading.Event()

    def late(request, header):
        release.wait(ENOUGH_S)
        return Base.ArmStateInformation()

    server.answers["GetArmState"] = late
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer to Base.GetArmState within 50 ms"):
        tcp.base.GetArmState(options=FAST)
    assert time.monotonic() - started < 1.0
    assert tcp.router.waiting == 0
    release.set()
    tcp.base.Stop()
    wait_for(lambda: tcp.router.late == 1)


def test_message_ids_start_at_one_wrap_and_skip_those_in_use(server, tcp):
    tcp.base.Stop()
    assert server.calls[-1][2].message_id == 1
    tcp.router._message_id = 0xFFFE
    for expected in (0xFFFF, 0, 1):
        tcp.base.Stop()
        assert server.calls[-1][2].message_id == expected
    release = threading.Event()
    server.answers["GetArmState"] = lambda request, header: release.wait(ENOUGH_S) and None

    def wait_in_vain():
        with pytest.raises(TimeoutError):
            tcp.base.GetArmState(options=FAST)

    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    wait_for(lambda: tcp.router.waiting == 1)
    (in_use,) = tcp.router._calls
    tcp.router._message_id = (in_use - 1) & 0xFFFF
    release.set()
    tcp.base.Stop()
    assert server.calls[-1][2].message_id == in_use + 1
    waiting.join()


@pytest.mark.parametrize(
    "mangle",
    [
        lambda data: [data[:5], data[5:]],
        lambda data: [data[:12], data[12:20], data[20:]],
        lambda data: [bytes([byte]) for byte in data],
        lambda data: [b"garbage" + data],
    ],
    ids=["prefix split", "body split", "byte by byte", "garbage before"],
)
def test_answers_that_come_in_pieces(server, tcp, mangle):
    server.mangle = mangle
    server.answers["GetActuatorCount"] = lambda request, header: Base.ActuatorInformation(count=7)
    for _ in range(3):
        assert tcp.base.GetActuatorCount().count == 7


def test_many_threads_share_a_connection(server, tcp):
    server.answers["ComputeForwardKinematics"] = lambda request, header: Base.Pose(x=request.joint_angles[0].value)
    failures = []

    def ask(value):
        request = Base.JointAngles(joint_angles=[Base.JointAngle(value=value)])
        for _ in range(50):
            if tcp.base.ComputeForwardKinematics(request).x != value:
                failures.append(value)

    threads = [threading.Thread(target=ask, args=(float(value),)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_whoever_waits_is_told_when_the_arm_hangs_up(server, tcp):
    server.answers["GetArmState"] = lambda request, header: server.hang_up()
    started = time.monotonic()
    with pytest.raises(ConnectionError, match="closed the connection"):
        tcp.base.GetArmState()
    with pytest.raises(ConnectionError, match="closed the connection"):
        tcp.base.Stop()
    assert time.monotonic() - started < 2.0
    assert not tcp.transport.connected


def test_a_closed_connection_costs_no_time(server, tcp):
    server.hang_up()
    wait_for(lambda: not tcp.transport.connected)
    process = psutil.Process(os.getpid())
    before = process.cpu_times()
    time.sleep(0.5)
    after = process.cpu_times()
    assert (after.user + after.system) - (before.user + before.system) < 0.2


def test_notifications_reach_their_callbacks(server, tcp):
    got = []
    server.answers["OnNotificationActionTopic"] = lambda request, header: Common.NotificationHandle(identifier=11)
    server.answers["OnNotificationArmStateTopic"] = lambda request, header: Common.NotificationHandle(identifier=12)
    options = Common.NotificationOptions()
    handle = tcp.base.OnNotificationActionTopic(lambda message: got.append(message.action_event), options)
    tcp.base.OnNotificationArmStateTopic(lambda message: got.append(message.active_state), options)
    server.push("Base", "OnNotificationActionTopic", 11, Base.ActionNotification(action_event=Base.ACTION_END))
    server.push("Base", "OnNotificationArmStateTopic", 12, Base.ArmStateNotification(active_state=4))
    wait_for(lambda: got == [1, 4])
    tcp.base.Unsubscribe(handle)
    server.push("Base", "OnNotificationActionTopic", 11, Base.ActionNotification())
    wait_for(lambda: tcp.errors)
    assert got == [1, 4]
    assert "nobody subscribed" in str(tcp.errors[0])


def test_a_notification_that_overtakes_its_subscription(server, tcp):
    got = []

    def eager(request, header):
        server.push("Base", "OnNotificationActionTopic", 5, Base.ActionNotification(action_event=Base.ACTION_START))
        return Common.NotificationHandle(identifier=5)

    server.answers["OnNotificationActionTopic"] = eager
    tcp.base.OnNotificationActionTopic(lambda message: got.append(message.action_event), Common.NotificationOptions())
    wait_for(lambda: got == [Base.ACTION_START])


def test_a_callback_may_call_and_may_fail(server, tcp):
    got = []

    def callback(message):
        got.append(tcp.base.GetArmState().active_state)
        raise RuntimeError("on purpose")

    server.answers["OnNotificationActionTopic"] = lambda request, header: Common.NotificationHandle(identifier=1)
    server.answers["GetArmState"] = lambda request, header: Base.ArmStateInformation(active_state=7)
    tcp.base.OnNotificationActionTopic(callback, Common.NotificationOptions())
    for _ in range(3):
        server.push("Base", "OnNotificationActionTopic", 1, Base.ActionNotification())
    wait_for(lambda: got == [7, 7, 7])


def test_frames_that_belong_to_nothing_are_reported_and_survived(server, tcp):
    tcp.base.Stop()
    server.send(encode(Header(NOTIFICATION, message_id=99, service_id=2)))
    server.send(encode(Header(NOTIFICATION, message_id=99, service_id=999)))
    server.send(encode(Header(7)))
    server.send(b"\xff\xff\xff")
    wait_for(lambda: len(tcp.errors) == 4)
    assert {error.get_error_sub_code() for error in tcp.errors} == {11, 10, 8}
    tcp.base.Stop()


def test_subscriptions_belong_to_their_router(server, tcp):
    other = Connection(server)
    got, got_by_the_other = [], []
    server.answers["OnNotificationActionTopic"] = lambda request, header: Common.NotificationHandle(identifier=1)
    tcp.base.OnNotificationActionTopic(got.append, Common.NotificationOptions())
    other.base.OnNotificationActionTopic(got_by_the_other.append, Common.NotificationOptions())
    server.push("Base", "OnNotificationActionTopic", 1, Base.ActionNotification())  # on the newest connection
    wait_for(lambda: got_by_the_other)
    assert not got
    other.close()


@pytest.mark.parametrize("kind", [client.TCPTransport, client.UDPTransport])
@pytest.mark.parametrize("address", ["192.168.1.10", "8.8.8.8", "0.0.0.1"])
def test_another_address_than_this_computer_is_refused(kind, address):
    with pytest.raises(ConnectionError, match="is not this computer. This client is for simulated arms"):
        kind().connect(address, 10000)


def test_another_address_is_reached_for_when_told_so_in_words():
    transport = client.TCPTransport(allow_an_arm_that_is_not_simulated=True)
    with pytest.raises(ConnectionError, match="no TCP connection to 192.0.2.1:10000"):
        transport.connect("192.0.2.1", 10000, timeout_s=0.2)


def test_an_address_that_does_not_exist():
    with pytest.raises(ConnectionError, match="there is no host 'no such host'"):
        client.TCPTransport().connect("no such host", 10000)


def test_nobody_listens(server):
    port = server.tcp_port
    server.close()
    with pytest.raises(ConnectionError, match=f"no TCP connection to 127.0.0.1:{port}"):
        client.TCPTransport().connect("127.0.0.1", port)
    transport = client.UDPTransport()
    transport.connect("127.0.0.1", server.udp_port)
    router = client.RouterClient(transport)
    for _ in range(3):
        with pytest.raises((TimeoutError, ConnectionError)):
            client.BaseCyclicClient(router).RefreshFeedback(options=FAST)
    transport.disconnect()
    router.close()


def test_a_transport_that_is_not_connected(tcp):
    with pytest.raises(ConnectionError, match="call connect first"):
        client.TCPTransport().send(b"x")
    with pytest.raises(ConnectionError, match="is open; call disconnect first"):
        tcp.transport.connect("127.0.0.1", 1)


def test_connecting_two_hundred_times_leaks_nothing(server):
    process = psutil.Process(os.getpid())

    def once():
        tcp, udp = Connection(server), Connection(server, udp=True)
        server.answers["OnNotificationActionTopic"] = lambda request, header: Common.NotificationHandle(identifier=1)
        for connection in (tcp, udp):
            connection.session.CreateSession(Session.CreateSessionInfo(), FAST)
        tcp.base.OnNotificationActionTopic(lambda message: None, Common.NotificationOptions())
        tcp.close()
        udp.close()

    def own_threads():
        return [thread for thread in threading.enumerate() if thread.name.startswith("kortex")]

    once()
    wait_for(lambda: not own_threads())
    wait_for(lambda: len(server.connections) == 1)
    files = process.num_fds()
    for _ in range(200):
        once()
    assert not own_threads()
    wait_for(lambda: process.num_fds() <= files)
