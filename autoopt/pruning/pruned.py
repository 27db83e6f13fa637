"""What a pruning method gives back."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


def _no_advance(progress: float) -> None:
    """Everything was removed before training."""


def _no_finish() -> None:
    """Nothing has to be baked in."""


@dataclass(frozen=True)
class Pruned:
    """A pruned model, and what it needs while it trains.

    `advance(progress)` is called before each step with the share of training done, in [0, 1]; `finish()` once
    afterwards. Weights of an epoch that began before `settled_at` (a share of training) are not yet fully pruned:
    never keep them.
    """

    model: nn.Module
    advance: Callable[[float], None] = _no_advance
    finish: Callable[[], None] = _no_finish
    settled_at: float = 0.0
