"""The rules of the final exam."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.core.trial import Trial

UPPER_LIMIT, POINT = RULES = ("upper_limit", "point")


@dataclass(frozen=True)
class ExamRules:
    """`rule` 'upper_limit': the quality bounds must hold at the far end of the drop's 95% interval; 'point': where it
    was measured. At most `finalists` trials of the front take the exam, the best `kpi_score` first, until one passes;
    under 'upper_limit' those come before the others for whom the rule holds on the validation split, too.
    """

    rule: str = UPPER_LIMIT
    finalists: int = 3
    clients: tuple[int, ...] = (1, 4, 16)
    """Throughput is measured with so many client threads, too."""
    batch_sizes: tuple[int, ...] = (8, 32)
    """And latency with so many inputs a call."""


def best_passed(front: Sequence[Trial], exams: Mapping[int, Mapping[str, Any]]) -> Trial | None:
    """The champion, once exams were taken (by trial number): the first of the front that has passed."""
    return next((trial for trial in front if exams.get(trial.number, {}).get("passed")), None)
