"""How every finalist did in its final exam: its difference to the baseline on the test split, and how sure that is."""

from autoopt.report.charts.chart import BOUND, CHAMPION, FRONT, INK, Chart, layout, ruled
from autoopt.report.outcome import Outcome
from autoopt.report.words import SHARES, difference


def exams(outcome: Outcome) -> list[Chart]:
    import plotly.graph_objects as go

    taken = sorted(outcome.exams.items())
    if not taken:
        return []
    _, first = taken[0]
    scale = 100 if first["quality"] in SHARES else 1
    figure = go.Figure(layout=layout(120 + 34 * len(taken), margin={"l": 64, "r": 16, "t": 24, "b": 52}))
    for number, exam in taken:
        low, high = [-scale * end for end in reversed(exam["drop_95"] or (exam["drop"], exam["drop"]))]
        at = -scale * exam["drop"]
        won = outcome.champion is not None and number == outcome.champion.number
        color = CHAMPION if won else FRONT if exam["passed"] else "var(--muted)"
        figure.add_scatter(
            x=[at],
            y=[f"trial {number}"],
            error_x={"array": [high - at], "arrayminus": [at - low], "thickness": 2, "width": 7, "color": color},
            mode="markers",
            marker={"symbol": "star" if won else "circle" if exam["passed"] else "x", "size": 14, "color": color},
            hovertemplate=f"{'passed' if exam['passed'] else 'failed'}: {difference(exam)}<extra></extra>",
            showlegend=False,
        )
    kpi = next((kpi for kpi in outcome.kpis if kpi.name == first["quality"]), None)
    lines = [(0.0, "baseline", INK)]
    if kpi is not None and kpi.max_drop is not None:
        lines.append((-scale * kpi.max_drop, f"bound max_drop={kpi.max_drop:g}", BOUND))
    for x, name, color in lines:
        figure.add_vline(x=x, line={"color": color, "width": 1.2, "dash": "dash"})
        label = {"font": {"size": 11, "color": color}, "showarrow": False}
        figure.add_annotation(text=name, x=x, yref="paper", y=1, yanchor="bottom", **label)
    unit = " in points" if scale == 100 else ""
    figure.update_xaxes(
        **ruled(f"{first['quality']} less the baseline's{unit},<br>on the test split, with its 95% interval")
    )
    figure.update_yaxes(**ruled("", type="category", autorange="reversed"))
    return [Chart(figure, "A star is the champion, a dot another that passed, a cross one that failed.")]
