"""How a study stands: its front, its candidates, its nearest miss, its hypervolume."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.core.front import hypervolume, pareto
from autoopt.core.kpi import Kpi
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial


@dataclass(frozen=True)
class Standing:
    trials: tuple[Trial, ...]
    feasible: tuple[Trial, ...]
    """Best kpi_score first: the first that passes the final exam is the champion."""
    front: tuple[Trial, ...]
    """The feasible trials that no other feasible trial beats on every objective, best kpi_score first."""
    nearest_miss: Trial | None
    """The complete trial with the smallest summed violation, where none is feasible."""
    hypervolume: float
    first_feasible_s: float | None

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)

    def counts(self) -> dict[str, int]:
        states = {state: self.count(state) for state in (COMPLETE, SCREENED, FAILED)}
        return {"trials": len(self.trials), **states, "feasible": len(self.feasible)}


def standing(trials: Sequence[Trial], kpis: tuple[Kpi, ...]) -> Standing:
    """The baseline (number 0) counts as a trial, but never as the nearest miss: nobody searches for what they have."""
    complete = [trial for trial in trials if trial.state == COMPLETE]
    feasible = sorted((t for t in complete if t.is_feasible(kpis)), key=lambda t: (-t.score(kpis), t.number))
    losses = [tuple(kpi.loss(t.measurements[kpi.name]) for kpi in kpis if kpi.objective) for t in feasible]
    misses = sorted((t for t in complete if t.number > 0), key=lambda t: (-t.score(kpis), t.number))
    return Standing(
        trials=tuple(trials),
        feasible=tuple(feasible),
        front=tuple(feasible[i] for i in pareto(losses)),
        nearest_miss=misses[0] if misses and not feasible else None,
        hypervolume=_volume(complete, losses, kpis),
        first_feasible_s=min((t.ended_at_s for t in feasible), default=None),
    )


def _volume(complete: Sequence[Trial], losses: list[tuple[float, ...]], kpis: tuple[Kpi, ...]) -> float:
    if not losses:
        return 0.0
    baseline = complete[0].measurements
    corner = tuple(kpi.reference_loss(baseline[kpi.name]) for kpi in kpis if kpi.objective)
    return hypervolume(losses, corner)
