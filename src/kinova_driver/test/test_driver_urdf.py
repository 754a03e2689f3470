"""The URDF: the same joints, limits and frames as the code's."""

from __future__ import annotations

from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from glam_core.gen3 import (
    GRIPPER_JOINT,
    HOME_RAD,
    JOINT_EFFORT_LIMITS_NM,
    JOINT_LIMITS_RAD,
    JOINT_SPEED_LIMITS_RAD_S,
    JOINTS,
    LINKS,
)
from glam_core.kinematics import FRAMES, finger_poses, forward
from kinova_driver.urdf import gen3_urdf

POSTURES = [np.zeros(7), HOME_RAD, *np.random.default_rng(5).uniform(-2.0, 2.0, size=(10, 7))]


def urdf_joints(prefix: str = "") -> dict[str, ElementTree.Element]:
    robot = ElementTree.fromstring(gen3_urdf(prefix))
    return {joint.attrib["name"]: joint for joint in robot.findall("joint")}


def element(joint: ElementTree.Element, name: str) -> dict[str, str]:
    found = joint.find(name)
    assert found is not None
    return found.attrib


def numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def rotation(rpy: np.ndarray) -> np.ndarray:
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def urdf_frames(positions: dict[str, float]) -> dict[str, np.ndarray]:
    """Forward kinematics by the URDF's own rules, mimic joints included; by link."""
    poses = {"base_link": np.eye(4)}
    for name, joint in urdf_joints().items():
        value = positions.get(name, 0.0)
        mimic = joint.find("mimic")
        if mimic is not None:
            value = float(mimic.attrib["multiplier"]) * positions[mimic.attrib["joint"]]
        origin, motion = np.eye(4), np.eye(4)
        origin[:3, :3] = rotation(numbers(element(joint, "origin")["rpy"]))
        origin[:3, 3] = numbers(element(joint, "origin")["xyz"])
        if joint.attrib["type"] in ("continuous", "revolute"):
            assert element(joint, "axis")["xyz"] == "0 0 1"
            motion[:3, :3] = rotation(np.array([0.0, 0.0, value]))
        elif joint.attrib["type"] == "prismatic":
            motion[:3, 3] = value * numbers(element(joint, "axis")["xyz"])
        parent, child = element(joint, "parent")["link"], element(joint, "child")["link"]
        poses[child] = poses[parent] @ origin @ motion
    return poses


def test_names_and_limits_of_the_joints_are_the_codes() -> None:
    joints = urdf_joints()
    assert tuple(name for name in joints if name.startswith("joint_")) == JOINTS
    for index, name in enumerate(JOINTS):
        limit, given = JOINT_LIMITS_RAD[index], element(joints[name], "limit")
        assert float(given["velocity"]) == JOINT_SPEED_LIMITS_RAD_S[index]
        assert float(given["effort"]) == JOINT_EFFORT_LIMITS_NM[index]
        if limit is None:
            assert joints[name].attrib["type"] == "continuous"
            assert "lower" not in given
        else:
            assert joints[name].attrib["type"] == "revolute"
            assert (float(given["lower"]), float(given["upper"])) == (-limit, limit)


@pytest.mark.parametrize("posture", POSTURES)
def test_every_frame_is_where_the_kinematics_have_it(posture: np.ndarray) -> None:
    frames, ours = urdf_frames(dict(zip(JOINTS, posture, strict=True)) | {GRIPPER_JOINT: 0.0}), forward(posture)
    for name in FRAMES[:-1]:
        np.testing.assert_allclose(frames[name], ours.pose(name), atol=1e-12)


@pytest.mark.parametrize("closed", [0.0, 0.3, 1.0])
def test_the_fingers_are_where_tf_has_them(closed: float) -> None:
    frames = urdf_frames(dict.fromkeys(JOINTS, 0.0) | {GRIPPER_JOINT: closed})
    T_flange_base = np.linalg.inv(frames["end_effector_link"])
    for name, T in finger_poses(closed):
        np.testing.assert_allclose(T_flange_base @ frames[name], T, atol=1e-12)
    left, right = (T[:3, 3] for _, T in finger_poses(1.0))
    np.testing.assert_allclose(left, right, atol=1e-12)  # closed, they meet


def test_a_prefix_is_before_every_name_and_nothing_is_called_twice() -> None:
    robot = ElementTree.fromstring(gen3_urdf("left/"))
    names = [each.attrib["name"] for kind in ("link", "joint") for each in robot.findall(kind)]
    assert all(name.startswith("left/") for name in names)
    assert len(set(names)) == len(names)
    links = {each.attrib["name"] for each in robot.findall("link")}
    for joint in robot.findall("joint"):
        assert {element(joint, "parent")["link"], element(joint, "child")["link"]} <= links
    assert {f"left/{link.name}" for link in LINKS} <= links


def test_another_reader_of_urdf_agrees() -> None:
    compiler = '<mujoco><compiler fusestatic="false" boundmass="0.1" boundinertia="0.01"/></mujoco>'
    model = mujoco.MjModel.from_xml_string(gen3_urdf().replace("</robot>", f"{compiler}</robot>"))
    data = mujoco.MjData(model)
    for name, value in zip(JOINTS, HOME_RAD, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = value
    mujoco.mj_kinematics(model, data)
    for name in FRAMES[:-1]:
        pose = forward(HOME_RAD).pose(name)
        np.testing.assert_allclose(data.body(name).xpos, pose[:3, 3], atol=1e-9)
        np.testing.assert_allclose(data.body(name).xmat.reshape(3, 3), pose[:3, :3], atol=1e-9)
