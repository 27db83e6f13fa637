"""What a task counts as good."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CUSTOM = "quality"
"""The measurement's name of a metric that the user wrote."""
BOUNDED = ("accuracy", "macro_f1", "r2")
"""Metrics that never exceed 1, so that learning curves can be held against it."""
SIGNED = ("r2", CUSTOM)
"""Metrics that may be 0 or below: differences tell, ratios do not."""
QUALITIES = (*BOUNDED, CUSTOM)
"""The measurements of which one is the task's metric, the first that the KPIs name: learning curves foretell it."""


@dataclass(frozen=True)
class Metric:
    """`score(outputs, targets)`, numpy arrays (n, k) and (n,) or (n, k), is one number: higher is better."""

    name: str
    score: Callable[[Any, Any], float]
