"""What a study has come to: the one value that table, page, note and document are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.core.clock import STAGES
from autoopt.core.exam import best_passed
from autoopt.core.kpi import Facts, Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Outcome:
    """`facts` are those of the measurements; `exams` those that were taken, by trial."""

    study: str
    folder: Path
    standing: Standing
    kpis: tuple[Kpi, ...]
    facts: Mapping[str, Facts]
    exams: Mapping[int, Mapping[str, Any]]
    finalists: int
    """How many trials of the front may take one."""
    stopped_by: str | None
    """None while the search runs, or after a kill."""
    seconds: float
    """Search time of all sessions."""
    between_trials: Mapping[str, float]
    """Seconds by stage that no trial's record holds: proposing and logging since the last one."""
    asked: "Sequence[FrozenTrial]" = ()
    """Optuna's trials, with the parameters that a recipe was drawn by: what mattered is read from them."""

    def seconds_by_stage(self) -> dict[str, float]:
        """In the order of a trial; with one worker their sum is the search time, but for what nobody has counted."""
        parts = [self.between_trials, *(t.evaluation.seconds for t in self.standing.trials if t.evaluation)]
        totals = {stage: sum(part.get(stage, 0.0) for part in parts) for stage in STAGES}
        return {stage: seconds for stage, seconds in totals.items() if seconds}

    @property
    def champion(self) -> Trial | None:
        """The best that has passed its exam; before any has, the best that has not taken it, unless as many as may
        take it have failed. None where there is none.
        """
        waiting = self.unexamined[: max(0, self.finalists - len(self.failed))]
        return best_passed(self.standing.front, self.exams) or next(iter(waiting), None)

    @property
    def unexamined(self) -> tuple[Trial, ...]:
        """Those of the front that have not taken their exam, the best first."""
        return tuple(trial for trial in self.standing.front if trial.number not in self.exams)

    @property
    def test(self) -> Mapping[str, Any] | None:
        """The champion's exam, None where it was not taken yet."""
        return self.exams.get(self.champion.number) if self.champion else None

    @property
    def failed(self) -> tuple[Trial, ...]:
        """Those of the front that failed, the best first."""
        taken = (t for t in self.standing.front if t.number in self.exams)
        return tuple(t for t in taken if not self.exams[t.number]["passed"])
