"""What a study has come to: the one value that table, page, note and document are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.core.clock import STAGES
from autoopt.core.kpi import Facts, Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial


@dataclass(frozen=True)
class Outcome:
    """`facts` are those of the measurements; `test` is the champion's final exam, None where it was not taken (yet)."""

    study: str
    folder: Path
    standing: Standing
    kpis: tuple[Kpi, ...]
    facts: Mapping[str, Facts]
    test: Mapping[str, Any] | None
    stopped_by: str | None
    """None while the search runs, or after a kill."""
    seconds: float
    """Search time of all sessions."""
    between_trials: Mapping[str, float]
    """Seconds by stage that no trial's record holds: proposing and logging since the last one."""

    def seconds_by_stage(self) -> dict[str, float]:
        """In the order of a trial; their sum is the search time, but for what nobody has counted."""
        parts = [self.between_trials, *(t.evaluation.seconds for t in self.standing.trials if t.evaluation)]
        totals = {stage: sum(part.get(stage, 0.0) for part in parts) for stage in STAGES}
        return {stage: seconds for stage, seconds in totals.items() if seconds}

    @property
    def champion(self) -> Trial | None:
        return self.standing.front[0] if self.standing.front else None
