"""The tasks, by name."""

from glam_sim.tasks.knock_down import KNOCK_DOWN
from glam_sim.tasks.lift import LIFT
from glam_sim.tasks.place import PLACE
from glam_sim.tasks.stack_three import STACK_THREE
from glam_sim.tasks.stack_two import STACK_TWO
from glam_sim.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (LIFT, STACK_TWO, KNOCK_DOWN, PLACE, STACK_THREE)}

__all__ = ["TASKS", "Task"]
