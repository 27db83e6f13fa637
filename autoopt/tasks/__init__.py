"""Tasks: what to learn. A member is `() -> Task`. Add one = one file, one line here, one yaml in conf/task."""

from collections.abc import Callable

from autoopt.tasks.digits import digits
from autoopt.tasks.fashion import fashion
from autoopt.tasks.task import Split, Task

__all__ = ["TASKS", "Split", "Task"]

TASKS: dict[str, Callable[[], Task]] = {
    "fashion": fashion,
    "digits": digits,
}
