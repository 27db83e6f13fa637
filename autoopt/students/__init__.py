"""Students: what is trained, the teacher made smaller or an architecture of its own.

A member builds a module that is ready to train: `(signature, teacher, recipe) -> Module`. It takes what the teacher
takes, gives (n, classes) logits, and must leave the teacher as it is. Add one = one file, one line here, one word in
conf/space, and its name in `students` of the tasks whose inputs it takes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from autoopt.core.recipe import TEACHER, Recipe
from autoopt.core.signature import Signature
from autoopt.students.bag import bag
from autoopt.students.cnn import cnn
from autoopt.students.mlp import mlp
from autoopt.students.recurrent import bigru, bilstm
from autoopt.students.teacher import smaller_teacher
from autoopt.students.text_cnn import text_cnn

Build = Callable[[Signature, nn.Module, Recipe], nn.Module]


@dataclass(frozen=True)
class Student:
    build: Build
    knobs: tuple[str, ...] = ("width",)
    """Knobs of the space that are asked for this student only."""


STUDENTS: dict[str, Student] = {
    TEACHER: Student(smaller_teacher, ("layers", "vocabulary", "embedding_rank")),
    "cnn": Student(cnn),
    "mlp": Student(mlp),
    "bag": Student(bag, ("width", "embedding_rank", "ngrams")),
    "text_cnn": Student(text_cnn, ("width", "embedding_rank")),
    "bigru": Student(bigru, ("width", "embedding_rank")),
    "bilstm": Student(bilstm, ("width", "embedding_rank")),
}
