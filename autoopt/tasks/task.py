"""What every task is: data in three splits, a teacher, and the students that fit it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from autoopt.core.inputs import Inputs
from autoopt.core.signature import Signature, Tokens
from autoopt.tasks.goal import CLASSES, Goal


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs of n rows as the model takes them; targets (n,) int64 class ids, or (n, k) float32 of a regression."""

    inputs: Inputs
    targets: Tensor
    slices: tuple[str, ...] = ()
    """What each row belongs to, such as its language: quality is told for each, too. (): not known."""

    def __len__(self) -> int:
        return len(self.targets)


LABELS = "labels.json"
"""Among the files of a task: the names of the classes, in the order of their ids."""


def labels_file(names: Sequence[str]) -> dict[str, bytes]:
    return {LABELS: (json.dumps(list(names), ensure_ascii=False) + "\n").encode()}


def single(inputs: Tensor, targets: Tensor) -> Split:
    """A split of a model with one input (n, ...)."""
    return Split(Inputs({"input": inputs}), targets)


@dataclass(frozen=True, eq=False)
class Fit:
    run: Callable[[nn.Module], None]
    """Trains the module in place."""
    source: str
    """A fingerprint of what it does: another one trains another teacher."""


@dataclass(frozen=True, eq=False)
class Task:
    """What to learn. Students see `train`; the search reads `validation`; `test` is read once, by the final exam."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    """How many outputs a model has: the classes, or the numbers of a regression."""
    build_teacher: Callable[[], nn.Module]
    """The teacher's architecture with fresh weights: a module from (n, ...) inputs to (n, classes) logits."""
    students: tuple[str, ...]
    """Names in STUDENTS that take this task's inputs, besides the teacher made smaller."""
    input_meaning: str
    """What a user must feed to an artifact, in one sentence: it goes on the card."""
    data_source: str
    """Origin and licence of the data: it goes on the card."""
    weights: Path | None = None
    """The teacher's weights (safetensors) where they ship with the package, else None: the teacher is trained and
    cached.
    """

    goal: Goal = CLASSES
    own_students: Mapping[str, Callable[[float], nn.Module]] = field(default_factory=dict)
    """Architectures that the task brings along, besides STUDENTS: `(width) -> module`."""
    trained: bool = False
    """True where `build_teacher` gives a trained module."""
    fit: Fit | None = None
    """Trains the teacher in the place of our loop."""
    tokens: Tokens | None = None
    """Of a task of text."""
    texts: tuple[str, ...] = ()
    """Of a task of text: the rows of the validation split as they were written."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What a user of an artifact needs besides the model, by name: the tokenizer, the class names."""
    transfer: Callable[[int], Inputs] | None = None
    """Part k (from 0) of the unlabelled transfer set, as many inputs as the train split has; None: there is none."""

    @property
    def class_names(self) -> list[str]:
        """Of LABELS; where there is none, the ids."""
        return json.loads(self.files[LABELS]) if LABELS in self.files else [str(i) for i in range(self.classes)]

    @property
    def signature(self) -> Signature:
        return Signature(tuple(next(iter(self.train.inputs)).shape[1:]), self.classes, self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the data of all splits, 16 hex digits: caches and studies of other data never match."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for array in split.inputs.numpy():
                digest.update(array.tobytes())
            digest.update(split.targets.numpy().tobytes())
            digest.update("\n".join(split.slices).encode())
        return digest.hexdigest()[:16]
