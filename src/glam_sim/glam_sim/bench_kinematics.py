"""How long the kinematics of the arm take, by numpy and by MuJoCo: `python -m glam_sim.bench_kinematics`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from glam_core.gen3 import HOME_RAD
from glam_core.ik import DifferentialIK
from glam_core.kinematics import Gen3Kinematics, Kinematics
from glam_core.pose import tool_down
from glam_sim.control import ArmKinematics

_CALLS = 4000
_ROUNDS = 5


def microseconds(call: Callable[[], object]) -> float:
    """The time of a call: the best of a few rounds, which a busy machine disturbs least."""
    best = np.inf
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / _CALLS


def main() -> None:
    """Measures and prints."""
    goal = tool_down([0.5, 0.1, 0.15], 0.3)
    makes: dict[str, Callable[[], Kinematics]] = {"numpy": Gen3Kinematics, "MuJoCo": ArmKinematics}
    for name, make in makes.items():
        kinematics, ik = make(), DifferentialIK(make())

        def pose_and_jacobian(kinematics: Kinematics = kinematics) -> None:
            kinematics.update(HOME_RAD)
            kinematics.tool_pose()
            kinematics.jacobian()

        def joint_speeds(ik: DifferentialIK = ik) -> None:
            ik.joint_speeds(HOME_RAD, goal, 0.1)

        print(
            f"{name:8s} tool pose and Jacobian {microseconds(pose_and_jacobian):6.1f} us, "
            f"differential IK {microseconds(joint_speeds):6.1f} us"
        )


if __name__ == "__main__":
    main()
