"""The learning curves of the finalists: of what the front's members were trained as."""

from autoopt.core.trial import Trial
from autoopt.report.axes import axis
from autoopt.report.charts.chart import BOUND, CHAMPION, INK, Chart, along, layout, ruled
from autoopt.report.markup import text
from autoopt.report.outcome import Outcome
from autoopt.report.roles import best_role, quality
from autoopt.report.words import recipe_line

COLORS = ["var(--front)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--feasible)"]
SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "triangle-down"]
MOST = 6


def curves(outcome: Outcome) -> list[Chart]:
    """Siblings share the curve of the trial that trained their weights."""
    import plotly.graph_objects as go

    metric = quality(outcome)
    members = _by_training(outcome)
    kpi = next((kpi for kpi in outcome.kpis if kpi.name == metric), None)
    at = kpi and axis(kpi, outcome.facts[kpi.name], outcome.standing.trials)
    if kpi is None or not at or not members:
        return []
    figure = go.Figure(layout=layout(360))
    for place, trials in enumerate(list(members.values())[:MOST]):
        is_champion = outcome.champion in trials
        curve = trials[0].evaluation.curve if trials[0].evaluation else ()
        color = CHAMPION if is_champion else COLORS[place % len(COLORS)]
        numbers = ", ".join(str(trial.number) for trial in trials)
        figure.add_scatter(
            x=list(range(1, len(curve) + 1)),
            y=list(curve),
            mode="lines+markers",
            name=f"trial {numbers}{f' ({best_role(outcome)})' if is_champion else ''}",
            line={"color": color, "width": 3 if is_champion else 1.6},
            marker={"symbol": "star" if is_champion else SYMBOLS[place % len(SYMBOLS)], "size": 9},
            hovertemplate=f"{text(recipe_line(trials[0].recipe))}<br>epoch %{{x}}: %{{y}}<extra></extra>",
        )
    figure.update_xaxes(**ruled("epoch", tickformat="d", nticks=12))
    figure.update_yaxes(**along(at))
    base = outcome.standing.trials[0].measurements[kpi.name]
    for value, name, color, anchor in ((base.baseline, "baseline", INK, "bottom"), (at.bound, "bound", BOUND, "top")):
        if value is not None:
            figure.add_hline(y=value, line={"color": color, "width": 1, "dash": "dash"})
            place_ = {"xref": "paper", "x": 1, "xanchor": "right", "y": value, "yanchor": anchor}
            label = {"font": {"size": 11, "color": color}, "showarrow": False}
            figure.add_annotation(text=f"{name} {at.shown(value)}", **place_, **label)
    more = len(members) - MOST
    hidden = f" {more} more are not drawn." if more > 0 else ""
    return [Chart(figure, f"On validation after each epoch, of the model before export and quantization.{hidden}")]


def _by_training(outcome: Outcome) -> dict[int, list[Trial]]:
    """The champion's first, then the front's: by the number of the trial that trained."""
    front = sorted(outcome.standing.front, key=lambda trial: trial is not outcome.champion)
    found: dict[int, list[Trial]] = {}
    for trial in front:
        if trial.evaluation and trial.evaluation.curve:
            found.setdefault(trial.number if trial.sibling_of is None else trial.sibling_of, []).append(trial)
    return found
