"""The tasks, by name."""

from glam_sim.tasks.lift import LIFT
from glam_sim.tasks.stack_two import STACK_TWO
from glam_sim.tasks.task import Task

TASKS: dict[str, Task] = {"lift": LIFT, "stack_two": STACK_TWO}

__all__ = ["TASKS", "Task"]
