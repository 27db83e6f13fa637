"""What a task asks of a model: classes or numbers, by which metric, under which loss."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from autoopt.core.metric import Metric

CLASSIFICATION, REGRESSION = KINDS = ("classification", "regression")


@dataclass(frozen=True, eq=False)
class Goal:
    """`loss(outputs, targets)` is a scalar; None: cross-entropy, or the mean squared error of a regression."""

    kind: str
    metric: Metric
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    others: tuple[Metric, ...] = ()
    """What is measured besides, and may take the metric's place: see `judged`."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (self.metric, *self.others)

    def judged(self, names: Iterable[str]) -> "Goal":
        """The same goal by that of its metrics which comes first among the names; itself where none does."""
        known = {metric.name: metric for metric in self.metrics}
        first = next((known[name] for name in names if name in known), self.metric)
        return replace(self, metric=first, others=tuple(m for m in self.metrics if m is not first))


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Share of rows whose largest output (n, classes) is at the target (n,)."""
    return float((outputs.argmax(1) == targets).mean())


def macro_f1(outputs: np.ndarray, targets: np.ndarray) -> float:
    """The mean over classes of the harmonic mean of precision and recall; of those that are a target or an answer."""
    answers, classes = outputs.argmax(1), outputs.shape[1]
    found = np.bincount(targets[answers == targets], minlength=classes)
    either = np.bincount(targets, minlength=classes) + np.bincount(answers, minlength=classes)
    return float((2 * found[either > 0] / either[either > 0]).mean())


def r2(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Coefficient of determination, over all outputs: 1 is perfect, 0 is no better than the mean."""
    targets = targets.reshape(outputs.shape)
    left = float(((targets - outputs) ** 2).sum())
    whole = float(((targets - targets.mean(0)) ** 2).sum())
    return 1 - left / whole if whole > 0 else 0.0


METRICS = {name: Metric(name, score) for name, score in (("accuracy", accuracy), ("macro_f1", macro_f1), ("r2", r2))}
CLASSES = Goal(CLASSIFICATION, METRICS["accuracy"], others=(METRICS["macro_f1"],))
NUMBERS = Goal(REGRESSION, METRICS["r2"])
