"""The simulated cell: one embodiment, one task, physics, cameras.

    cell = Cell("stack_two", "gen3")
    cell.reset(seed=7)
    cell.command({"arm": ToolCommand(T_base_tool, gripper=0.0)})
    cell.advance(0.1)
    image = cell.render("front")

A seed decides everything that follows: same seed and same commands, same bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import mujoco
import numpy as np

from glam_core.errors import ConfigurationError, SafetyError, closest
from glam_core.gen3 import COMMAND_STEP_S
from glam_core.pose import inverse, quaternion_xyzw_from_matrix, tool_down, transform, wrap_angle
from glam_core.spec import VectorSpec
from glam_core.tool import ToolCommand, ToolState
from glam_sim.appearance import Dresser, Look
from glam_sim.dynamics import Tuner
from glam_sim.model import CONTROL_STEP_S, EMBODIMENTS, PHYSICS_STEPS_PER_CONTROL, scene_model
from glam_sim.motion import ArmMotion, Fingers, HandMotion, JointDrive, JointState, Motion
from glam_sim.objects import ObjectState
from glam_sim.render import OffscreenRenderer
from glam_sim.scene import Hand, scene_spec, scene_vector
from glam_sim.sources import Source, find_source, plain
from glam_sim.tasks import TASKS

HOLD_S = 0.5
"""How long a task's condition must hold without a break."""
OVERVIEW_SIZE = (480, 640)

_START_YAW_RAD = 0.35
_SETTLE_TICKS = 4
_OPPOSITE = -0.5
_TIME_TOLERANCE_S = 1e-6
_GRIPPER_SPEED_M_S = {"gen3": 0.15, "umi": 0.20}
_MOTIONS: dict[str, type[ArmMotion] | type[HandMotion]] = {"gen3": ArmMotion, "umi": HandMotion}


class Joints(NamedTuple):
    """Measured joints: names, positions (rad) and velocities (rad/s), (J,) each.

    For the hand-held gripper they are the tool's x, y, z (m) and yaw (rad).
    """

    names: tuple[str, ...]
    positions: np.ndarray
    velocities: np.ndarray


class Configuration(NamedTuple):
    """Where everything is, in MuJoCo's terms: what a second copy of the model needs to show the same scene."""

    qpos: np.ndarray
    mocap_pos: np.ndarray
    mocap_quat: np.ndarray


def fingers_of(arm: str) -> set[str]:
    """Names of the bodies of an arm's fingers."""
    return {f"{arm}/left_finger", f"{arm}/right_finger"}


class Cell:
    """A table with a task's objects, one or two arms or hand-held grippers, and cameras.

    Poses of tools, measured and commanded, are in the base frame of their arm; everything else is in the world frame.

    Attributes:
        task: the task.
        embodiment: one of `EMBODIMENTS`.
        source: whose demonstrations are made here: how the cell looks and moves, and what is measured.
        arms: names of the arms, the keys of `tools` and of commands.
        bases: `T_world_base` (4, 4) of the arms.
        readings: what is taken for a tool.
        cameras: names of the cameras.
        image_size: (height, width) of the images that `render` returns when it is not told.
    """

    def __init__(
        self, task: str, embodiment: str, image_size: tuple[int, int] = (96, 96), source: Source | None = None
    ) -> None:
        """Makes the cell, reset with seed 0.

        Args:
            task: one of `TASKS`.
            embodiment: one of `EMBODIMENTS`.
            image_size: (height, width) of images in pixels.
            source: of this embodiment; None for the plain cell.
        """
        if task not in TASKS:
            raise ConfigurationError(closest(task, TASKS, "task"))
        if embodiment not in EMBODIMENTS:
            raise ConfigurationError(closest(embodiment, EMBODIMENTS, "embodiment"))
        self.task = TASKS[task]
        self.embodiment = embodiment
        self.source = source or plain(embodiment)
        if self.source.embodiment != embodiment:
            raise ConfigurationError(
                f"the source '{self.source.name}' is of {self.source.embodiment}, not {embodiment}"
            )
        self.readings = self.source.readings
        layout = self.task.layout
        self.arms = layout.arm_names
        self.bases = {place.name: place.T_world_base for place in layout.arms}
        self.cameras = layout.cameras
        self.image_size = image_size
        self._T_base_world = {arm: inverse(T_world_base) for arm, T_world_base in self.bases.items()}
        self._model = scene_model(embodiment, layout, self.task.objects, self.source.appearance)
        self._data = mujoco.MjData(self._model)
        still = tuple(name for name in layout.views if name != "overview")
        self._dresser = Dresser(self.source.appearance, self._model, still)
        self._tuner = Tuner(self.source.dynamics, self._model)
        self._look: Look | None = None
        self._motions: dict[str, Motion] = {}
        self._fingers: dict[str, Fingers] = {}
        self._tool_sites: dict[str, int] = {}
        for arm in self.arms:
            prefix = f"{arm}/"
            self._motions[arm] = _MOTIONS[embodiment](self._model, self._data, prefix)
            self._fingers[arm] = Fingers(self._model, self._data, prefix, _GRIPPER_SPEED_M_S[embodiment])
            self._tool_sites[arm] = self._model.site(f"{prefix}tool").id
        self._object_bodies = {item.name: self._model.body(item.name).id for item in self.task.objects}
        self._object_joints = {item.name: self._model.joint(item.name) for item in self.task.objects if not item.fixed}
        self._body_of_geom = [self._model.body(body).name for body in self._model.geom_bodyid]
        self._name_of_geom = [
            "table" if self._model.geom(geom).name == "table" else body for geom, body in enumerate(self._body_of_geom)
        ]
        self._arm_of_geom = np.array([body.partition("/")[0] if "/" in body else "" for body in self._body_of_geom])
        self._class_of_geom = self._mask_classes()
        self._renderers: dict[tuple[int, int, bool], OffscreenRenderer] = {}
        self._goals: dict[str, ToolCommand] = {}
        self._due: dict[str, float] = {}
        self._underway: deque[tuple[float, str, ToolCommand]] = deque()
        self._held_ticks = 0
        self._driven_steps = 0
        self._spoiled = False
        self._succeeded = False
        self.reset(0)

    @classmethod
    def of(cls, task: str, source: str, image_size: tuple[int, int] = (96, 96)) -> Cell:
        """The cell of a source, one of `SOURCES`."""
        found = find_source(source)
        return cls(task, found.embodiment, image_size, found)

    def reset(self, seed: int) -> None:
        """Starts the episode that `seed` decides: objects, tool poses; time 0, grippers open, everything at rest."""
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self._model, self._data)
        if not self.source.is_plain:
            chance = np.random.default_rng([seed, 1000])
            self._look = self._dresser.dress(chance)
            pace = self._tuner.tune(chance)
            for fingers in self._fingers.values():
                fingers.pace = pace
        self._underway.clear()
        for item, (x, y, yaw) in zip(self.task.objects, self.task.place(rng), strict=True):
            half = float(wrap_angle(yaw)) / 2
            self._place(item.name, [x, y, item.rest_height_m], [np.cos(half), 0.0, 0.0, np.sin(half)])
        layout = self.task.layout
        for arm in self.arms:
            position = np.array(layout.start) + rng.uniform(-1.0, 1.0, size=3) * layout.start_spread
            pose = tool_down(position, rng.uniform(-_START_YAW_RAD, _START_YAW_RAD))
            self._motions[arm].reset(pose)
            self._fingers[arm].reset(0.0)
            self._goals[arm] = ToolCommand(pose, 0.0)
            self._due[arm] = 0.0
        mujoco.mj_forward(self._model, self._data)
        for _ in range(_SETTLE_TICKS):
            self._tick()
        self._data.time = 0.0
        self._held_ticks = self._driven_steps = 0
        self._spoiled = False
        self._succeeded = False

    def close(self) -> None:
        """Frees the renderers; harmless when repeated."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Time and motion

    @property
    def time(self) -> float:
        """Seconds since the episode began."""
        return float(self._data.time)

    @property
    def hands(self) -> dict[str, Hand]:
        """Where the tools truly are, by arm, in the world frame."""
        return {arm: Hand(self._site_pose(site), self._fingers[arm].closed) for arm, site in self._tool_sites.items()}

    @property
    def tools(self) -> dict[str, ToolState]:
        """The measured tools, by arm, each in its base frame."""
        T_tool_reported = self.readings.T_tool_reported
        return {
            arm: ToolState(
                self._T_base_world[arm] @ hand.T_world_tool @ T_tool_reported,
                self.readings.gripper(hand.gripper),
                self._motions[arm].positions if self.embodiment == "gen3" else None,
            )
            for arm, hand in self.hands.items()
        }

    def command(self, commands: Mapping[str, ToolCommand]) -> None:
        """Sends each named tool to a pose, or its joints to their positions, to be reached in `COMMAND_STEP_S`.

        It then stays there.

        Raises:
            ConfigurationError: there is no arm of that name, or it has no joints.
            SafetyError: a number is not finite.
        """
        for arm, command in commands.items():
            if arm not in self._goals:
                raise ConfigurationError(closest(arm, self.arms, "arm"))
            if not (np.isfinite(command.T_base_tool).all() and np.isfinite(command.gripper)):
                raise SafetyError(f"the command for '{arm}' is not finite; the cell keeps its last goal")
            if command.joints is not None:
                self._arm_motion(arm)
            if command.joints is not None and not np.isfinite(command.joints).all():
                raise SafetyError(f"the joints for '{arm}' are not finite; the cell keeps its last goal")
        for arm, command in commands.items():
            goal = ToolCommand(command.T_base_tool @ self.readings.T_reported_tool, command.gripper, command.joints)
            self._underway.append((self.time + self.source.dynamics.latency_s, arm, goal))
        self._receive()

    def with_joints(self, commands: Mapping[str, ToolCommand]) -> dict[str, ToolCommand]:
        """The same commands as commands for the joints: where the joints would be after `COMMAND_STEP_S`.

        Raises:
            ConfigurationError: the embodiment has no joints.
        """
        return {
            arm: replace(
                command,
                joints=self._arm_motion(arm).joints_at(
                    command.T_base_tool @ self.readings.T_reported_tool, COMMAND_STEP_S
                ),
            )
            for arm, command in commands.items()
        }

    def advance(self, duration_s: float) -> None:
        """Lets time pass: whole control steps of 25 ms.

        Raises:
            ConfigurationError: `duration_s` is not a positive multiple of the control step.
        """
        ticks = round(duration_s / CONTROL_STEP_S)
        if ticks < 1 or abs(ticks * CONTROL_STEP_S - duration_s) > 1e-6:
            raise ConfigurationError(f"cannot advance by {duration_s} s; use multiples of {CONTROL_STEP_S} s")
        for _ in range(ticks):
            self._tick()

    def drive(self, drives: Mapping[str, JointDrive]) -> None:
        """Lets one physics step pass in which every arm of the cell is driven by its joints, instead of to a pose.

        Raises:
            ConfigurationError: the arms are others than those of the cell, or its embodiment has no joints.
        """
        if set(drives) != set(self.arms):
            raise ConfigurationError(f"a step drives the arms {', '.join(self.arms)}, not {', '.join(drives)}")
        for arm, drive in drives.items():
            self._arm_motion(arm).drive(drive.speeds, drive.torques)
            self._fingers[arm].tick(drive.gripper, drive.gripper_speed / PHYSICS_STEPS_PER_CONTROL)
        mujoco.mj_step(self._model, self._data)
        self._driven_steps += 1
        if self._driven_steps % PHYSICS_STEPS_PER_CONTROL == 0:
            self._judge()

    def joint_state(self, arm: str) -> JointState:
        """What the joints and the gripper of an arm do, and what touches its hand."""
        motion, fingers = self._arm_motion(arm), self._fingers[arm]
        return JointState(
            motion.positions,
            motion.velocities,
            motion.torques,
            motion.gravity,
            fingers.closed,
            fingers.speed,
            self._contact_wrench(arm),
        )

    @property
    def joints(self) -> dict[str, Joints]:
        """The joints, by arm."""
        return {
            arm: Joints(motion.joints, motion.positions, motion.velocities) for arm, motion in self._motions.items()
        }

    # Scene

    @property
    def configuration(self) -> Configuration:
        """Where everything is."""
        return Configuration(self._data.qpos.copy(), self._data.mocap_pos.copy(), self._data.mocap_quat.copy())

    @property
    def objects(self) -> dict[str, ObjectState]:
        """The objects, by name."""
        return {
            name: ObjectState(self._data.xpos[body].copy(), self._data.xmat[body].reshape(3, 3).copy())
            for name, body in self._object_bodies.items()
        }

    def move_object(self, name: str, T_world_object: np.ndarray) -> None:
        """Puts an object somewhere at rest; physics goes on from there."""
        if name not in self._object_bodies:
            raise ConfigurationError(closest(name, self._object_bodies, "object"))
        x, y, z, w = quaternion_xyzw_from_matrix(T_world_object[:3, :3])
        self._place(name, T_world_object[:3, 3], [w, x, y, z])
        mujoco.mj_forward(self._model, self._data)

    def show(self, hands: Mapping[str, Hand], objects: Mapping[str, ObjectState]) -> None:
        """Puts tools and objects somewhere at rest, and lets no time pass: to see here what has happened elsewhere.

        Args:
            hands: where the tools truly are, by arm.
            objects: the objects, by name.
        """
        for arm, hand in hands.items():
            self._motions[arm].reset(self._T_base_world[arm] @ hand.T_world_tool)
            self._fingers[arm].reset(hand.gripper)
        for name, state in objects.items():
            x, y, z, w = quaternion_xyzw_from_matrix(state.rotation)
            self._place(name, state.position, [w, x, y, z])
        mujoco.mj_forward(self._model, self._data)

    def touching(self, name: str) -> set[str]:
        """Names of the bodies in contact with an object: objects, "table", parts of an arm ("arm/left_finger")."""
        others = set()
        for pair in self._data.contact.geom[: self._data.ncon]:
            first, second = self._name_of_geom[pair[0]], self._name_of_geom[pair[1]]
            if first == name:
                others.add(second)
            elif second == name:
                others.add(first)
        return others

    def held(self, name: str) -> bool:
        """Whether both fingers of an arm touch the object, and nothing else carries it."""
        touched = self.touching(name)
        return any(touched == fingers_of(arm) for arm in self.arms)

    def gripped(self, name: str) -> bool:
        """Whether the fingers of an arm press on an object from opposite sides, whatever else touches it."""
        pressing: dict[str, list[np.ndarray]] = {}
        for number, pair in enumerate(self._data.contact.geom[: self._data.ncon]):
            first, second = self._name_of_geom[pair[0]], self._name_of_geom[pair[1]]
            if name in (first, second):
                normal = self._data.contact.frame[number, :3]  # from the first geom to the second
                finger, inwards = (second, -normal) if first == name else (first, normal)
                pressing.setdefault(finger, []).append(inwards)
        for arm in self.arms:
            left, right = (pressing.get(f"{arm}/{finger}", []) for finger in ("left_finger", "right_finger"))
            if any(float(a @ b) < _OPPOSITE for a in left for b in right):
                return True
        return False

    def speed(self, name: str) -> float:
        """Speed (m/s) of the centre of a free object."""
        start = self._object_joints[name].dofadr[0]
        return float(np.linalg.norm(self._data.qvel[start : start + 3]))

    def success(self) -> bool:
        """Whether the task's condition has held for `HOLD_S` in a row in this episode, before anything spoiled it."""
        return self._succeeded

    def scene_spec(self) -> VectorSpec:
        """Names and units of `scene_vector`."""
        return scene_spec(self.task, with_look=not self.source.is_plain)

    def scene_vector(self) -> np.ndarray:
        """Returns the privileged scene `(D,) float32`, as `scene_spec` says."""
        look = () if self._look is None else self._dresser.channels(self._look)
        return scene_vector(self.task, self.tools, self.bases, self.objects, look)

    # Cameras

    @property
    def mask_classes(self) -> tuple[str, ...]:
        """What the values 1, 2, ... of `render_mask` stand for."""
        return (*self._object_bodies, "fingers")

    def render(self, camera: str, height: int | None = None, width: int | None = None) -> np.ndarray:
        """Returns `(H, W, 3) uint8 RGB`; without a size, `image_size`, and `OVERVIEW_SIZE` for the overview."""
        return self._renderer(camera, height, width).image(self._data, self._camera(camera))

    def render_mask(self, camera: str, height: int | None = None, width: int | None = None) -> np.ndarray:
        """Returns `(H, W) uint8`: 0 for the background, else the class in `mask_classes`, counted from 1."""
        geoms = self._renderer(camera, height, width).geom_ids(self._data, self._camera(camera))
        return self._class_of_geom[geoms]

    # Privately

    def _tick(self) -> None:
        """One control step: actuators, physics, the success condition."""
        self._receive()
        now = self.time
        for arm, goal in self._goals.items():
            if goal.joints is None:
                self._motions[arm].tick(goal.T_base_tool, self._due[arm] - now)
            else:
                self._arm_motion(arm).tick_joints(goal.joints, self._due[arm] - now)
            self._fingers[arm].tick(min(1.0, max(0.0, goal.gripper)))
        mujoco.mj_step(self._model, self._data, PHYSICS_STEPS_PER_CONTROL)
        self._judge()

    def _receive(self) -> None:
        """Commands take effect once their latency has passed."""
        while self._underway and self._underway[0][0] <= self.time + _TIME_TOLERANCE_S:
            _, arm, goal = self._underway.popleft()
            self._goals[arm] = goal
            self._due[arm] = self.time + COMMAND_STEP_S

    def _judge(self) -> None:
        """At every control step: has the task's condition held for long enough?"""
        if self.task.spoils is not None:
            self._spoiled |= self.task.spoils(self)
        self._held_ticks = self._held_ticks + 1 if not self._spoiled and self.task.holds(self) else 0
        self._succeeded |= self._held_ticks * CONTROL_STEP_S >= HOLD_S

    def _place(self, name: str, position: Sequence[float], quaternion: Sequence[float]) -> None:
        """Puts an object at a position (m) with a quaternion (w, x, y, z), world frame, at rest."""
        if name not in self._object_joints:
            body = self._model.body_mocapid[self._object_bodies[name]]
            self._data.mocap_pos[body], self._data.mocap_quat[body] = position, quaternion
            return
        joint = self._object_joints[name]
        start, speed = joint.qposadr[0], joint.dofadr[0]
        self._data.qpos[start : start + 7] = [*position, *quaternion]
        self._data.qvel[speed : speed + 6] = 0.0

    def _arm_motion(self, arm: str) -> ArmMotion:
        motion = self._motions.get(arm)
        if not isinstance(motion, ArmMotion):
            raise ConfigurationError(
                f"'{arm}' of a cell with {self.embodiment} has no joints to drive; choose gen3 and one of its arms"
            )
        return motion

    def _contact_wrench(self, arm: str) -> np.ndarray:
        """Force (N) and torque (N m) that contacts exert on the tool of an arm, (6,), in its base frame."""
        contact = self._data.contact
        owners = self._arm_of_geom[contact.geom[: self._data.ncon]] == arm
        touching = np.flatnonzero(owners[:, 0] != owners[:, 1])
        if not len(touching):
            return np.zeros(6)
        forces = np.zeros((len(touching), 6))
        for row, index in zip(forces, touching, strict=True):
            mujoco.mj_contactForce(self._model, self._data, index, row)
        # A contact's force is in its own frame, whose rows are its axes, and acts on the second geom.
        pushed = np.einsum("nji,nj->ni", contact.frame[touching].reshape(-1, 3, 3), forces[:, :3])
        pushed *= np.where(owners[touching, 1], 1.0, -1.0)[:, None]
        x, y, z = (contact.pos[touching] - self._data.site_xpos[self._tool_sites[arm]]).T
        px, py, pz = pushed.T
        torque = np.array([(y * pz - z * py).sum(), (z * px - x * pz).sum(), (x * py - y * px).sum()])
        R_base_world = self._T_base_world[arm][:3, :3]
        return np.concatenate([R_base_world @ pushed.sum(0), R_base_world @ torque])

    def _site_pose(self, site: int) -> np.ndarray:
        return transform(self._data.site_xmat[site].reshape(3, 3), self._data.site_xpos[site])

    def _camera(self, camera: str) -> int:
        return self._model.camera(camera).id

    def _renderer(self, camera: str, height: int | None, width: int | None) -> OffscreenRenderer:
        if camera not in self.cameras:
            raise ConfigurationError(closest(camera, self.cameras, "camera"))
        default = OVERVIEW_SIZE if camera == "overview" else self.image_size
        key = (height or default[0], width or default[1], camera == "overview")
        if key not in self._renderers:
            self._renderers[key] = OffscreenRenderer(self._model, *key)
        return self._renderers[key]

    def _mask_classes(self) -> np.ndarray:
        """Class of each geom, with a last entry for "no geom" (-1)."""
        classes = {name: index for index, name in enumerate(self._object_bodies, start=1)}
        for arm in self.arms:
            classes |= dict.fromkeys(fingers_of(arm), len(self._object_bodies) + 1)
        return np.array([classes.get(body, 0) for body in self._body_of_geom] + [0], dtype=np.uint8)
