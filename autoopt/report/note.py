"""The leaderboard as Markdown, for MLflow's note."""

from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.outcome import Outcome
from autoopt.report.roles import BASELINE, CHAMPION, FRONT, NEAREST, ranked, roles
from autoopt.report.words import bounds, losses, measured_surely, recipe_line, slower_line, verdict


def note(outcome: Outcome) -> str:
    """The verdict, bounds, baseline and front, the command to see more."""
    head = ["trial", "", "recipe", *(f"{kpi.name} [{outcome.facts[kpi.name].unit}]" for kpi in outcome.kpis)]
    head += ["kpi_score", "misses"]
    of = roles(outcome)
    told = [t for t in ranked(outcome) if of[t.number] in (BASELINE, CHAMPION, FRONT, NEAREST) and t.state == COMPLETE]
    rows = [head, ["---"] * len(head), *(_cells(outcome, trial, of[trial.number]) for trial in told)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    command = f"`autoopt report study={outcome.study}`"
    slower = [line] if (line := slower_line(outcome.standing)) else []
    beneath = [f"{title}: {'; '.join(map(' '.join, rows[1:]))}" for title, rows in losses(outcome.test or {}).items()]
    return "\n\n".join([verdict(outcome), f"Bounds: {bounds(outcome.kpis)}", table, *beneath, *slower, command]) + "\n"


def _cells(outcome: Outcome, trial: Trial, role: str) -> list[str]:
    kpis = outcome.kpis
    values = [measured_surely(trial.measurements[kpi.name], outcome.facts[kpi.name]) for kpi in kpis]
    misses = ", ".join(trial.blocking(kpis))
    return [str(trial.number), role, recipe_line(trial.recipe), *values, f"{trial.score(kpis):.3f}", misses]
