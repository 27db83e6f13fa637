"""The table in the terminal: baseline, Pareto front, champion."""

from rich.table import Table

from autoopt.core.trial import Trial
from autoopt.report.outcome import Outcome
from autoopt.report.roles import CHAMPION, FRONT, LEADER, best_role
from autoopt.report.words import UNSTABLE_MEANS, bounds, measured, structure_line, unsteady

ROWS = 12


def table(outcome: Outcome) -> Table:
    """The baseline, then the front with the champion first; the nearest miss where nothing is feasible. One column a
    KPI.
    """
    kpis, facts = outcome.kpis, outcome.facts
    result = Table(title=f"bounds: {bounds(kpis)}", title_justify="left", title_style="dim", caption_style="dim")
    result.add_column("trial", justify="right")
    result.add_column("", no_wrap=True)
    result.add_column("recipe", overflow="fold", min_width=24)
    for kpi in kpis:
        result.add_column(
            f"{kpi.name}\n{'▲' if kpi.higher_is_better else '▼'} {facts[kpi.name].unit}", justify="right", no_wrap=True
        )
    result.add_column("kpi\nscore", justify="right", no_wrap=True)
    for role, trial in _rows(outcome):
        cells = [measured(trial.measurements[kpi.name], facts[kpi.name]) for kpi in kpis]
        style = "bold green" if role in (CHAMPION, LEADER) else "dim" if role == "baseline" else ""
        result.add_row(
            str(trial.number), role, structure_line(trial.recipe), *cells, f"{trial.score(kpis):.3f}", style=style
        )
    hidden = len(outcome.standing.front) - ROWS
    captions = [f"and {hidden} more on the front: see report.html"] if hidden > 0 else []
    if unsteady((trial for _, trial in _rows(outcome)), kpis):
        captions.append(UNSTABLE_MEANS)
    result.caption = "; ".join(captions) or None
    return result


def _rows(outcome: Outcome) -> list[tuple[str, Trial]]:
    standing = outcome.standing
    baseline = [("baseline", trial) for trial in standing.trials[:1] if trial.measurements]
    front = [(best_role(outcome) if trial is outcome.champion else FRONT, trial) for trial in standing.front[:ROWS]]
    miss = [("nearest miss", standing.nearest_miss)] if standing.nearest_miss else []
    return baseline + front + miss
