"""What all charts share: a figure with its caption, and how a plain one looks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.report.axes import Axis
from autoopt.report.markup import text
from autoopt.report.outcome import Outcome
from autoopt.report.words import measured_surely, recipe_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from autoopt.core.trial import Trial

INK, GRID, MUTED, BOUND = "var(--ink)", "var(--grid)", "var(--muted)", "var(--bound)"
FRONT, CHAMPION = "var(--front)", "var(--champion)"
NONE = "rgba(0,0,0,0)"
WRAP = 58
"""Characters of a line of what is shown on hover."""


@dataclass(frozen=True)
class Chart:
    figure: "go.Figure"
    """Where a point has customdata, it is a command that a click copies."""
    caption: str
    least_width: int = 0
    """In pixels: on a narrower screen it scrolls."""


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Of a plotly figure. Its template is the empty one: plotly's own, 6 kB a figure, is light only."""
    return {
        "template": "none",
        "height": height,
        "paper_bgcolor": NONE,
        "plot_bgcolor": NONE,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "margin": {"l": 56, "r": 16, "t": 16, "b": 56},
        "hoverlabel": {"bgcolor": "var(--card)", "bordercolor": GRID, "font": {"color": INK}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "modebar": {"bgcolor": NONE, "color": MUTED, "activecolor": INK},
        **more,
    }


def ruled(title: str, **more: Any) -> dict[str, Any]:
    """An axis with thin rules."""
    rules = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "ticks": "outside", "tickcolor": GRID}
    return {**rules, "title": {"text": title, "font": {"size": 12}, "standoff": 10}, "automargin": True, **more}


def along(at: Axis) -> dict[str, Any]:
    """A plotly axis for a KPI."""
    title = f"{at.title}<br>{at.better}"  # in two lines, for a phone
    if at.is_log:
        ticks = at.log_ticks
        return ruled(title, type="log", tickvals=ticks, ticktext=[at.shown(tick) for tick in ticks])
    return ruled(title, tickformat=".2~%" if at.is_share else ".4~g", ticksuffix="x" if at.relative else "")


def hover(outcome: Outcome, trial: "Trial", role: str) -> str:
    """Plotly reads what is shown on hover as HTML of its own kind."""
    name = f"trial {trial.number}, {role}"
    measured = [
        f"{kpi.name}: {measured_surely(trial.measurements[kpi.name], outcome.facts[kpi.name])}"
        for kpi in outcome.kpis
        if kpi.name in trial.measurements
    ]
    lines = [f"<b>{text(name)}</b>", *map(text, _wrapped(recipe_line(trial.recipe))), "", *map(text, measured)]
    return "<br>".join(lines)


def _wrapped(line: str) -> Iterable[str]:
    """At the dots between the parts of a recipe."""
    now = ""
    for part in line.split(" · "):
        if now and len(now) + len(part) > WRAP:
            yield f"{now} ·"
            now = part
        else:
            now = f"{now} · {part}" if now else part
    yield now
