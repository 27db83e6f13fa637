"""When to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoopt.core.left import Left, counted
from autoopt.core.standing import Standing
from autoopt.core.trial import FAILED, Trial

EXHAUSTED = "exhausted"
"""Why a search stops whose space has nothing left to try."""
FAILURES = "failures"
"""Why a search stops whose last trials all failed."""


@dataclass(frozen=True)
class Budget:
    """None: no such limit. Hours count search time; `until` is a local time of day, 'HH:MM'."""

    trials: int | None = None
    hours: float | None = None
    until: str | None = None
    stop: str = "spent"
    """'spent': use the whole budget; 'kpis': end as soon as a trial is feasible."""
    plateau: int | None = None
    """End after so many trials without gain in hypervolume."""


def next_occurrence(until: str, now: datetime) -> datetime:
    """The next moment at which the clock shows `until` ('HH:MM')."""
    hour, minute = (int(part) for part in until.split(":"))
    moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


def seconds_left(budget: Budget, searched_s: float, until: datetime | None, now: datetime) -> dict[str, float]:
    """Until each deadline ('hours', 'until') that the budget has. `searched_s`: of the session, so far."""
    left = {} if budget.hours is None else {"hours": budget.hours * 3600 - searched_s}
    return left if until is None else {**left, "until": (until - now).total_seconds()}


def budget_left(budget: Budget, trials: Sequence[Trial], *, since: int, searched_s: float, until_s: float) -> Left:
    """`since`, `searched_s`: see spent; `until_s`: until the nearest deadline, infinite where there is none."""
    new_trials = counted(trials) - since
    shares = [new_trials / budget.trials] if budget.trials else []
    if until_s < float("inf"):
        shares.append(searched_s / max(searched_s + until_s, 1e-9))
    return Left(
        trials=None if budget.trials is None else max(0, budget.trials - new_trials),
        seconds=None if until_s == float("inf") else max(0.0, until_s),
        share=min(1.0, max(shares, default=0.0)),
    )


def spent(budget: Budget, standing: Standing, *, since: int, left: Mapping[str, float], running: int = 0) -> str | None:
    """Why to stop now ('trials', 'hours', 'until', 'kpis', 'plateau'), or None to go on.

    The budget is for a session: it began after `since` complete or screened trials; `left`: see seconds_left. Trials
    that are `running` count, too: more may follow where they fail.
    """
    new_trials = counted(standing.trials) - since + running
    if budget.stop == "kpis" and standing.feasible:
        return "kpis"
    if budget.trials is not None and new_trials >= budget.trials:
        return "trials"
    for deadline, seconds in left.items():
        if seconds <= 0:
            return deadline
    if budget.plateau is not None and trials_without_gain(standing, since) >= budget.plateau:
        return "plateau"
    return None


def trials_without_gain(standing: Standing, since: int) -> int:
    """Trials that ended since the front last grew, or since the session began, which is after `since` trials.

    A trial that joins the front is a gain in hypervolume; one that does not is none. Failed trials and siblings do not
    count, but a sibling that joins the front is a gain.
    """
    counted_trials = [trial for trial in standing.trials if trial.state != FAILED and trial.sibling_of is None]
    ended = sorted(trial.ended_at_s for trial in counted_trials)  # queued and sibling trials end in another order
    youngest = max((trial.ended_at_s for trial in standing.front), default=ended[0] if ended else 0.0)
    return sum(moment > youngest for moment in ended[since:])
