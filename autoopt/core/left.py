"""What a budget counts, and what is left of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.core.trial import FAILED, Trial


@dataclass(frozen=True)
class Left:
    """What is left of the budget of a session; None: it has no such limit."""

    trials: int | None = None
    seconds: float | None = None
    """Until the nearest deadline."""
    share: float = 0.0
    """How much of it is spent, in [0, 1], by the limit that is nearer."""


def counted(trials: Sequence[Trial]) -> int:
    """Trials that a budget counts: complete and screened ones, not siblings."""
    return sum(trial.state != FAILED and trial.sibling_of is None for trial in trials)
