"""The table in the terminal: baseline, Pareto front, champion."""

from collections.abc import Mapping

from rich.table import Table

from autoopt.core.kpi import Facts, Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial
from autoopt.report.words import bound, measured, structure_line

ROWS = 12


def table(standing: Standing, kpis: tuple[Kpi, ...], facts: Mapping[str, Facts], champion: Trial | None) -> Table:
    """The baseline, then the front with the champion first; the nearest miss where nothing is feasible. One column a
    KPI.
    """
    bounds = "; ".join(bound(kpi) for kpi in kpis if kpi.bounds())
    result = Table(title=f"bounds: {bounds}", title_justify="left", title_style="dim", caption_style="dim")
    result.add_column("trial", justify="right")
    result.add_column("", no_wrap=True)
    result.add_column("recipe", overflow="fold", min_width=24)
    for kpi in kpis:
        result.add_column(
            f"{kpi.name}\n{'▲' if kpi.higher_is_better else '▼'} {facts[kpi.name].unit}", justify="right", no_wrap=True
        )
    result.add_column("kpi\nscore", justify="right", no_wrap=True)
    for role, trial in _rows(standing, champion):
        cells = [measured(kpi.name, trial.measurements[kpi.name], facts[kpi.name]) for kpi in kpis]
        style = "bold green" if role == "champion" else "dim" if role == "baseline" else ""
        result.add_row(
            str(trial.number), role, structure_line(trial.recipe), *cells, f"{trial.score(kpis):.3f}", style=style
        )
    hidden = len(standing.front) - ROWS
    if hidden > 0:
        result.caption = f"and {hidden} more on the front: see report.html"
    return result


def _rows(standing: Standing, champion: Trial | None) -> list[tuple[str, Trial]]:
    baseline = [("baseline", trial) for trial in standing.trials[:1] if trial.measurements]
    front = [("champion" if trial is champion else "front", trial) for trial in standing.front[:ROWS]]
    miss = [("nearest miss", standing.nearest_miss)] if standing.nearest_miss else []
    return baseline + front + miss
