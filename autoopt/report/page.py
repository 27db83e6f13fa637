"""report.html: one self-contained page."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoopt.core.exam import POINT, UPPER_LIMIT
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.report.outcome import Outcome
from autoopt.report.words import (
    UNSTABLE,
    UNSTABLE_MEANS,
    bounds,
    difference,
    early_ends,
    losses,
    measured_surely,
    number,
    objectives,
    recipe_line,
    shown,
    slower_line,
    unsteady,
    verdict,
)

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap }
td:nth-child(2), td:nth-child(3), td:last-child { text-align: left; white-space: normal }
th:nth-child(3), th:last-child { text-align: left }
th:nth-child(3) { min-width: 20rem }
tr.champion { font-weight: 600; background: #d9822b22 }
tr.baseline { opacity: .75 }
.verdict { font-size: 1.15rem; padding: .8rem 1rem; border-left: 4px solid #1f5fa8; background: #1f5fa811 }
img { max-width: 100%; background: #fff; border-radius: 6px }
"""


def page(outcome: Outcome, plot: Path) -> str:
    """Verdict, bounds, picture, all complete trials (best first), time by stage, failures by reason."""
    standing = outcome.standing
    counts = standing.counts()
    summary = ", ".join(
        f"{counts[key]} {key}" for key in ("trials", "siblings", "complete", "screened", "failed", "feasible")
    )
    picture = base64.b64encode(plot.read_bytes()).decode()
    caution = UNSTABLE_MEANS if unsteady(standing.trials, outcome.kpis) else ""
    parts = [
        f"<h1>{html.escape(outcome.study)}</h1>",
        f'<p class="verdict">{html.escape(verdict(outcome))}</p>',
        f"<p>Objectives: {objectives(outcome.kpis)}. Bounds: {html.escape(bounds(outcome.kpis))}.</p>",
        f"<p>{summary}; hypervolume {standing.hypervolume:.4g}.</p>",
        f'<p><img alt="trials over the objectives" src="data:image/png;base64,{picture}"></p>',
        "<h2>Trials</h2>",
        f"<p>In brackets: ratio to the baseline, its 95% interval. {caution}</p>",
        _trials(outcome),
        f"<p>{html.escape(slower_line(standing))}</p>",
        _exam(outcome),
        "<h2>Where the time went</h2>",
        _times(outcome),
        _ended_early(standing),
    ]
    title = html.escape(f"autoopt: {outcome.study}")
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{title}</title><style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _trials(outcome: Outcome) -> str:
    rows = ["".join(f"<th>{html.escape(cell)}</th>" for cell in _head(outcome))]
    rows += ["".join(f"<td>{html.escape(cell)}</td>" for cell in cells) for _, cells in _ranked(outcome)]
    classes = ["head", *(role for role, _ in _ranked(outcome))]
    body = "".join(f'<tr class="{role}">{row}</tr>' for role, row in zip(classes, rows, strict=True))
    return f"<table>{body}</table>"


def _head(outcome: Outcome) -> list[str]:
    columns = [f"{kpi.name} [{outcome.facts[kpi.name].unit}]" for kpi in outcome.kpis]
    return ["trial", "", "recipe", *columns, "kpi_score", "misses"]


def _ranked(outcome: Outcome) -> list[tuple[str, list[str]]]:
    """Role and cells of each complete trial: the baseline first, then the best."""
    kpis = outcome.kpis
    complete = [trial for trial in outcome.standing.trials if trial.state == COMPLETE]
    place = {trial.number: place for place, trial in enumerate(outcome.standing.feasible)}
    complete.sort(key=lambda t: (t.number != 0, place.get(t.number, len(place)), -t.score(kpis)))
    rows = []
    for trial in complete:
        values = [measured_surely(trial.measurements[kpi.name], outcome.facts[kpi.name]) for kpi in kpis]
        role, misses = _role(trial, outcome), ", ".join(trial.blocking(kpis))
        score = f"{trial.score(kpis):.3f}"
        rows.append((role, [str(trial.number), role, recipe_line(trial.recipe), *values, score, misses]))
    return rows


def _role(trial: Trial, outcome: Outcome) -> str:
    roles = {t.number: "front" for t in outcome.standing.front} | {0: "baseline"}
    if outcome.standing.nearest_miss:
        roles[outcome.standing.nearest_miss.number] = "nearest miss"
    if outcome.champion:
        roles[outcome.champion.number] = "champion"
    return roles.get(trial.number, "")


def _exam(outcome: Outcome) -> str:
    """The champion's quality on the test split, what lies beneath it (classes and slices, those that lost most first),
    and its speed in a fresh process.
    """
    if outcome.test is None:
        return ""
    tables = [f"<table>{''.join(map(_row, _quality(outcome.test)))}</table>"]
    tables += [
        f"<h3>{html.escape(title)}</h3><table>{''.join(_row(cells) for cells in rows)}</table>"
        for title, rows in losses(outcome.test).items()
    ]
    rows = [["measured again", "value", "ratio", "95%"], *_fresh(outcome.test)]
    tables.append(f"<h3>In a fresh process</h3><table>{''.join(map(_row, rows))}</table>")
    return f"<h2>The champion's final exam</h2>{''.join(tables)}"


def _quality(test: Mapping[str, Any]) -> list[list[str]]:
    """How good champion and baseline are on the test split, and how sure that is."""
    rows = [
        [f"on {test['size']} rows", "champion", "baseline"],
        [test["quality"], *(shown(test, test[key]) for key in ("value", "baseline"))],
    ]
    if test["quality"] == "accuracy":
        shares = [test[key] for key in ("accuracy_95", "baseline_accuracy_95")]
        rows.append(["95%", *(" to ".join(shown(test, end) for end in ends) for ends in shares)])
    rows.append(["difference", difference(test), ""])
    if "mcnemar_p" in test:
        rows.append(["McNemar's p", f"{test['mcnemar_p']:.3g}", "that both are right equally often"])
    held = {UPPER_LIMIT: "bounds hold at the far end of the interval", POINT: "bounds hold where it was measured"}
    return [*rows, ["exam.rule", test["rule"], held[test["rule"]]]]


def _fresh(test: Mapping[str, Any]) -> list[list[str]]:
    """Name, value, ratio and the ratio's interval of what was measured in a fresh process."""
    found = []
    for name, measured in test.get("fresh", {}).items():
        interval = "{:.3g} to {:.3g}".format(*measured["ratio_95"]) if measured.get("ratio_95") else ""
        ratio = "" if measured["ratio"] is None else f"{measured['ratio']:.3g}x"
        unstable = UNSTABLE if measured.get("unstable") else ""
        found.append([name, number(measured["value"]) + unstable, ratio, interval])
    return found


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _times(outcome: Outcome) -> str:
    whole = outcome.seconds or 1.0
    stages = outcome.seconds_by_stage()
    stages["not counted"] = max(0.0, whole - sum(stages.values()))
    cells = "".join(
        f"<tr><td>{stage}</td><td>{seconds:.1f} s</td><td>{seconds / whole:.1%}</td></tr>"
        for stage, seconds in stages.items()
    )
    return f"<table><tr><th>stage</th><th>seconds</th><th>share</th></tr>{cells}</table>"


def _ended_early(standing: Standing) -> str:
    ended = [trial for trial in standing.trials if trial.state in (FAILED, SCREENED)]
    if not ended:
        return ""
    counts = ", ".join(f"{count} {reason}" for reason, count in early_ends(standing).items())
    items = "".join(
        f"<li>trial {t.number} {t.state} ({html.escape(recipe_line(t.recipe))}): {html.escape(t.reason)}</li>"
        for t in ended
    )
    return (
        f"<h2>Failed and screened</h2><p>{counts}</p><details><summary>all of them</summary><ul>{items}</ul></details>"
    )
