"""The trials over two objectives.

Optuna's plot_pareto_front draws its losses, which are signed, and knows neither the baseline, the champion, the bounds
nor a ratio's logarithm; nor could a click say what it fell on. So the scatter is made here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.axes import Axis, axis, window
from autoopt.report.charts.chart import BOUND, CHAMPION, FRONT, INK, MUTED, Chart, along, hover, layout, ruled
from autoopt.report.outcome import Outcome
from autoopt.report.roles import BASELINE, FEASIBLE, LEADER, MISSES, NEAREST, best_role, roles
from autoopt.report.roles import CHAMPION as CHOSEN
from autoopt.report.roles import FRONT as ON_FRONT
from autoopt.report.shell import reproduce

MARKERS: dict[str, dict[str, Any]] = {
    MISSES: {"symbol": "x-thin", "size": 7, "color": MUTED, "line": {"width": 1.5, "color": MUTED}},
    FEASIBLE: {"symbol": "circle", "size": 8, "color": "var(--feasible)"},
    NEAREST: {"symbol": "triangle-up", "size": 13, "color": CHAMPION},
    ON_FRONT: {"symbol": "diamond", "size": 11, "color": FRONT},
    BASELINE: {"symbol": "square", "size": 11, "color": INK},
    CHOSEN: {"symbol": "star", "size": 19, "color": CHAMPION, "line": {"width": 1, "color": "var(--card)"}},
}
MARKERS[LEADER] = MARKERS[CHOSEN]
"""By role; the later ones lie over the earlier ones."""


def fronts(outcome: Outcome) -> list[Chart]:
    """The first objective over each of the others; over the trial number where it is the only one."""
    first, *more = [kpi for kpi in outcome.kpis if kpi.objective]
    others: list[Kpi | None] = [*more] or [None]
    found = [_front(outcome, first, other) for other in others]
    return [chart for chart in found if chart]


def _front(outcome: Outcome, vertical: Kpi, horizontal: Kpi | None) -> Chart | None:
    import plotly.graph_objects as go

    complete = [trial for trial in outcome.standing.trials if trial.state == COMPLETE]
    y = axis(vertical, outcome.facts[vertical.name], complete)
    x = axis(horizontal, outcome.facts[horizontal.name], complete) if horizontal else None
    if y is None:
        return None
    of = roles(outcome)
    figure = go.Figure(layout=layout(460))
    figure.update_layout(legend_entrywidth=86)  # two beside each other on a phone
    front = sorted(outcome.standing.front, key=lambda trial: _at(x, trial))
    if len(front) > 1 and x is not None:
        step = "hv" if vertical.higher_is_better == (not x.kpi.higher_is_better) else "vh"
        line = {"color": FRONT, "width": 1.2, "shape": step}
        places = {"x": [_at(x, t) for t in front], "y": [_at(y, t) for t in front]}
        figure.add_scatter(**places, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for role, marker in MARKERS.items():
        if chosen := [trial for trial in complete if of[trial.number] == role]:
            figure.add_scatter(**_points(outcome, role, chosen, x, y), marker=marker)
    shown = [_at(y, trial) for trial in complete if of[trial.number] != MISSES]
    part = window(y, shown)
    figure.update_yaxes(**along(y), **({"range": part} if part else {}))
    figure.update_xaxes(**({**along(x), "range": _reach(x)} if x else ruled("trial")))
    _mark_bounds(figure, x, y)
    if outcome.champion:
        _name_champion(figure, f"{best_role(outcome)}: trial", outcome.champion, x, y, part or y.span)
    outside = sum(not part[0] <= _at(y, trial) <= part[1] for trial in complete) if part else 0
    return Chart(figure, _caption(outside))


def _points(outcome: Outcome, role: str, trials: Sequence[Trial], x: Axis | None, y: Axis) -> Mapping[str, Any]:
    told = {
        "x": [_at(x, trial) for trial in trials],
        "y": [_at(y, trial) for trial in trials],
        "text": [hover(outcome, trial, role) for trial in trials],
        "customdata": [reproduce(outcome, trial.number) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "mode": "markers",
        "name": role,
    }
    sure = [x.interval(trial.measurements[x.kpi.name]) for trial in trials] if x else []
    if role in (ON_FRONT, CHOSEN, LEADER) and all(sure) and sure:
        ends = [(at, low, high) for at, (low, high) in zip(told["x"], filter(None, sure), strict=True)]  # type: ignore[call-overload]
        told["error_x"] = {
            "array": [max(0.0, high - at) for at, _, high in ends],
            "arrayminus": [max(0.0, at - low) for at, low, _ in ends],
            "thickness": 1,
            "width": 3,
        }
    return told


def _at(at: Axis | None, trial: Trial) -> float:
    return float(trial.number) if at is None else at.value(trial.measurements[at.kpi.name])


def _reach(x: Axis) -> tuple[float, float]:
    """All points and the bound: one unsure measurement's interval would press them together."""
    low, high = (_on_axis(x, end) for end in x.span)
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def _mark_bounds(figure: Any, x: Axis | None, y: Axis) -> None:
    line = {"color": BOUND, "width": 1.2, "dash": "dash"}
    label = {"font": {"size": 11, "color": BOUND}, "showarrow": False}
    if y.bound is not None:
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=y.bound, y1=y.bound, line=line)
        says = f"bound {y.shown(y.bound)}"
        place = {"xref": "paper", "x": 1, "xanchor": "right", "y": y.bound, "yanchor": "bottom"}
        figure.add_annotation(text=says, **place, **label)
    if x is not None and x.bound is not None:
        figure.add_shape(type="line", yref="paper", y0=0, y1=1, x0=x.bound, x1=x.bound, line=line)
        place = {"yref": "paper", "y": 0, "yanchor": "bottom", "x": _on_axis(x, x.bound), "xanchor": "left"}
        figure.add_annotation(text=f"bound {x.shown(x.bound)}", **place, **label)


def _name_champion(figure: Any, name: str, champion: Trial, x: Axis | None, y: Axis, part: tuple[float, float]) -> None:
    at = _at(y, champion)
    below = at > (part[0] + part[1]) / 2  # where there is room
    figure.add_annotation(
        text=f"{name} {champion.number}",
        x=_on_axis(x, _at(x, champion)),
        y=at,
        ax=34,
        ay=42 if below else -42,
        xanchor="left",
        arrowcolor=CHAMPION,
        arrowwidth=1,
        standoff=9,
        font={"color": INK, "size": 13},
        bgcolor="var(--card)",
    )


def _on_axis(at: Axis | None, value: float) -> float:
    """Where plotly puts an annotation: along a logarithmic axis by the exponent (a shape goes by the value)."""
    return math.log10(value) if at is not None and at.is_log else value


def _caption(outside: int) -> str:
    more = f" {outside} trials lie outside of this window: double-click shows all." if outside else ""
    return f"Point at a trial for its recipe; click it to copy the command that reproduces it.{more}"
