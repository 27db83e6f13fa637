"""compare-a-b.html: studies side by side, on one self-contained page."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autoopt.core.trial import Trial
from autoopt.report.axes import Axis, axis, window
from autoopt.report.charts.chart import Chart, along, hover, layout, ruled
from autoopt.report.comparison import (
    Studied,
    cautions,
    objective_kpis,
    rows,
    same_kpis,
    same_objectives,
    same_task,
)
from autoopt.report.markup import joined, table, tag
from autoopt.report.page import document, figure
from autoopt.report.progress import progress
from autoopt.report.shell import reproduce

COLORS = ["var(--front)", "var(--champion)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--ink)"]
SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "x"]


def compare_page(studies: Sequence[Studied]) -> str:
    """The table; the fronts over each other and the growth of the hypervolume where these can be compared."""
    names = [one.name for one in studies]
    charts = {"Fronts": _fronts(studies), "Hypervolume": _growth(studies)}
    said = [tag("p", caution, class_="verdict") for caution in cautions(studies)]
    body = [
        tag("header", tag("h1", " and ".join(names)), *said),
        tag("section", table(["", *names], [[name, *cells] for name, cells in rows(studies)], "words compared")),
        *(tag("section", tag("h2", title), joined(map(figure, found))) for title, found in charts.items() if found),
    ]
    return document(f"autoopt: {', '.join(names)}", body)


def _fronts(studies: Sequence[Studied]) -> list[Chart]:
    import plotly.graph_objects as go

    kpis = objective_kpis(studies[0])
    if not (same_task(studies) and same_objectives(studies)) or len(kpis) < 2:
        return []
    y, x = (_shared_axis(studies, kpi.name) for kpi in kpis[:2])
    if x is None or y is None:
        return []
    chart = go.Figure(layout=layout(460))
    shown: list[float] = []
    for place, one in enumerate(studies):
        front = sorted(one.outcome.standing.front, key=lambda trial: _at(x, trial))
        best = one.outcome.champion
        marker = {
            "symbol": ["star" if trial is best else SYMBOLS[place % len(SYMBOLS)] for trial in front],
            "size": [18 if trial is best else 10 for trial in front],
            "opacity": 1,
            "color": COLORS[place % len(COLORS)],
        }
        chart.add_scatter(
            x=[_at(x, trial) for trial in front],
            y=[_at(y, trial) for trial in front],
            mode="lines+markers",
            name=one.name,
            marker=marker,
            line={"color": COLORS[place % len(COLORS)], "width": 1.2, "shape": _step(x, y)},
            text=[hover(one.outcome, trial, f"front of {one.name}") for trial in front],
            customdata=[reproduce(one.outcome, trial.number) for trial in front],
            hovertemplate="%{text}<extra></extra>",
        )
        shown += [_at(y, trial) for trial in front]
    part = window(y, shown)
    chart.update_yaxes(**along(y), **({"range": part} if part else {}))
    chart.update_xaxes(**along(x))
    caption = (
        "The Pareto front of each study under its own bounds; a star is its champion. Click one to copy its command."
    )
    return [Chart(chart, caption)]


def _growth(studies: Sequence[Studied]) -> list[Chart]:
    """Over time and over trials."""
    if not (same_task(studies) and same_kpis(studies)):
        return []
    longest = max(one.outcome.seconds for one in studies)
    unit, scale = ("hours", 3600.0) if longest >= 3600 else ("minutes", 60.0)
    return [
        _grown(studies, f"{unit} of search", lambda step: step.seconds / scale, "Against search time."),
        _grown(studies, "trials", lambda step: step.trials, "Against trials, siblings and those that ended early too."),
    ]


def _grown(studies: Sequence[Studied], title: str, at: Any, caption: str) -> Chart:
    import plotly.graph_objects as go

    chart = go.Figure(layout=layout(320))
    for place, one in enumerate(studies):
        steps = progress(one.outcome)
        dash = ["solid", "dash", "dot", "dashdot"][place % 4]
        chart.add_scatter(
            x=[at(step) for step in steps],
            y=[step.volume for step in steps],
            mode="lines",
            name=one.name,
            line={"color": COLORS[place % len(COLORS)], "shape": "hv", "width": 2, "dash": dash},
            hovertemplate="%{y:.4g} after %{x:.4g} " + title + "<extra></extra>",
            showlegend=True,
        )
    chart.update_xaxes(**ruled(title, rangemode="tozero"))
    chart.update_yaxes(**ruled("hypervolume<br>higher is better", rangemode="tozero"))
    return Chart(chart, caption)


def _shared_axis(studies: Sequence[Studied], name: str) -> Axis | None:
    """Of the fronts; without a bound, which may differ."""
    first = studies[0].outcome
    kpi = next(kpi for kpi in first.kpis if kpi.name == name)
    found = axis(kpi, first.facts[name], [trial for one in studies for trial in one.outcome.standing.front])
    if found is None:
        return None
    ends = [found.value(trial.measurements[name]) for one in studies for trial in one.outcome.standing.front]
    return replace(found, bound=None, span=(min(ends), max(ends)))


def _step(x: Axis, y: Axis) -> str:
    return "hv" if x.kpi.higher_is_better != y.kpi.higher_is_better else "vh"


def _at(at: Axis, trial: Trial) -> float:
    return at.value(trial.measurements[at.kpi.name])
