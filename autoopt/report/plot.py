"""The picture of the front, for the page, MLflow and chat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from autoopt.core.kpi import Kpi
from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.outcome import Outcome


def front_plot(outcome: Outcome, path: Path) -> Path:
    """All complete trials over the first two objectives (over the trial number where there is one), as PNG."""
    standing, champion = outcome.standing, outcome.champion
    objectives = [kpi for kpi in outcome.kpis if kpi.objective]
    complete = [trial for trial in standing.trials if trial.state == COMPLETE]
    feasible = {trial.number for trial in standing.feasible}
    front = sorted(standing.front, key=lambda trial: _x(trial, objectives))
    groups: list[tuple[str, Sequence[Trial], dict[str, Any]]] = [
        (
            "misses a bound",
            [t for t in complete if t.number not in feasible and t.number],
            {"color": "#b8b8b8", "s": 22},
        ),
        ("feasible", [t for t in complete if t.number in feasible], {"color": "#7aa6d8", "s": 28}),
        ("Pareto front", front, {"color": "#1f5fa8", "s": 44}),
        ("baseline", [t for t in complete if t.number == 0], {"color": "#222222", "marker": "s", "s": 46}),
        ("champion", [champion] if champion else [], {"color": "#d9822b", "marker": "*", "s": 230}),
    ]
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.subplots()
    for label, trials, style in groups:
        if trials:
            axes.scatter(
                [_x(t, objectives) for t in trials], [_y(t, objectives) for t in trials], label=label, zorder=3, **style
            )
    axes.step(
        [_x(t, objectives) for t in front],
        [_y(t, objectives) for t in front],
        where="post",
        color="#1f5fa8",
        lw=1,
        alpha=0.6,
    )
    axes.set_xlabel("trial" if len(objectives) == 1 else _label(objectives[1]))
    axes.set_ylabel(_label(objectives[0]))
    if len(objectives) > 1 and not objectives[1].higher_is_better:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    if complete:
        axes.legend(loc="best", frameon=False)
    figure.savefig(path)
    return path


def _x(trial: Trial, objectives: Sequence[Kpi]) -> float:
    return float(trial.number) if len(objectives) == 1 else _value(trial, objectives[1])


def _y(trial: Trial, objectives: Sequence[Kpi]) -> float:
    return _value(trial, objectives[0])


def _value(trial: Trial, kpi: Kpi) -> float:
    """Quality as it is; what has a ratio to the baseline, as the ratio."""
    measured = trial.measurements[kpi.name]
    return measured.value if measured.ratio is None or kpi.higher_is_better else measured.ratio


def _label(kpi: Kpi) -> str:
    return kpi.name if kpi.higher_is_better else f"{kpi.name}, ratio to the baseline"
