"""Which trials of a study matter, and in which order they are told."""

from autoopt.core.metric import QUALITIES
from autoopt.core.trial import COMPLETE, SCREENED, Trial
from autoopt.report.outcome import Outcome

BASELINE, CHAMPION, FRONT, FEASIBLE = "baseline", "champion", "front", "feasible"
LEADER = "in the lead"
"""Who would be the champion, before its final exam."""
NEAREST, MISSES = "nearest miss", "misses a bound"


def roles(outcome: Outcome) -> dict[int, str]:
    """The role of each trial by its number; of one that is not complete its state."""
    standing = outcome.standing
    found = {trial.number: MISSES if trial.state == COMPLETE else trial.state for trial in standing.trials}
    found |= {trial.number: FEASIBLE for trial in standing.feasible}
    found |= {trial.number: FRONT for trial in standing.front}
    found |= {trial.number: BASELINE for trial in standing.trials[:1]}
    found |= {trial.number: NEAREST for trial in [standing.nearest_miss] if trial}
    return found | {trial.number: best_role(outcome) for trial in [outcome.champion] if trial}


def best_role(outcome: Outcome) -> str:
    """Of the best one: nobody is the champion who has not passed the final exam."""
    return CHAMPION if outcome.test else LEADER


def ranked(outcome: Outcome) -> list[Trial]:
    """The baseline, then the complete ones, the best first, then those that ended early."""
    place = {trial.number: place for place, trial in enumerate(outcome.standing.feasible)}

    def key(trial: Trial) -> tuple[float, ...]:
        if trial.state != COMPLETE:
            return (2.0 if trial.state == SCREENED else 3.0, trial.number)
        if trial.number == 0:
            return (0.0,)
        return (1.0, place.get(trial.number, len(place)), -trial.score(outcome.kpis), trial.number)

    return sorted(outcome.standing.trials, key=key)


def quality(outcome: Outcome) -> str | None:
    """The measurement that learning curves foretell."""
    return next((kpi.name for kpi in outcome.kpis if kpi.name in QUALITIES), None)
