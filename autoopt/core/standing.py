"""How a study stands: its front, its candidates, its nearest miss, its hypervolume."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.core.front import Losses, hypervolume, pareto
from autoopt.core.kpi import Kpi
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial


@dataclass(frozen=True)
class Standing:
    """The baseline (number 0) counts as a trial, but is never a candidate: nobody searches for what they have."""

    trials: tuple[Trial, ...]
    feasible: tuple[Trial, ...]
    """Best first, by the mean gain over the baseline."""
    front: tuple[Trial, ...]
    """Those that no other feasible trial nor the baseline beats on every objective; the first is the champion."""
    nearest_miss: Trial | None
    """The complete trial with the smallest summed violation, where none is feasible."""
    hypervolume: float
    first_feasible_s: float | None

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)

    def counts(self) -> dict[str, int]:
        states = {state: self.count(state) for state in (COMPLETE, SCREENED, FAILED)}
        siblings = sum(trial.sibling_of is not None for trial in self.trials)
        return {"trials": len(self.trials), "siblings": siblings, **states, "feasible": len(self.feasible)}


def standing(trials: Sequence[Trial], kpis: tuple[Kpi, ...]) -> Standing:
    """Read a study's trials, by number, against its KPIs."""
    complete = [trial for trial in trials if trial.state == COMPLETE]
    met = sorted((t for t in complete if t.is_feasible(kpis)), key=lambda t: (-t.gain(kpis), t.number))
    points = [losses(trial, kpis) for trial in met]
    front = pareto(points)
    feasible = tuple(t for t in met if t.number > 0)
    # Equal up to a thousandth of a bound is equal: then the one that gains more.
    misses = sorted((t for t in complete if t.number > 0), key=lambda t: (-round(t.score(kpis), 3), -t.gain(kpis)))
    return Standing(
        trials=tuple(trials),
        feasible=feasible,
        front=tuple(met[i] for i in front if met[i].number > 0),
        nearest_miss=misses[0] if misses and not feasible else None,
        hypervolume=volume(complete[0], [points[i] for i in front], kpis) if complete else 0.0,
        first_feasible_s=min((t.ended_at_s for t in feasible), default=None),
    )


def losses(trial: Trial, kpis: Sequence[Kpi]) -> Losses:
    """Of a complete trial, by objective: smaller is better."""
    return tuple(kpi.loss(trial.measurements[kpi.name]) for kpi in kpis if kpi.objective)


def volume(first: Trial, front: Sequence[Losses], kpis: Sequence[Kpi]) -> float:
    """The hypervolume of a front; `first` is the first complete trial, which knows the baseline's measurements."""
    if not front:
        return 0.0
    corner = tuple(kpi.reference_loss(first.measurements[kpi.name]) for kpi in kpis if kpi.objective)
    return hypervolume(front, corner)
