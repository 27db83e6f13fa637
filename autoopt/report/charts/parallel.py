"""Knobs and KPIs of all complete trials, as parallel coordinates.

Optuna's plot_parallel_coordinate (5.0) draws every parameter that any trial has, a column for each student's own (30 of
them), signed losses for KPIs, one SVG line a trial, and lets nobody pick a range. plotly's own trace does.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.axes import axis
from autoopt.report.charts.chart import CHAMPION, FRONT, INK, MUTED, NONE, Chart, layout
from autoopt.report.markup import Markup, joined, tag
from autoopt.report.outcome import Outcome
from autoopt.report.roles import CHAMPION as CHOSEN
from autoopt.report.roles import FEASIBLE, LEADER, MISSES, NEAREST, best_role, roles
from autoopt.report.roles import FRONT as ON_FRONT

MOST_KNOBS = 7
MOST_LINES = 1000
"""Without a graphics card 8,000 lines take eight seconds to draw, and hide each other."""
LEAST_SHARE = 0.25
"""Of the trials: a knob that fewer have is left out."""
LEVELS = {FEASIBLE: 1, NEAREST: 2, ON_FRONT: 2, CHOSEN: 3, LEADER: 3}
SPARED = {role for role, level in LEVELS.items() if level > LEVELS[FEASIBLE]}
SCALE = ["var(--faint)", "var(--feasible)", FRONT, CHAMPION]
COLUMN_PX = 112
LOG_SPAN = 30.0
"""From so large a ratio of the largest to the least on, an axis is logarithmic."""
FEW = 6
"""So many whole numbers are marks themselves."""


def parallel(outcome: Outcome) -> list[Chart]:
    import plotly.graph_objects as go

    of = roles(outcome)
    complete = [trial for trial in outcome.standing.trials if trial.state == COMPLETE and trial.number > 0]
    # Later lines lie over earlier ones.
    complete.sort(key=lambda trial: (LEVELS.get(of[trial.number], 0), trial.number))
    count, complete = len(complete), _thinned(complete, {number for number, role in of.items() if role in SPARED})
    knobs = _knobs(complete)
    if len(complete) < 2 or not knobs:
        return []
    columns = [_of_knob(name, [trial.recipe.to_dict().get(name) for trial in complete]) for name in knobs]
    columns += [column for kpi in outcome.kpis if (column := _of_kpi(outcome, kpi, complete))]
    steps = [(at / 4, color) for level, color in enumerate(SCALE) for at in (level, level + 1)]
    line = {
        "color": [LEVELS.get(of[trial.number], 0) for trial in complete],
        "colorscale": steps,
        "cmin": -0.5,
        "cmax": 3.5,
    }
    figure = go.Figure(layout=layout(430, margin={"l": 70, "r": 90, "t": 64, "b": 24}))
    figure.add_parcoords(
        dimensions=columns,
        line=line,
        labelangle=-16,
        labelfont={"size": 12, "color": INK},
        tickfont={"size": 11, "color": INK},
        rangefont={"size": 1, "color": NONE},
        unselected={"line": {"color": MUTED, "opacity": 0.05}},
    )
    keys = (("champion", best_role(outcome)), ("front", ON_FRONT), ("feasible", FEASIBLE), ("misses", MISSES))
    legend = joined((joined([tag("i", "", class_=f"key {class_}"), role]) for class_, role in keys), " ")
    drawn = "" if count == len(complete) else f"{len(complete)} of the "
    sparse = " Of those off the front only some are drawn, evenly spread." if drawn else ""
    caption = (
        f"Each line is one of {drawn}{count} complete trials.{sparse} Drag along an axis to keep only a part of "
        "it; click there to let go; drag a title to move its axis. '–': the recipe has no such knob."
    )
    return [Chart(figure, joined([legend, Markup("<br>"), caption]), least_width=COLUMN_PX * len(columns))]


def _thinned(trials: list[Trial], spared: Collection[int]) -> list[Trial]:
    """MOST_LINES at most: those that are spared, and of the others as many as there is room for, evenly spread."""
    others = [trial for trial in trials if trial.number not in spared]
    room = max(0, MOST_LINES - len(trials) + len(others))
    if room >= len(others):
        return trials
    kept = {others[place * len(others) // room].number for place in range(room)} | set(spared)
    return [trial for trial in trials if trial.number in kept]


def _knobs(trials: Sequence[Trial]) -> list[str]:
    """Those that vary, as many as there is room for: the most common, in the order of the recipe."""
    recipes = [trial.recipe.to_dict() for trial in trials]
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    count = {name: sum(name in recipe for recipe in recipes) for name in names}
    varied = [n for n in names if len({str(recipe.get(n)) for recipe in recipes}) > 1]
    common = [n for n in varied if count[n] >= LEAST_SHARE * len(trials)]
    kept = sorted(common, key=lambda n: -count[n])[:MOST_KNOBS]
    return [field.name for field in fields(Recipe) if field.name in kept]


def _of_knob(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """One axis; None, the knob does not apply, lies below all others."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, (str, bool)) for value in known):
        return _of_names(name, ["–" if value is None else str(value) for value in values])
    log = min(known) > 0 and max(known) / min(known) >= LOG_SPAN
    placed = [None if value is None else math.log10(value) if log else float(value) for value in values]
    ends = [value for value in placed if value is not None]
    low, high = min(ends), max(ends)
    nowhere = low - 0.15 * ((high - low) or 1.0)
    marks = [low + (high - low) * part / 4 for part in range(5)] if high > low else [low]
    if all(isinstance(value, int) for value in known) and not log:
        marks = sorted(set(ends)) if len(set(ends)) <= FEW else sorted({float(round(mark)) for mark in marks})
    lacking = [nowhere] if None in placed else []
    return {
        "label": name,
        "values": [nowhere if value is None else value for value in placed],
        "range": [*(lacking or [low]), high if high > low else low + 1],
        "tickvals": lacking + marks,
        "ticktext": ["–"] * len(lacking) + [f"{10**mark if log else mark:.3g}" for mark in marks],
    }


def _of_names(name: str, values: Sequence[str]) -> dict[str, Any]:
    order = sorted(set(values), key=lambda value: (value != "–", value))
    place = {value: index for index, value in enumerate(order)}
    ticks = {"tickvals": list(range(len(order))), "ticktext": [_short(value) for value in order]}
    return {"label": name, "values": [place[value] for value in values], "range": [-0.2, len(order) - 0.8], **ticks}


def _short(name: str) -> str:
    """What would run into the axis before, with its words cut: 'struct_magnit'."""
    return name if len(name) <= 16 else "_".join(word[:6] for word in name.split("_"))


def _of_kpi(outcome: Outcome, kpi: Kpi, trials: Sequence[Trial]) -> dict[str, Any] | None:
    at = axis(kpi, outcome.facts[kpi.name], trials)
    if at is None:
        return None
    values = [at.value(trial.measurements[kpi.name]) for trial in trials]
    low, high = min(values), max(values)
    log = at.is_log and low > 0
    placed = [math.log10(value) for value in values] if log else values
    first, last = min(placed), max(placed)
    marks = [first + (last - first) * part / 4 for part in range(5)] if high > low else [first]
    return {
        "label": f"{kpi.name}{' ratio' if at.relative else ''}",
        "values": placed,
        "range": [first, last if last > first else first + 1],
        "tickvals": marks,
        "ticktext": [at.shown(10**mark if log else mark) for mark in marks],
    }
