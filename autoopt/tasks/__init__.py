"""Tasks: what to learn.

A member is `(**options) -> Task`: its options are the keys of the configuration's `task`, and `encoder` is
teacher.model where it has one. It raises ConfigError where they are wrong. Add one = one file, one line here, one yaml
in conf/task.
"""

from collections.abc import Callable

from autoopt.tasks.custom import custom
from autoopt.tasks.digits import digits
from autoopt.tasks.fashion import fashion
from autoopt.tasks.image_folder import image_folder
from autoopt.tasks.intents import intents
from autoopt.tasks.onnx_model import onnx_model
from autoopt.tasks.task import Split, Task
from autoopt.tasks.text_classification import text_classification

__all__ = ["TASKS", "Split", "Task"]

TASKS: dict[str, Callable[..., Task]] = {
    "fashion": fashion,
    "digits": digits,
    "intents": intents,
    "text_classification": text_classification,
    "image_folder": image_folder,
    "custom": custom,
    "onnx": onnx_model,
}
