"""report.html: one self-contained page, and the same in Markdown for MLflow's note."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.core.kpi import Facts, Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.report.words import bound, measured, recipe_line, verdict

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap }
th:nth-child(3), td:nth-child(3), th:nth-child(2), td:nth-child(2) { text-align: left; white-space: normal }
th:nth-child(3) { min-width: 20rem }
tr.champion { font-weight: 600; background: #d9822b22 }
tr.baseline { opacity: .75 }
.verdict { font-size: 1.15rem; padding: .8rem 1rem; border-left: 4px solid #1f5fa8; background: #1f5fa811 }
img { max-width: 100%; background: #fff; border-radius: 6px }
"""


def page(
    study: str,
    standing: Standing,
    kpis: tuple[Kpi, ...],
    facts: Mapping[str, Facts],
    champion: Trial | None,
    test: Mapping[str, Any] | None,
    plot: Path,
) -> str:
    """Verdict, bounds, picture, all complete trials (best first), time by stage, failures by reason."""
    counts = standing.counts()
    picture = base64.b64encode(plot.read_bytes()).decode()
    summary = ", ".join(f"{counts[key]} {key}" for key in ("trials", "complete", "screened", "failed", "feasible"))
    bounds = "; ".join(bound(kpi) for kpi in kpis if kpi.bounds())
    parts = [
        f"<h1>{html.escape(study)}</h1>",
        f'<p class="verdict">{html.escape(verdict(standing, kpis, champion, test))}</p>',
        f"<p>Bounds: {html.escape(bounds)}. {summary}; hypervolume {standing.hypervolume:.4g}.</p>",
        _exam(test),
        f'<p><img alt="trials over the objectives" src="data:image/png;base64,{picture}"></p>',
        "<h2>Trials</h2>",
        _trials(standing, kpis, facts, champion),
        "<h2>Where the time went</h2>",
        _times(standing),
        _ended_early(standing),
    ]
    title = html.escape(f"autoopt: {study}")
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{title}</title><style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def note(
    study: str,
    standing: Standing,
    kpis: tuple[Kpi, ...],
    facts: Mapping[str, Facts],
    champion: Trial | None,
    test: Mapping[str, Any] | None,
) -> str:
    """The leaderboard as Markdown: verdict, bounds, baseline and front, the command to see more."""
    head = ["trial", "", "recipe", *(f"{kpi.name} [{facts[kpi.name].unit}]" for kpi in kpis), "kpi_score"]
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for trial, role in _ranked(standing, kpis, champion):
        if role.startswith(("baseline", "champion", "front", "nearest")):
            rows.append(" | ".join(_cells(trial, role, kpis, facts)))
    table = "\n".join(f"| {row} |" for row in rows)
    bounds = "; ".join(bound(kpi) for kpi in kpis if kpi.bounds())
    return (
        f"{verdict(standing, kpis, champion, test)}\n\nBounds: {bounds}\n\n{table}\n\n`autoopt report study={study}`\n"
    )


def _exam(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return ""
    return (
        f"<p>Final exam, test split of {test['size']} inputs, read once: {test['quality']} "
        f"{100 * test['value']:.2f}% against the baseline's "
        f"{100 * test['baseline']:.2f}%: {'passed' if test['passed'] else 'FAILED'}.</p>"
    )


def _trials(standing: Standing, kpis: tuple[Kpi, ...], facts: Mapping[str, Facts], champion: Trial | None) -> str:
    head = ["trial", "", "recipe", *(f"{kpi.name} [{facts[kpi.name].unit}]" for kpi in kpis), "kpi_score"]
    rows = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    for trial, role in _ranked(standing, kpis, champion):
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(trial, role, kpis, facts))
        rows.append(f'<tr class="{role}">{cells}</tr>')
    return f"<table>{''.join(rows)}</table>"


def _cells(trial: Trial, role: str, kpis: tuple[Kpi, ...], facts: Mapping[str, Facts]) -> list[str]:
    values = [measured(kpi.name, trial.measurements[kpi.name], facts[kpi.name]) for kpi in kpis]
    return [str(trial.number), role, recipe_line(trial.recipe), *values, f"{trial.score(kpis):.3f}"]


def _ranked(standing: Standing, kpis: tuple[Kpi, ...], champion: Trial | None) -> list[tuple[Trial, str]]:
    """Complete trials and their role: baseline first, then by kpi_score."""
    front = {trial.number for trial in standing.front}
    complete = [trial for trial in standing.trials if trial.state == COMPLETE]
    feasible = {trial.number: place for place, trial in enumerate(standing.feasible)}
    ranked = sorted(complete, key=lambda t: (t.number != 0, feasible.get(t.number, len(feasible)), -t.score(kpis)))

    def role(trial: Trial) -> str:
        if champion is not None and trial.number == champion.number:
            return "champion"
        if trial.number == 0:
            return "baseline"
        if trial.number in front:
            return "front"
        if trial.number in feasible:
            return "feasible"
        nearest = standing.nearest_miss is not None and trial.number == standing.nearest_miss.number
        return f"{'nearest miss: ' if nearest else 'misses '}{', '.join(trial.blocking(kpis))}"

    return [(trial, role(trial)) for trial in ranked]


def _times(standing: Standing) -> str:
    totals: dict[str, float] = {}
    for trial in standing.trials:
        for stage, seconds in (trial.evaluation.seconds if trial.evaluation else {}).items():
            totals[stage] = totals.get(stage, 0.0) + seconds
    whole = sum(totals.values()) or 1.0
    cells = "".join(
        f"<tr><td>{stage}</td><td>{seconds:.1f} s</td><td>{seconds / whole:.0%}</td></tr>"
        for stage, seconds in totals.items()
    )
    return f"<table><tr><th>stage</th><th>seconds</th><th>share</th></tr>{cells}</table>"


def _ended_early(standing: Standing) -> str:
    ended = [trial for trial in standing.trials if trial.state in (FAILED, SCREENED)]
    if not ended:
        return ""
    items = "".join(
        f"<li>trial {t.number} {t.state} ({html.escape(recipe_line(t.recipe))}): {html.escape(t.reason)}</li>"
        for t in ended
    )
    return f"<h2>Failed and screened</h2><ul>{items}</ul>"
