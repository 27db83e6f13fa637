"""How a study stands: its front, its candidates, its nearest miss, its hypervolume."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    met = sorted((t for t in complete if t.is_feasible(kpis)), key=lambda t: _place(t, kpis))
    points = [losses(trial, kpis) for trial in met]
    front = pareto(points)
    feasible = tuple(t for t in met if t.number > 0)
    misses = () if feasible else (t for t in complete if t.number > 0)
    return Standing(
        trials=tuple(trials),
        feasible=feasible,
        front=tuple(met[i] for i in front if met[i].number > 0),
        nearest_miss=min(misses, key=lambda t: _miss(t, kpis), default=None),
        hypervolume=volume(complete[0], [points[i] for i in front], kpis) if complete else 0.0,
        first_feasible_s=min((t.ended_at_s for t in feasible), default=None),
    )


def grown(now: Standing, trial: Trial, kpis: tuple[Kpi, ...]) -> Standing:
    """With one trial more: what standing() says of all, which reads each of thousands again."""
    trials = (*now.trials, trial)
    if trial.number == 0:
        return standing(trials, kpis)
    if not trial.is_feasible(kpis):
        misses = [miss for miss in (now.nearest_miss, trial) if miss is not None and miss.state == COMPLETE]
        miss = None if now.feasible else min(misses, key=lambda t: _miss(t, kpis), default=None)
        return replace(now, trials=trials, nearest_miss=miss)
    feasible = list(now.feasible)
    insort(feasible, trial, key=lambda t: _place(t, kpis))
    rivals = [*now.front, trial, *(t for t in trials if t.number == 0 and t.is_feasible(kpis))]
    rivals.sort(key=lambda t: _place(t, kpis))
    points = [losses(rival, kpis) for rival in rivals]
    kept = pareto(points)
    joins = any(rivals[i] is trial for i in kept)
    first = next(t for t in trials if t.state == COMPLETE)
    return Standing(
        trials=trials,
        feasible=tuple(feasible),
        front=tuple(rivals[i] for i in kept if rivals[i].number > 0),
        nearest_miss=None,
        hypervolume=volume(first, [points[i] for i in kept], kpis) if joins else now.hypervolume,
        first_feasible_s=min(t for t in (now.first_feasible_s, trial.ended_at_s) if t is not None),
    )


def _place(trial: Trial, kpis: tuple[Kpi, ...]) -> tuple[float, int]:
    """Among the feasible ones: the larger the gain, the farther ahead."""
    return -trial.gain(kpis), trial.number


def _miss(trial: Trial, kpis: tuple[Kpi, ...]) -> tuple[float, float]:
    """Equal up to a thousandth of a bound is equal: then the one that gains more."""
    return -round(trial.score(kpis), 3), -trial.gain(kpis)


def losses(trial: Trial, kpis: Sequence[Kpi]) -> Losses:
    """Of a complete trial, by objective: smaller is better."""
    return tuple(kpi.loss(trial.measurements[kpi.name]) for kpi in kpis if kpi.objective)


def volume(first: Trial, front: Sequence[Losses], kpis: Sequence[Kpi]) -> float:
    """The hypervolume of a front; `first` is the first complete trial, which knows the baseline's measurements."""
    if not front:
        return 0.0
    corner = tuple(kpi.reference_loss(first.measurements[kpi.name]) for kpi in kpis if kpi.objective)
    return hypervolume(front, corner)
