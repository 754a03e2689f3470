"""The driver's backend under protobuf 3.20, as Kinova's package needs it, while everything else has a current one."""

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import google.protobuf
import pytest
from live_arm import PATIENT, LiveArm

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv" / "kortex" / "python"
"""Made by `make setup`, or by `make kortex-env` with Kinova's package in it."""

PROGRAM = """
import json, sys, time
import numpy as np
from glam_core.station import ArmConfig
from kinova_driver.kortex import api
from kinova_driver.kortex_arm import KortexArm

load = {"own": lambda address, **options: api.own(), "official": lambda address, **options: api.official()}[sys.argv[2]]
arm = KortexArm(ArmConfig.model_validate_json(sys.argv[1]), load)
arm.connect()
start = arm.read()
arm.command_joint_speeds(np.full(7, 0.2))
deadline = time.monotonic() + 30.0
while np.abs(arm.read().positions - start.positions).min() < 0.1:
    assert time.monotonic() < deadline, "the arm does not move"
    time.sleep(0.01)
arm.command_gripper(1.0)
while arm.read().tool.gripper < 0.5:
    assert time.monotonic() < deadline, "the gripper does not move"
    time.sleep(0.01)
arm.stop()
arm.home()
while arm.read().homing:
    assert time.monotonic() < deadline + 30.0, "the arm does not come home"
    time.sleep(0.01)
arm.emergency_stop()
while not arm.read().faults:
    time.sleep(0.01)
emergency = arm.read().faults
arm.clear_faults()
import google.protobuf
print(json.dumps({
    "protobuf": google.protobuf.__version__,
    "emergency": emergency,
    "faults": arm.read().faults,
}))
arm.disconnect()
"""


@pytest.fixture
def live():
    live = LiveArm()
    yield live
    live.close()


def drive(live: LiveArm, client: str) -> dict:
    """Drives the arm in the driver's own environment, and returns what it says about it."""
    assert PYTHON.exists(), f"there is no {PYTHON}: `make setup` makes it"
    command = [PYTHON, "-c", PROGRAM, live.config(timeouts=PATIENT).model_dump_json(), client]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_driver_has_protobuf_3_20_while_the_rest_has_a_current_one(live):
    told = drive(live, "own")
    assert told["protobuf"] == "3.20.3"
    assert google.protobuf.__version__ != "3.20.3"
    assert not google.protobuf.__version__.startswith("3.")
    assert told["emergency"] == ["EMERGENCY_STOP_ACTIVATED"]
    assert told["faults"] == []
    assert not live.router.sessions.all()


HAS_OFFICIAL_CLIENT = (PYTHON.parent / "packages" / "kortex_api").is_dir() or find_spec("kortex_api") is not None


@pytest.mark.skipif(not HAS_OFFICIAL_CLIENT, reason="Kinova's kortex_api is not on the package index: make kortex-env")
def test_the_official_client_drives_the_simulated_arm(live):
    told = drive(live, "official")
    assert told["emergency"] == ["EMERGENCY_STOP_ACTIVATED"]
    assert told["faults"] == []


@pytest.mark.parametrize("tests", ["test_kortex_frame.py", "test_kortex_definitions.py"])
def test_messages_and_frames_are_the_same_under_protobuf_3_20(tests):
    command = [PYTHON, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", Path(__file__).parent / tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, env=environment)
    assert result.returncode == 0, result.stdout


def test_the_environment_refuses_a_wheel_that_is_not_there():
    script = ROOT / "scripts" / "kortex_env.sh"
    result = subprocess.run([script, "nowhere.whl"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "there is no wheel 'nowhere.whl'; it comes from Kinova's download site" in result.stderr
    assert PYTHON.exists()
