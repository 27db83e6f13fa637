"""What a task asks of a model: classes or numbers, by which metric, under which loss."""

from collections.abc import Callable
from dataclasses import dataclass

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


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Share of rows whose largest output (n, classes) is at the target (n,)."""
    return float((outputs.argmax(1) == targets).mean())


def r2(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Coefficient of determination, over all outputs: 1 is perfect, 0 is no better than the mean."""
    targets = targets.reshape(outputs.shape)
    left = float(((targets - outputs) ** 2).sum())
    whole = float(((targets - targets.mean(0)) ** 2).sum())
    return 1 - left / whole if whole > 0 else 0.0


METRICS = {"accuracy": Metric("accuracy", accuracy), "r2": Metric("r2", r2)}
CLASSES = Goal(CLASSIFICATION, METRICS["accuracy"])
NUMBERS = Goal(REGRESSION, METRICS["r2"])
