"""Station files."""

from pathlib import Path

import pytest
import yaml

from glam_core.errors import ConfigurationError
from glam_core.station import Station, control_port, load_station

ROOT = Path(__file__).resolve().parents[3]
GOOD = {
    "name": "lab",
    "arms": [
        {"name": "left", "backend": "kortex", "address": "192.168.1.10", "namespace": "/left"},
        {"name": "right", "namespace": "/right", "safety": {"workspace_min": [0, 0, 0], "workspace_max": [1, 1, 1]}},
    ],
    "cameras": [
        {"name": "front", "source": 0, "width": 640, "height": 480, "rate_hz": 30.0, "latency_s": 0.08},
        {"name": "side", "source": "rtsp://camera/stream", "width": 640, "height": 480, "topic": "/side/image"},
    ],
    "safety": {"workspace_min": [0.2, -0.3, 0.0], "workspace_max": [0.7, 0.3, 0.5]},
}


def write(tmp_path, content):
    path = tmp_path / "station.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_a_station_with_two_arms(tmp_path):
    station = load_station(write(tmp_path, GOOD))
    assert station.arm_names == ("left", "right")
    assert station.arm("left").address == "192.168.1.10"
    assert station.limits("left") == station.safety
    assert station.limits("right").workspace_max == (1, 1, 1)
    assert station.camera("front").source == 0
    assert station.camera("front").topic == "camera/front/image_raw"
    assert station.camera("side").topic == "/side/image"
    assert not station.camera("side").simulated
    assert station.rates.control_hz == 40.0
    assert Station.model_validate_json(station.model_dump_json()) == station


def test_a_password_is_not_shown():
    station = Station.model_validate(changed(arms=[{"name": "arm", "password": "s3cret"}]))
    assert station.arm("arm").password == "s3cret"
    assert "s3cret" not in repr(station)


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "stations").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_station_loads(path):
    assert load_station(path).arms


def test_the_simulated_station():
    station = load_station(ROOT / "config" / "stations" / "sim.yaml")
    assert station.camera_names == ("front", "side", "wrist", "overview")
    assert all(camera.simulated for camera in station.cameras)
    assert (station.camera("overview").width, station.camera("overview").height) == (320, 240)
    assert station.arm("arm").backend == "simulated"


def changed(**changes):
    return {key: value for key, value in (GOOD | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(camera=[]), "unknown key 'camera'; legal: .*did you mean 'cameras'"),
        (changed(arms=[{"nmae": "arm"}]), "unknown key 'nmae'; legal: name.* in arms.0"),
        (changed(arms=[]), "arms"),
        (changed(arms=None), "arms is missing"),
        (changed(arms=[{"name": "arm", "backend": "ur5"}]), "arms.0.backend: .*simulated.*kortex"),
        (changed(arms=[{"name": "arm", "backend": "kortex"}]), "arm 'arm' has the backend kortex; give its address"),
        (changed(arms=[{"name": "a", "adress": "10.0.0.1"}]), "unknown key 'adress'.*did you mean 'address'"),
        (changed(arms=[{"name": "a", "tcp_port": 0}]), "arms.0.tcp_port"),
        (changed(arms=[{"name": "a", "tcp_port": 10000, "udp_port": 10000}]), "tcp_port and udp_port 10000"),
        (changed(arms=[{"name": "a", "command": "position"}]), "arms.0.command: .*joint_speeds.*twist"),
        (changed(arms=[{"name": "a", "feedback_hz": 2000}]), "arms.0.feedback_hz: .*less than or equal to 1000"),
        (
            changed(arms=[{"name": "a", "timeouts": {"command_ms": 30}}]),
            "did you mean 'command_s'.* in arms.0.timeouts",
        ),
        (changed(arms=[{"name": "a", "timeouts": {"command_s": 0.001}}]), "arms.0.timeouts.command_s"),
        (changed(arms=[{"name": "a", "timeouts": {"max_losses": 0}}]), "arms.0.timeouts.max_losses"),
        (changed(arms=[{"name": "a", "gripper": {"rate_hz": 40}}]), "arms.0.gripper.rate_hz"),
        (changed(arms=[{"name": "a", "gripper": {"open_at": 0.9, "closed_at": 0.1}}]), "it must close"),
        (changed(arms=[{"name": "a"}, {"name": "a", "namespace": "/b"}]), "arms must differ; repeated: 'a'"),
        (changed(arms=[{"name": "a"}, {"name": "b"}]), "namespaces of arms must differ"),
        (changed(arms=[{"name": "a", "namespace": "left"}]), "namespace"),
        (changed(cameras=[{"name": "front", "width": 0, "height": 96}]), "cameras.0.width"),
        (changed(cameras=[{"name": "front", "width": 96, "height": 96}] * 2), "cameras must differ; repeated: 'front'"),
        (changed(cameras=[{"name": "front", "width": 96, "height": 96, "latency_s": -1}]), "cameras.0.latency_s"),
        (changed(cameras=[{"name": "Front cam", "width": 96, "height": 96}]), "cameras.0.name"),
        (changed(safety=None), "safety is missing"),
        (changed(safety={"workspace_min": [1, 1, 1], "workspace_max": [0, 0, 0]}), "workspace is inverted in x"),
        (changed(safety=GOOD["safety"] | {"max_sped": 1}), "unknown key 'max_sped'.* in safety"),
        (changed(domain=-1), "domain"),
        (changed(max_observation_age_s=float("nan")), "max_observation_age_s"),
        (changed(rates={"policy_hz": 0}), "rates.policy_hz"),
        ("name: lab\narms: [\n", "line 3"),
        ("name: 'lab\n", "line"),
        ("- lab\n", "must be a mapping with the keys name, arms"),
        ("", "must be a mapping"),
    ],
)
def test_bad_stations_say_what_is_wrong_and_where(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_station(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"there is no station file .*nowhere.yaml"):
        load_station(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigurationError, match="can not be read"):
        load_station(tmp_path)


def test_unknown_names_list_the_legal_ones(tmp_path):
    station = load_station(write(tmp_path, GOOD))
    with pytest.raises(ConfigurationError, match="unknown camera 'frnt'; legal: front, side"):
        station.camera("frnt")
    with pytest.raises(ConfigurationError, match="unknown arm 'lft'; legal: left, right"):
        station.limits("lft")


def test_simulated_arms_of_different_graphs_never_share_a_port(tmp_path):
    arms = [{"name": "left"}, {"name": "right", "namespace": "/right"}, {"name": "third", "namespace": "/third"}]
    station = load_station(write(tmp_path, changed(arms=arms)))
    taken = [control_port(domain) for domain in range(102)]
    for domain in range(102):
        for arm in station.arm_names:
            reached = station.reached(arm, domain)
            assert reached.address == "127.0.0.1"
            taken += [reached.tcp_port, reached.udp_port]
    assert len(set(taken)) == len(taken)
    assert max(taken) < 7400  # below those of DDS, and so below those that the system hands out


def test_ports_and_addresses_of_the_file_stay(tmp_path):
    arms = [
        {"name": "left", "tcp_port": 4000},
        {"name": "right", "backend": "kortex", "address": "192.168.1.10", "namespace": "/right"},
    ]
    station = load_station(write(tmp_path, changed(arms=arms)))
    assert (station.reached("left", 3).tcp_port, station.reached("left", 3).udp_port) == (4000, 2061)
    real = station.reached("right", 3)
    assert (real.address, real.tcp_port) == ("192.168.1.10", None)
