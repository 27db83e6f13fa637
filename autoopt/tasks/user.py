"""What a user hands over: a model, data, and what counts as good."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from autoopt.core.errors import ConfigError, foreign
from autoopt.core.metric import CUSTOM, Metric
from autoopt.tasks.goal import CLASSES, CLASSIFICATION, KINDS, METRICS, NUMBERS, REGRESSION, Goal

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class UserTask:
    """What `build()` of `task.factory=module:build` returns; in Python `autoopt.Task`.

    `model` is a trained module, or with `fit(model)` one that is trained there, once, and kept. Splits are
    (inputs, targets), a dataset or a DataLoader; inputs are an array, or a tuple or dict of them, as the module takes
    them. `metric` is a name ('accuracy', 'macro_f1', 'r2') or `(outputs, targets) -> float` on numpy arrays, higher is
    better; `loss(outputs, targets)` a scalar. `students` make other architectures: name -> `(width) -> module`.
    """

    model: nn.Module
    train: Any
    validation: Any
    test: Any
    name: str = "custom"
    kind: str = CLASSIFICATION
    """'classification' or 'regression'."""
    fit: Callable[[nn.Module], None] | None = None
    students: Mapping[str, Callable[[float], nn.Module]] = field(default_factory=dict)
    metric: str | Callable[[Any, Any], float] | None = None
    loss: Loss | None = None
    collate: Callable[..., Any] | None = None
    slices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """'validation' and 'test' -> what each row belongs to, such as its language: quality is told for each, too."""
    input_meaning: str = "as the PyTorch module takes them"
    data_source: str = "the user's"


def check_fields(user: UserTask) -> None:
    """Whether each is of its kind. Raises ConfigError."""
    if not isinstance(user.model, nn.Module):
        raise ConfigError(f"Task(model={_short(user.model)}): a torch.nn.Module is needed")
    if not isinstance(user.name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", user.name):
        raise ConfigError(f"Task(name={_short(user.name)}): letters, digits, '.', '_' and '-' are allowed")
    for name in ("fit", "loss", "collate"):
        given = getattr(user, name)
        if given is not None and not callable(given):
            raise ConfigError(f"Task({name}={_short(given)}): a function is needed, or None")
    if not isinstance(user.students, Mapping) or not all(map(callable, user.students.values())):
        raise ConfigError(f"Task(students={_short(user.students)}): {{name: function of a width}} is needed")
    if not isinstance(user.slices, Mapping) or not all(hasattr(found, "__len__") for found in user.slices.values()):
        raise ConfigError(
            f"Task(slices=...) is a {type(user.slices).__name__}: {{'validation': [...], 'test': [...]}} is allowed, "
            "with an entry for each row"
        )


def _short(value: Any) -> str:
    return repr(value)[:60]


def goal_of(user: UserTask) -> Goal:
    if user.kind not in KINDS:
        raise ConfigError(f"Task(kind={user.kind!r}): {' or '.join(KINDS)} is allowed")
    default = NUMBERS if user.kind == REGRESSION else CLASSES
    if user.metric in (None, default.metric.name):
        return replace(default, loss=user.loss)
    if callable(user.metric):
        return Goal(user.kind, Metric(CUSTOM, _told(user.metric)), user.loss)
    if user.metric not in METRICS:
        raise ConfigError(f"Task(metric={user.metric!r}): {', '.join(METRICS)}, or a function is allowed")
    if user.metric != "r2" and user.kind == REGRESSION:
        raise ConfigError(
            f"Task(metric={user.metric!r}) is of classes: with kind='regression', 'r2' or a function is allowed"
        )
    return Goal(user.kind, METRICS[user.metric], user.loss)


def _told(metric: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    """The user's metric, of whose errors it is told where they come from: it may meet a slice without a class, say."""

    def score(outputs: Any, targets: Any) -> float:
        with foreign("the task's metric"):
            return float(metric(outputs, targets))

    return score
