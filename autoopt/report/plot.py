"""The picture of the front, for the README, MLflow and chat: what the page's scatter shows, as PNG."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.axes import Axis, axis, window
from autoopt.report.outcome import Outcome
from autoopt.report.roles import BASELINE, CHAMPION, FEASIBLE, FRONT, LEADER, MISSES, NEAREST, roles
from autoopt.report.words import gain

MARKERS: dict[str, dict[str, Any]] = {
    MISSES: {"color": "#9aa3ad", "marker": "x", "s": 22, "linewidths": 1.1},
    FEASIBLE: {"color": "#6fb1e0", "s": 28},
    NEAREST: {"color": "#d55e00", "marker": "^", "s": 70},
    FRONT: {"color": "#0062a8", "marker": "D", "s": 42},
    BASELINE: {"color": "#1c2127", "marker": "s", "s": 46},
    CHAMPION: {"color": "#d55e00", "marker": "*", "s": 230, "edgecolors": "white", "linewidths": 0.8},
}
MARKERS[LEADER] = MARKERS[CHAMPION]
"""By role, as on the page; the later ones lie over the earlier ones."""
BOUND = "#a3195b"


def front_plot(outcome: Outcome, path: Path) -> Path:
    """All complete trials over the first two objectives (over the trial number where there is one)."""
    objectives = [kpi for kpi in outcome.kpis if kpi.objective][:2]
    complete = [trial for trial in outcome.standing.trials if trial.state == COMPLETE]
    y, x = (*(axis(kpi, outcome.facts[kpi.name], complete) for kpi in objectives), None)[:2]
    of = roles(outcome)
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.subplots()
    for role, style in MARKERS.items():
        if trials := [trial for trial in complete if of[trial.number] == role]:
            axes.scatter([_at(x, t) for t in trials], [_at(y, t) for t in trials], label=role, zorder=3, **style)
    if x is not None and y is not None:
        front = sorted(outcome.standing.front, key=lambda trial: _at(x, trial))
        where: Any = "post" if y.kpi.higher_is_better != x.kpi.higher_is_better else "pre"
        axes.step([_at(x, t) for t in front], [_at(y, t) for t in front], where=where, color="#0062a8", lw=1, alpha=0.6)
    if y is not None:
        shown = [_at(y, trial) for trial in complete if of[trial.number] != MISSES]
        _dress(axes, x, y, window(y, shown))
        axes.legend(loc="best", frameon=False, fontsize=9)
    axes.set_title(_title(outcome), loc="left", fontsize=10.5)
    figure.savefig(path)
    return path


def _at(at: Axis | None, trial: Trial) -> float:
    return float(trial.number) if at is None else at.value(trial.measurements[at.kpi.name])


def _dress(axes: Any, x: Axis | None, y: Axis, part: tuple[float, float] | None) -> None:
    """Names, units, bounds; a logarithm where ratios span decades."""
    axes.set_ylabel(f"{y.title} ({y.better})")
    axes.set_xlabel("trial" if x is None else f"{x.title} ({x.better})")
    _scale(axes.yaxis, axes.set_yscale, y)
    if x is not None:
        _scale(axes.xaxis, axes.set_xscale, x)
    if part:
        axes.set_ylim(*part)
    for at, line in ((y, axes.axhline), (x, axes.axvline)):
        if at is not None and at.bound is not None:
            line(at.bound, color=BOUND, lw=1, ls="--", label=f"bound {at.shown(at.bound)} on {at.kpi.name}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _scale(ticks: Any, set_scale: Any, at: Axis) -> None:
    if at.is_log:
        set_scale("log")
        ticks.set_major_locator(FixedLocator(at.log_ticks))
        ticks.set_minor_locator(NullLocator())
    ticks.set_major_formatter(FuncFormatter(lambda value, _: at.shown(value)))


def _title(outcome: Outcome) -> str:
    """The study, and what it has come to in a line."""
    return f"{outcome.study}: {shorten(_brief(outcome), 84, placeholder=' …')}"


def _brief(outcome: Outcome) -> str:
    best, miss = outcome.champion, outcome.standing.nearest_miss
    if best is not None:
        told: Sequence[str] = [
            f"{kpi.name} {gain(best.measurements[kpi.name], outcome.facts[kpi.name])}"
            for kpi in outcome.kpis
            if kpi.objective
        ]
        exam = "exam passed" if outcome.test else "no exam yet"
        return f"trial {best.number}, {', '.join(told)}, {exam}"
    if miss is not None:
        return f"no champion; nearest miss trial {miss.number}, blocked by {', '.join(miss.blocking(outcome.kpis))}"
    return "no champion" if outcome.standing.feasible else "nothing feasible yet"
