"""When to stop."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED


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


def spent(budget: Budget, standing: Standing, *, since: int, searched_s: float, past_until: bool) -> str | None:
    """Why to stop now ('trials', 'hours', 'until', 'kpis', 'plateau'), or None to go on.

    The budget is for a session: it began after `since` complete or screened trials and has searched for `searched_s`.
    """
    new_trials = standing.count(COMPLETE) + standing.count(SCREENED) - since
    if budget.stop == "kpis" and standing.feasible:
        return "kpis"
    if budget.trials is not None and new_trials >= budget.trials:
        return "trials"
    if budget.hours is not None and searched_s >= budget.hours * 3600:
        return "hours"
    if past_until:
        return "until"
    if budget.plateau is not None and trials_without_gain(standing, since) >= budget.plateau:
        return "plateau"
    return None


def trials_without_gain(standing: Standing, since: int) -> int:
    """Trials that ended since the front last grew, or since the session began, which is after `since` trials.

    A trial that joins the front is a gain in hypervolume; one that does not is none. Failed trials do not count.
    """
    ended = [trial.number for trial in standing.trials if trial.state != FAILED]
    youngest = max((trial.number for trial in standing.front), default=0)  # 0: the baseline is no trial without gain
    return sum(number > youngest for number in ended[since:])
