"""Random and adversarial commands against the limits: `python -m glam_core.bench_safety --commands 1000000`.

Arms of pure kinematics are driven by commands that want out. A quarter of the commands are tool poses, which pass the
safety filter, the differential IK and the joint limiter, as in the driver; the others are joint speeds, which pass the
limiter alone. What comes out is judged here once more, by plain arithmetic: poses by their limits; joint speeds by
where the arm would be at every moment until a silence is noticed. Commands that are no commands have to be refused.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import tyro
from numpy.typing import NDArray

from glam_core.errors import SafetyError
from glam_core.gen3 import CONTROL_STEP_S, JOINTS
from glam_core.ik import DifferentialIK
from glam_core.joint_safety import JointFilter, JointLimiter, in_order
from glam_core.kinematics import GUARDED, Gen3Kinematics, forward, jacobian
from glam_core.limits import KeepOut, SafetyLimits
from glam_core.pose import exp_so3, tool_down, transform
from glam_core.safety import SafetyFilter, angle_between
from glam_core.tool import ToolCommand, ToolState

Array = NDArray[np.float64]

LIMITS = SafetyLimits(
    workspace_min=(0.2, -0.35, 0.005),
    workspace_max=(0.75, 0.35, 0.5),
    link_workspace_min=(-0.3, -0.4, 0.1),
    link_workspace_max=(0.7, 0.4, 0.75),
    keep_out=(
        KeepOut(name="post", min=(0.5, 0.12, 0.0), max=(0.58, 0.2, 0.32)),
        KeepOut(name="shelf", min=(0.3, -0.35, 0.3), max=(0.45, -0.2, 0.34)),
    ),
    joint_ranges_rad={"joint_1": (-1.5, 1.5)},
    max_joint_speeds_rad_s={"joint_7": 0.8},
    max_joint_accelerations_rad_s2={"joint_6": 4.0},
)
EXACT = 1e-6
"""What a limit of a pose, of a joint or of the next step may be missed by, in its own unit."""
BETWEEN_M = 1e-3
"""What a point may be outside by between the moments that the limiter looks at, when commands come late or never."""

_BATCH = 256
_FEWEST_STEPS = 250
_MOMENTS = 8


@dataclass(frozen=True)
class BenchConfig:
    """How much is tried."""

    commands: int = 1_000_000
    """Commands in all."""
    seed: int = 0
    """Seed of the first process."""
    processes: int = 2
    """Processes that share the commands."""


@dataclass
class Findings:
    """What came out.

    Attributes:
        commands: Commands that were judged.
        refused: Commands that were none, and were refused.
        violations: Limits that something outside of was let through, and how often.
        clamps: Limits that changed a command, and how often.
        worst_m: How far any guarded point got outside when commands came at their period.
        worst_between_m: The same at every moment until a silence is noticed.
        still: Commands with a motion in them that were answered by none.
    """

    commands: int = 0
    refused: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    clamps: Counter[str] = field(default_factory=Counter)
    worst_m: float = 0.0
    worst_between_m: float = 0.0
    still: int = 0

    def add(self, other: Findings) -> None:
        """Takes in the findings of another process."""
        self.commands += other.commands
        self.refused += other.refused
        self.still += other.still
        self.violations += other.violations
        self.clamps += other.clamps
        self.worst_m = max(self.worst_m, other.worst_m)
        self.worst_between_m = max(self.worst_between_m, other.worst_between_m)


def attack(commands: int, seed: int, limits: SafetyLimits = LIMITS) -> Findings:
    """Sends `commands` commands, and judges what comes out."""
    rng = np.random.default_rng(seed)
    findings = Findings()
    count = max(4, min(_BATCH, commands // _FEWEST_STEPS))
    poses, speeds = _PoseAttack(limits, count // 4, rng), _SpeedAttack(count - count // 4, rng)
    start = DifferentialIK(Gen3Kinematics()).solve(tool_down((0.4, 0.0, 0.2), 0.0))
    limiter = JointLimiter(limits, count)
    judge = _Judge(limits, count)
    positions = np.tile(start, (count, 1))
    for _ in range(math.ceil(commands / count)):
        step = _step(rng, count)
        asked = np.concatenate([poses.speeds(positions[: count // 4], step, findings), speeds.speeds(positions)])
        limited = limiter.limit(asked, positions, np.minimum(step, limits.command_timeout_s))
        for name, changed, _, _ in limited.changes:
            findings.clamps[name] += int(changed.sum())
        judge.judge(limited.speeds, asked, positions, step, findings)
        findings.commands += count
        # Most arms follow as told; some lag, as real ones do.
        follows = np.where(rng.random((count, 1)) < 0.2, rng.uniform(0.2, 1.0, (count, 1)), 1.0)
        positions = positions + follows * limited.speeds * step[:, None]
    findings.refused = _refused(limits, start)
    return findings


class _PoseAttack:
    """Tool poses through the safety filter and the differential IK."""

    def __init__(self, limits: SafetyLimits, count: int, rng: np.random.Generator) -> None:
        self._limits, self._rng = limits, rng
        self._filters = [SafetyFilter(limits) for _ in range(count)]
        self._ik = DifferentialIK(Gen3Kinematics())
        self._last: list[Array | None] = [None] * count
        self._now = np.zeros(count)
        self._goal = np.zeros((count, 3))

    def speeds(self, positions: Array, step: Array, findings: Findings) -> Array:
        """`(N, 7)` rad/s."""
        tools = forward(positions).pose("tool")
        asked = np.empty_like(positions)
        for index, safety in enumerate(self._filters):
            self._now[index] += step[index]
            measured = ToolState(tools[index], 0.5)
            command = self._command(index, measured)
            filtered = safety.filter(command, measured, float(self._now[index]))
            for clamp in filtered.clamps:
                findings.clamps[clamp.name] += 1
            self._judge(index, filtered.command, measured, findings)
            asked[index] = self._ik.joint_speeds(positions[index], filtered.command.T_base_tool, 0.1)
        return asked

    def _command(self, index: int, measured: ToolState) -> ToolCommand:
        rng, low, high = self._rng, np.array(self._limits.workspace_min), np.array(self._limits.workspace_max)
        if rng.random() < 0.05:  # most goals are wanted for a while
            kind = rng.integers(5)
            if kind == 0:
                self._goal[index] = rng.uniform(low - 0.5, high + 0.5)
            elif kind == 1:
                self._goal[index] = rng.normal(size=3) * 10.0 ** rng.integers(-1, 6)
            elif kind == 2:
                self._goal[index] = np.where(rng.random(3) < 0.5, low, high)
            elif kind == 3:
                zone = self._limits.keep_out[rng.integers(len(self._limits.keep_out))]
                self._goal[index] = rng.uniform(zone.min, zone.max)
            else:
                self._goal[index] = rng.uniform(low, high)
        position = self._goal[index]
        if rng.random() < 0.02:  # from one end to the other and back
            position = np.where(rng.random(3) < 0.5, low - 1.0, high + 1.0)
        rotation = measured.T_base_tool[:3, :3] @ exp_so3(rng.normal(size=3) * rng.choice([0.0, 0.05, 3.0]))
        return ToolCommand(transform(rotation, position), float(rng.normal(0.5, 2.0)))

    def _judge(self, index: int, command: ToolCommand, measured: ToolState, findings: Findings) -> None:
        limits, given = self._limits, command.T_base_tool
        position, here = given[:3, 3], measured.T_base_tool[:3, 3]
        if np.any(position < np.array(limits.workspace_min) - EXACT) or np.any(
            position > np.array(limits.workspace_max) + EXACT
        ):
            # An arm outside is led back: then no further out than it is.
            lowest = np.minimum(limits.workspace_min, here)
            highest = np.maximum(limits.workspace_max, here)
            if np.any(position < lowest - EXACT) or np.any(position > highest + EXACT):
                findings.violations["pose: workspace"] += 1
        for zone in limits.keep_out:
            low, high = np.array(zone.min), np.array(zone.max)
            if np.all(position > low + EXACT) and np.all(position < high - EXACT):
                findings.violations[f"pose: keep_out.{zone.name}"] += 1
        if np.linalg.norm(position - here) > limits.max_jump_m + EXACT:
            findings.violations["pose: max_jump_m"] += 1
        if angle_between(measured.T_base_tool[:3, :3], given[:3, :3]) > limits.max_jump_rad + EXACT:
            findings.violations["pose: max_jump_rad"] += 1
        if not 0.0 <= command.gripper <= 1.0:
            findings.violations["pose: gripper"] += 1
        last = self._last[index]
        if last is not None and np.linalg.norm(last[:3, 3] - here) <= limits.max_jump_m:
            if np.linalg.norm(position - last[:3, 3]) > limits.max_speed_m_s * limits.command_period_s + EXACT:
                findings.violations["pose: max_speed_m_s"] += 1
            turned = angle_between(last[:3, :3], given[:3, :3])
            if turned > limits.max_rotation_speed_rad_s * limits.command_period_s + EXACT:
                findings.violations["pose: max_rotation_speed_rad_s"] += 1
        self._last[index] = given


class _SpeedAttack:
    """Joint speeds that want out: random, huge, back and forth, and straight at the nearest wall."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._rng, self._count = rng, count
        self._wanted = np.zeros((count, len(JOINTS)))

    def speeds(self, positions: Array) -> Array:
        """`(N, 7)` rad/s."""
        rng, count = self._rng, self._count
        renew = rng.random(count) < 0.05
        size = 10.0 ** rng.integers(-2, 7, (count, 1))
        self._wanted = np.where(renew[:, None], rng.normal(size=(count, len(JOINTS))) * size, self._wanted)
        back_and_forth = rng.random((count, 1)) < 0.05
        speeds = np.where(back_and_forth, -self._wanted, self._wanted)
        towards = rng.random(count) < 0.3
        arms = np.flatnonzero(towards)
        if len(arms):
            # All joints at once in the direction that carries one guarded point fastest along one axis.
            frames = forward(positions[-count:][arms])
            point = list(GUARDED)[rng.integers(len(GUARDED))]
            name = {"tool": "tool", "elbow": "forearm_link", "wrist": "spherical_wrist_2_link"}[point]
            row = jacobian(frames, name)[:, rng.integers(3)]
            speeds[arms] = np.sign(row) * 2.0 * rng.choice([-1.0, 1.0])
        return speeds


class _Judge:
    """Plain arithmetic on the joint speeds that were let through."""

    def __init__(self, limits: SafetyLimits, count: int) -> None:
        self._limits = limits
        self._low, self._high = limits.joint_ranges
        self._last = np.zeros((count, len(JOINTS)))
        tool, links = (
            (limits.workspace_min, limits.workspace_max),
            (limits.link_workspace_min, limits.link_workspace_max),
        )
        boxes = [tool if point == "tool" else links for point in GUARDED]
        self._box_low, self._box_high = (np.array(side) for side in zip(*boxes, strict=True))
        margin = np.array([[0.0 if point == "tool" else limits.link_radius_m] for point in GUARDED])
        self._zones = [(np.array(zone.min) - margin, np.array(zone.max) + margin) for zone in limits.keep_out]

    def judge(self, given: Array, asked: Array, positions: Array, step: Array, findings: Findings) -> None:
        """Counts everything that is outside of a limit."""
        limits, violations = self._limits, findings.violations
        violations["joint speed"] += int(np.sum(np.abs(given) > limits.joint_speeds + EXACT))
        growth = limits.joint_accelerations * np.minimum(step, limits.command_timeout_s)[:, None]
        faster = np.where(given * self._last > 0.0, np.abs(given) - np.abs(self._last), np.abs(given))
        violations["joint acceleration"] += int(np.sum(faster > growth + EXACT))
        self._last = given
        frames = forward(positions)
        velocity = np.einsum("nij,nj->ni", jacobian(frames)[:, :3], given)
        violations["tool speed"] += int(np.sum(np.linalg.norm(velocity, axis=1) > limits.max_speed_m_s + EXACT))
        moments = np.concatenate([[CONTROL_STEP_S], np.linspace(0.0, limits.command_timeout_s, _MOMENTS)[1:]])
        later = positions[:, None] + moments[:, None] * given[:, None]
        over = np.maximum(later - self._high, self._low - later)
        over -= np.maximum(np.maximum(positions - self._high, self._low - positions), 0.0)[:, None]
        violations["joint range"] += int(np.sum(over > EXACT))
        indices = list(GUARDED.values())
        outside = self._outside(forward(later).origins[:, :, indices])
        outside -= self._outside(frames.origins[:, indices])[:, None]
        findings.worst_m = max(findings.worst_m, float(outside[:, 0].max()))
        findings.worst_between_m = max(findings.worst_between_m, float(outside.max()))
        for point, name in enumerate(GUARDED):
            violations[f"{name} after a step"] += int(np.sum(outside[:, 0, point] > EXACT))
            violations[f"{name} on the way"] += int(np.sum(outside[:, :, point].max(axis=1) > BETWEEN_M))
        findings.still += int(np.sum((np.abs(given).max(axis=1) < 1e-6) & (np.abs(asked).max(axis=1) > 1e-3)))

    def _outside(self, points: Array) -> Array:
        """How far points `(..., P, 3)` are outside of their box or inside of a zone, m; zero where all is well."""
        outside = np.maximum(points - self._box_high, self._box_low - points).max(axis=-1)
        for low, high in self._zones:
            outside = np.maximum(outside, np.minimum(points - low, high - points).min(axis=-1))
        return np.maximum(outside, 0.0)


def _step(rng: np.random.Generator, count: int) -> Array:
    """Times since the last command: mostly the period, at times early or late."""
    step = np.full(count, CONTROL_STEP_S)
    odd = rng.random(count) < 0.1
    return np.where(odd, rng.uniform(0.001, 0.1, count), step)


def _refused(limits: SafetyLimits, positions: Array) -> int:
    """Commands that are none; raises where one is let through."""
    pose = forward(positions).pose("tool")
    measured = ToolState(pose, 0.0)
    refused = 0
    broken = []
    for value in (math.nan, math.inf, -math.inf):
        for cell in np.ndindex(4, 4):
            if cell[0] < 3:
                bad = pose.copy()
                bad[cell] = value
                broken.append(bad)
    broken += [np.zeros((4, 4)), np.diag([1.0, 1.0, -1.0, 1.0]), 2.0 * pose]
    for bad in broken:
        for command, tool in ((ToolCommand(bad, 0.0), measured), (ToolCommand(pose, 0.0), ToolState(bad, 0.0))):
            refused += _raises(lambda c=command, t=tool: SafetyFilter(limits).filter(c, t, 0.0))
    for value in (math.nan, math.inf, -math.inf):
        refused += _raises(lambda v=value: SafetyFilter(limits).filter(ToolCommand(pose, v), measured, 0.0))
        for joint in range(len(JOINTS)):
            bad = np.zeros(len(JOINTS))
            bad[joint] = value
            refused += _raises(lambda b=bad: JointFilter(limits).limit(b, positions, 0.0))
            refused += _raises(lambda b=bad: JointFilter(limits).limit(np.zeros(len(JOINTS)), positions + b, 0.0))
            refused += _raises(lambda b=bad: in_order(JOINTS, b, "command"))
    for names in (JOINTS[:-1], (*JOINTS, "joint_8"), (*JOINTS[:-1], "joint_1"), ()):
        refused += _raises(lambda n=names: in_order(n, np.zeros(len(n)), "command"))
    return refused


def _raises(call: object) -> int:
    try:
        call()  # type: ignore[operator]
    except SafetyError:
        return 1
    raise AssertionError("a command that is none was let through")


def report(findings: Findings, elapsed_s: float) -> str:
    """What was found, for people."""
    violations = +findings.violations
    lines = [
        f"{findings.commands} commands in {elapsed_s:.0f} s, {findings.refused} malformed ones refused",
        f"outside of a limit: {sum(violations.values())}" + "".join(f"\n  {k}: {v}" for k, v in violations.items()),
        f"farthest outside after a step: {1e3 * findings.worst_m:.6f} mm; "
        f"at any moment until a silence is noticed: {1e3 * findings.worst_between_m:.3f} mm",
        f"answered by standing still: {findings.still / max(findings.commands, 1):.1%}",
        "clamps: " + ", ".join(f"{name} {count}" for name, count in findings.clamps.most_common()),
    ]
    return "\n".join(lines)


def main() -> int:
    """The command line; fails where anything outside of a limit was let through."""
    config = tyro.cli(BenchConfig, description=__doc__)
    share = math.ceil(config.commands / config.processes)
    start = time.perf_counter()
    findings = Findings()
    with ProcessPoolExecutor(config.processes) as pool:
        seeds = range(config.seed, config.seed + config.processes)
        for part in pool.map(attack, [share] * config.processes, seeds):
            findings.add(part)
    print(report(findings, time.perf_counter() - start))
    return 1 if +findings.violations else 0


if __name__ == "__main__":
    sys.exit(main())
