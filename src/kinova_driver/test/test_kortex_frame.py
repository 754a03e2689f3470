"""Frames: the golden bytes in both directions, the bit layout, and everything that a stream can do to them."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinova_driver.kortex import services
from kinova_driver.kortex.definitions import ActuatorConfig, Api, Base, Common, Session
from kinova_driver.kortex.frame import (
    NOTIFICATION,
    PREFIX_SIZE,
    REQUEST,
    RESPONSE,
    TOKEN,
    FrameReader,
    Header,
    WireError,
    decode,
    encode,
    parse,
    with_prefix,
)


def _header(frame_type: int, service: str, name: str, **others: int) -> Header:
    method = services.method(service, name)
    return Header(frame_type, service_id=method.service_id, function_id=method.function_id, **others)


# What the official client sends, as it was recorded.
REQUESTS = {
    "CreateSession": (
        _header(REQUEST, "Session", "CreateSession", message_id=1),
        Session.CreateSessionInfo(
            username="admin",
            password="admin",
            session_inactivity_timeout=60000,
            connection_inactivity_timeout=2000,
        ),
        "0a140d0000001115010000001d01000110251500000012150a0561646d696e10e0d4031a0561646d696e20d00f",
    ),
    "RefreshFeedback": (
        _header(REQUEST, "BaseCyclic", "RefreshFeedback", session_id=1, message_id=2),
        Common.Empty(),
        "0a0f0d0000001115020001001d03000310",
    ),
    "SendTwistCommand": (
        _header(REQUEST, "Base", "SendTwistCommand", session_id=1, message_id=3),
        Base.TwistCommand(
            reference_frame=Common.CARTESIAN_REFERENCE_FRAME_BASE, twist=Base.Twist(linear_x=0.05, angular_z=3.0)
        ),
        "0a140d0000001115030001001d79000210250e000000120e0803120a0dcdcc4c3d3500004040",
    ),
    "SetServoingMode": (
        _header(REQUEST, "Base", "SetServoingMode", session_id=1, message_id=7),
        Base.ServoingModeInformation(servoing_mode=Base.LOW_LEVEL_SERVOING),
        "0a140d0000001115070001001d98000210250200000012020803",
    ),
    "SetControlMode": (
        _header(REQUEST, "ActuatorConfig", "SetControlMode", device_id=3, session_id=1, message_id=14),
        ActuatorConfig.ControlModeInformation(control_mode=ActuatorConfig.TORQUE),
        "0a140d00000311150e0001001d07000a10250200000012020803",
    ),
    "KeepAlive": (
        _header(REQUEST, "Session", "KeepAlive", session_id=1, message_id=17),
        Common.Empty(),
        "0a0f0d0000001115110001001d03000110",
    ),
    "OnNotificationActionTopic": (
        _header(REQUEST, "Base", "OnNotificationActionTopic", session_id=1, message_id=20),
        Common.NotificationOptions(),
        "0a0f0d0000001115140001001d6a000210",
    ),
    "ExecuteActionFromReference": (
        _header(REQUEST, "Base", "ExecuteActionFromReference", session_id=1, message_id=21),
        Base.ActionHandle(identifier=2, action_type=Base.REACH_JOINT_ANGLES, permission=7),
        "0a140d0000001115150001001d2f00021025090000001209080210071d07000000",
    ),
    "Unsubscribe": (
        _header(REQUEST, "Base", "Unsubscribe", session_id=1, message_id=23),
        Common.NotificationHandle(identifier=1),
        "0a140d0000001115170001001d61000210250200000012020801",
    ),
}

# What the official client takes for an answer; the second part is the prefix on TCP.
ANSWERS = {
    "CreateSession": (
        _header(RESPONSE, "Session", "CreateSession", session_id=1, message_id=1),
        Common.Empty(),
        "07784574526f4b0700000011",
        "0a0f0d0000001315010001001d01000110",
    ),
    "SendTwistCommand": (
        _header(RESPONSE, "Base", "SendTwistCommand", session_id=1, message_id=3),
        Common.Empty(),
        "07784574526f4b0700000011",
        "0a0f0d0000001315030001001d79000210",
    ),
    "error with details": (
        _header(RESPONSE, "Base", "SendTwistCommand", error_code=3, error_sub_code=75, session_id=1, message_id=8),
        Api.Error(error_code=3, error_sub_code=75, error_sub_string="wrong servoing mode"),
        "07784574526f4b0700000031",
        "0a140d4b30001315080001001d79000210251900000012190803104b1a1377726f6e6720736572766f696e67206d6f6465",
    ),
    "error in the header alone": (
        _header(RESPONSE, "BaseCyclic", "RefreshCommand", error_code=1, error_sub_code=5, session_id=1, message_id=4),
        Api.Error(),
        "07784574526f4b0700000011",
        "0a0f0d0510001315040001001d02000310",
    ),
    "notification of an action's end": (
        _header(NOTIFICATION, "Base", "OnNotificationActionTopic", session_id=1, message_id=1),
        Base.ActionNotification(
            action_event=Base.ACTION_END,
            handle=Base.ActionHandle(identifier=2, action_type=Base.REACH_JOINT_ANGLES, permission=7),
        ),
        "07784574526f4b0700000025",
        "0a140d0000001515010001001d6a000210250d000000120d08011209080210071d07000000",
    ),
    "GetActuatorCount": (
        _header(RESPONSE, "Base", "GetActuatorCount", session_id=1, message_id=6),
        Base.ActuatorInformation(count=7),
        "07784574526f4b070000001a",
        "0a140d0000001315060001001dab000210250200000012020807",
    ),
}
GOLDEN = [(header, message, data) for header, message, data in REQUESTS.values()] + [
    (header, message, data) for header, message, _, data in ANSWERS.values()
]


@pytest.mark.parametrize(("header", "message", "golden"), GOLDEN, ids=[*REQUESTS, *(f"answer: {n}" for n in ANSWERS)])
def test_golden_bytes_in_both_directions(header: Header, message, golden: str) -> None:
    data = bytes.fromhex(golden)
    assert encode(header, message.SerializeToString()) == data
    decoded, payload = decode(data)
    assert decoded == header
    assert parse(type(message), payload) == message


@pytest.mark.parametrize("name", ANSWERS)
def test_golden_prefixes(name: str) -> None:
    _, _, prefix, golden = ANSWERS[name]
    stream = bytes.fromhex(prefix + golden)
    assert with_prefix(bytes.fromhex(golden)) == stream
    assert FrameReader().feed(stream) == [bytes.fromhex(golden)]


headers = st.builds(
    Header,
    frame_type=st.integers(0, 15),
    device_id=st.integers(0, 255),
    error_code=st.integers(0, 15),
    error_sub_code=st.integers(0, 4095),
    session_id=st.integers(0, 65535),
    message_id=st.integers(0, 65535),
    service_id=st.integers(0, 4095),
    function_id=st.integers(0, 65535),
)


@given(headers, st.binary(max_size=300))
def test_every_header_and_payload_survives(header: Header, payload: bytes) -> None:
    assert decode(encode(header, payload)) == (header, payload)


@pytest.mark.parametrize(
    ("field", "value"),
    [("frame_type", 16), ("device_id", 256), ("error_sub_code", 4096), ("message_id", 65536), ("session_id", -1)],
)
def test_a_number_that_does_not_fit_its_bits_is_named(field: str, value: int) -> None:
    with pytest.raises(WireError, match=f"{field} of a frame is 0 to"):
        Header(**{"frame_type": REQUEST, field: value})


@given(st.binary(max_size=400))
@settings(max_examples=2000)
def test_any_bytes_are_a_frame_or_a_wire_error(data: bytes) -> None:
    try:
        header, payload = decode(data)
    except WireError:
        return
    assert isinstance(header, Header)
    assert len(payload) <= len(data)


@given(st.data())
@settings(max_examples=1000)
def test_any_damage_to_a_real_frame_is_a_frame_or_a_wire_error(data: st.DataObject) -> None:
    frame = bytearray(bytes.fromhex(data.draw(st.sampled_from([golden for *_, golden in GOLDEN]))))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(0, len(frame)))]
    try:
        header, payload = decode(bytes(frame))
    except WireError:
        return
    method = services.METHODS.get((header.service_id, header.function_id))
    if method is not None:
        with suppress(WireError):
            assert isinstance(parse(method.request, payload), method.request)


def test_a_frame_without_a_header_is_no_frame() -> None:
    with pytest.raises(WireError, match="without a header"):
        decode(Api.Frame(payload=b"abc").SerializeToString())


def test_a_payload_that_is_another_message_is_a_wire_error() -> None:
    with pytest.raises(WireError, match="are no CreateSessionInfo"):
        parse(Session.CreateSessionInfo, b"\x0a\x02\xff\xfe")  # a string that is not UTF-8


def test_a_payload_that_is_too_large_is_refused() -> None:
    with pytest.raises(WireError, match="does not fit"):
        encode(Header(REQUEST), bytes((1 << 20) + 1))
    with pytest.raises(WireError, match="too large"):
        with_prefix(bytes((1 << 20) + 1))


frames = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


@given(frames, st.data())
def test_frames_arrive_however_the_stream_is_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(with_prefix(frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader, received = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[start:end])
    assert received == sent
    assert reader.skipped == 0


def test_a_prefix_that_comes_byte_by_byte() -> None:
    reader, stream = FrameReader(), with_prefix(b"hello") * 2
    received = [frame for byte in stream for frame in reader.feed(bytes([byte]))]
    assert received == [b"hello", b"hello"]


@given(st.binary(max_size=60).filter(lambda data: TOKEN[0] not in data))
def test_garbage_between_frames_is_skipped(garbage: bytes) -> None:
    reader = FrameReader()
    assert reader.feed(garbage + with_prefix(b"one") + garbage + with_prefix(b"two")) == [b"one", b"two"]
    assert reader.skipped == 2 * len(garbage)


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_leave_the_reader_able_to_go_on(chunks: list[bytes]) -> None:
    reader = FrameReader(max_size=64)
    for chunk in chunks:
        for frame in reader.feed(chunk):
            assert 0 < len(frame) <= 64
    reader.feed(bytes(PREFIX_SIZE + 64))  # completes whatever a prefix announced
    assert reader.feed(with_prefix(b"again")) == [b"again"]


@pytest.mark.parametrize("size", [0, 65, 0xFFFFFFFF])
def test_a_length_that_can_not_be_is_skipped(size: int) -> None:
    reader = FrameReader(max_size=64)
    assert reader.feed(TOKEN + size.to_bytes(4, "big")) == []
    assert reader.feed(with_prefix(b"next")) == [b"next"]
    assert reader.skipped == PREFIX_SIZE


def test_garbage_does_not_pile_up() -> None:
    reader = FrameReader(max_size=1000)
    tracemalloc.start()
    try:
        for _ in range(2000):
            reader.feed(TOKEN[:5] * 200)
            reader.feed(TOKEN + b"\xff\xff\xff\xff" + bytes(900))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
