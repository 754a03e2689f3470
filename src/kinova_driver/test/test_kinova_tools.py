"""The tools for one arm, against the simulated arm."""

import numpy as np
import pytest
from live_arm import PATIENT, LiveArm

from glam_core.errors import ConfigurationError
from glam_core.gen3 import HOME_RAD
from glam_core.kinematics import Gen3Kinematics
from glam_core.pose import quaternion_xyzw_from_matrix
from glam_core.station import load_station
from kinova_driver import cli
from kinova_driver.tools.station_file import write_arm_values

STATION = """# The lab.
name: lab
arms:
  - name: right  # nearer to the door
    backend: kortex
    address: 127.0.0.1
    tcp_port: {tcp_port}
    udp_port: {udp_port}
    timeouts: {timeouts}
    gripper:
      rate_hz: 5.0  # more and it locks up
safety:
  workspace_min: [0.20, -0.35, 0.005]   # the table
  workspace_max: [0.75, 0.35, 0.60]
  command_timeout_s: 1.0  # tests run on computers that have much else to do
  stop_timeout_s: 3.0
"""


@pytest.fixture
def live():
    live = LiveArm()
    yield live
    live.close()


@pytest.fixture
def station(live, tmp_path):
    path = tmp_path / "lab.yaml"
    timeouts = "{" + ", ".join(f"{name}: {value}" for name, value in PATIENT.items()) + "}"
    address = live.server.address
    path.write_text(STATION.format(tcp_port=address.tcp_port, udp_port=address.udp_port, timeouts=timeouts))
    return path


def kinova(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_the_command_lists_its_tools(capsys):
    assert kinova() == 0
    assert "gripper-range" in capsys.readouterr().out
    assert kinova("docter") == 2
    assert "did you mean 'doctor'" in capsys.readouterr().err


# -- doctor ------------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_there_is_and_moves_nothing(live, station, capsys):
    kinova("doctor", station, "--seconds", "0.3")
    out = capsys.readouterr().out
    for part in (
        "ok    connection: TCP",
        "ok    joints: 7",
        "device 0: BASE, firmware 2.6.0.0",
        "device 7: SMALL_ACTUATOR",
        "ok    state: SERVOING_READY",
        "ok    faults: none",
        "ok    servoing mode: SINGLE_LEVEL_SERVOING",
        "in control: nobody",
        "ok    connections: 2",
        "feedback on UDP: ",
        "ok    questions on TCP: ",
        "protobuf ",
    ):
        assert part in out
    np.testing.assert_allclose(live.joints.measured.positions, HOME_RAD, atol=1e-6)
    assert not live.router.sessions.all()


def test_the_doctor_names_what_is_wrong(live, station, capsys):
    live.tell("fault MAXIMUM_TORQUE joint_3 lasting")
    live.tell("control steal")
    assert kinova("doctor", station, "--seconds", "0.1") == 1
    out = capsys.readouterr().out
    assert "BAD   state: IN_FAULT" in out
    assert "BAD   faults: joint_3.MAXIMUM_TORQUE" in out
    assert "in control: connection 65535" in out
    assert "not well: state, faults" in out


def test_the_doctor_of_an_arm_that_is_not_there(live, station, capsys):
    live.close()
    assert kinova("doctor", station) == 1
    assert "can not be reached on TCP port" in capsys.readouterr().out


def test_a_station_without_the_arm(station, capsys):
    assert kinova("doctor", station, "--arm", "rihgt") == 1
    assert "did you mean 'right'" in capsys.readouterr().err


# -- measuring ---------------------------------------------------------------------------------------------------------


def test_latency_is_measured_and_written_beside_what_people_wrote(live, station, capsys):
    live.tell("delay 20")
    assert kinova("latency", station, "--trials", "4", "--move") == 0
    arm = load_station(station).arm("right")
    assert 0.008 < arm.feedback_latency_s < 0.1  # half of the way to and fro, of which 20 ms are the delay's
    assert 0.0 <= arm.command_latency_s < 0.5
    text = station.read_text()
    assert "# nearer to the door" in text
    assert "# the table" in text
    assert f"written to {station}" in capsys.readouterr().out
    assert not live.moving


def test_nothing_moves_unless_it_is_told_to(live, station, capsys):
    before = station.read_text()
    assert kinova("latency", station) == 0
    assert kinova("gripper-range", station) == 0
    assert capsys.readouterr().out.count("Nothing was done; with --move it is.") == 2
    assert station.read_text() == before
    np.testing.assert_array_equal(live.joints.measured.positions, HOME_RAD)


def test_the_range_of_the_gripper_is_measured_and_written(live, station):
    assert kinova("gripper-range", station, "--move") == 0
    gripper = load_station(station).arm("right").gripper
    assert gripper.open_at == pytest.approx(0.0, abs=0.02)
    assert gripper.closed_at == pytest.approx(1.0, abs=0.02)
    assert "rate_hz: 5.0  # more and it locks up" in station.read_text()


def test_a_gripper_that_is_jammed_is_an_error(live, station, capsys):
    live.tell("jam on")
    assert kinova("gripper-range", station, "--move") == 1
    assert "take away what blocks it" in capsys.readouterr().err


def test_values_that_would_break_the_file_are_not_written(station):
    before = station.read_text()
    with pytest.raises(ConfigurationError, match="command_latency_s"):
        write_arm_values(station, "right", {"command_latency_s": -1.0})
    with pytest.raises(ConfigurationError, match="did you mean 'right'"):
        write_arm_values(station, "rihgt", {"command_latency_s": 0.1})
    assert station.read_text() == before
    assert [path.name for path in station.parent.iterdir()] == [station.name]


# -- replaying ---------------------------------------------------------------------------------------------------------

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.serialization import serialize_message  # noqa: E402

from glam_core.spec import ActionSpec, ImageSpec, ObsSpec  # noqa: E402
from glam_msgs.msg import ToolCommand  # noqa: E402
from glam_ros.recording import EpisodeInfo, Recorder  # noqa: E402

START_NS = 1_700_000_000_000_000_000


def start_pose():
    kinematics = Gen3Kinematics()
    kinematics.update(HOME_RAD)
    return kinematics.tool_pose()


def record(folder, offsets_m, arm="right", step_s=0.1):
    """An episode of commands that go to the start, plus these offsets in x."""
    obs = ObsSpec(images=(ImageSpec(name="front", height=48, width=64),))
    recorder = Recorder(folder, {"/command": ToolCommand})
    file = recorder.start(EpisodeInfo("lift", 0, "teleop", "gen3", "lab", obs, ActionSpec()), START_NS)
    for index, offset in enumerate(offsets_m):
        stamp = START_NS + round(1e9 * step_s * index)
        T = start_pose()
        message = ToolCommand(arm=arm, sequence=index, gripper=0.4)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.pose.position.x, message.pose.position.y, message.pose.position.z = (T[:3, 3] + [offset, 0, 0]).tolist()
        x, y, z, w = quaternion_xyzw_from_matrix(T[:3, :3])
        orientation = message.pose.orientation
        orientation.x, orientation.y, orientation.z, orientation.w = float(x), float(y), float(z), float(w)
        recorder.add("/command", stamp, serialize_message(message))
    recorder.save(success=True, now_ns=stamp)
    return file


def test_a_replay_is_rehearsed_and_moves_nothing(live, station, tmp_path, capsys):
    file = record(tmp_path / "episodes", np.linspace(0.0, 0.04, 11))
    assert kinova("replay", file, station) == 0
    out = capsys.readouterr().out
    assert "11 commands for arm 'right' in 1.0 s" in out
    assert "max_speed_m_s: 0.5" in out
    assert "rehearsal: 11 commands, 0 changed by limits" in out
    assert "nothing was moved; with --move it is" in out
    np.testing.assert_array_equal(live.joints.measured.positions, HOME_RAD)


def test_a_replay_that_breaks_limits_is_not_moved(live, station, tmp_path, capsys):
    file = record(tmp_path / "episodes", [0.0, 0.0, 0.5, 0.5, 0.5])
    assert kinova("replay", file, station, "--move") == 1
    captured = capsys.readouterr()
    assert "workspace_max.x" in captured.out
    assert "the rehearsal did not go well, so nothing is moved" in captured.err
    np.testing.assert_array_equal(live.joints.measured.positions, HOME_RAD)


def test_a_replay_moves_the_arm(live, station, tmp_path, capsys):
    file = record(tmp_path / "episodes", np.linspace(0.0, 0.04, 21))
    assert kinova("replay", file, station, "--move") == 0
    assert "replay: 21 commands, 0 changed by limits" in capsys.readouterr().out
    moved = live.joints.pose()[:3, 3] - start_pose()[:3, 3]
    np.testing.assert_allclose(moved, [0.04, 0.0, 0.0], atol=0.01)
    assert not live.moving


def test_a_recording_of_another_arm_or_of_nothing(station, tmp_path, capsys):
    file = record(tmp_path / "episodes", [0.0, 0.0], arm="left")
    assert kinova("replay", file, station) == 1
    assert "holds no commands for it" in capsys.readouterr().err
    assert kinova("replay", file, station, "--recorded-arm", "left") == 0
    assert kinova("replay", tmp_path / "nothing.mcap", station) == 1
    assert "there is no recording" in capsys.readouterr().err
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"not a recording")
    assert kinova("replay", broken, station) == 1
    assert "can not be read as a ROS 2 recording" in capsys.readouterr().err
