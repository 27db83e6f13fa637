"""Students: architectures that are not the teacher made smaller.

A member builds a fresh module: `(input_shape, classes, width) -> Module`, where input_shape is one input's shape
without the batch axis, width > 0 multiplies its channels, and the module maps (n, *input_shape) float inputs to (n,
classes) logits. Add one = one file, one line here, one word in conf/space, and its name in `students` of the tasks
whose inputs it takes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from autoopt.students.cnn import cnn
from autoopt.students.mlp import mlp

Build = Callable[[tuple[int, ...], int, float], nn.Module]


@dataclass(frozen=True)
class Student:
    build: Build
    knobs: tuple[str, ...] = ("width",)
    """Knobs of the space that are asked for this student only."""


STUDENTS: dict[str, Student] = {
    "cnn": Student(cnn),
    "mlp": Student(mlp),
}
