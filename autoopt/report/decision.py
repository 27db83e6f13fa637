"""Why the champion, and who else to look at: kpi_score decides by what was measured, and that has its noise."""

from autoopt.core.kpi import Interval, Kpi
from autoopt.core.trial import Trial
from autoopt.report.outcome import Outcome
from autoopt.report.words import gain

MOST = 2


def decision(outcome: Outcome) -> str:
    """By how much it leads those behind it, and who of the front is no worse as far as the 95% intervals tell, and
    better in something; '' where there is no champion.
    """
    best = outcome.champion
    if best is None:
        return ""
    goal = " and ".join(kpi.name for kpi in outcome.kpis if kpi.objective)
    led = f"kpi_score {best.score(outcome.kpis):.3f}, the mean gain in {goal}"
    if len(outcome.standing.front) == 1:
        return f"Why: {led}; it is alone on the front."
    behind = [t for t in outcome.standing.front if t is not best and t.score(outcome.kpis) <= best.score(outcome.kpis)]
    second = max(behind, key=lambda trial: trial.score(outcome.kpis), default=None)
    told = [
        f"Why: {led}" + (f"; next is trial {second.number} with {second.score(outcome.kpis):.3f}." if second else ".")
    ]
    for rival in rivals(outcome)[:MOST]:
        better = ", ".join(_better(outcome, rival, best))
        told.append(f"No worse by the intervals, and better in {better}: {_brief(outcome, rival)}.")
    return " ".join(told)


def rivals(outcome: Outcome) -> list[Trial]:
    """Of the front, the best by kpi_score first: those that are worse than the champion in no objective for sure, and
    better in one.
    """
    best, kpis = outcome.champion, [kpi for kpi in outcome.kpis if kpi.objective]
    if best is None:
        return []
    found = [trial for trial in outcome.standing.front if trial is not best and _better(outcome, trial, best)]
    found = [trial for trial in found if not any(_is_worse(kpi, trial, best) for kpi in kpis)]
    failed = {trial.number for trial in outcome.failed}
    return sorted((t for t in found if t.number not in failed), key=lambda t: -t.score(outcome.kpis))


def _better(outcome: Outcome, trial: Trial, than: Trial) -> list[str]:
    return [kpi.name for kpi in outcome.kpis if kpi.objective and _is_worse(kpi, than, trial)]


def _is_worse(kpi: Kpi, trial: Trial, than: Trial) -> bool:
    """For sure: its interval lies beyond the other's; where there is none, its value."""
    mine, other = trial.measurements[kpi.name], than.measurements[kpi.name]
    if kpi.loss(mine) <= kpi.loss(other):
        return False
    return not (mine.ratio_interval and other.ratio_interval and _overlap(mine.ratio_interval, other.ratio_interval))


def _overlap(a: Interval, b: Interval) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _brief(outcome: Outcome, trial: Trial) -> str:
    gains = (f"{kpi.name} {gain(trial.measurements[kpi.name], outcome.facts[kpi.name])}" for kpi in outcome.kpis)
    return f"trial {trial.number} ({', '.join(gains)})"
