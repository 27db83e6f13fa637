"""report.html: one self-contained page. What is on it and in which order; the parts are made elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from autoopt.report.charts import CHARTS
from autoopt.report.charts.chart import Chart
from autoopt.report.decision import decision
from autoopt.report.markup import Markup, command, joined, script, tag
from autoopt.report.outcome import Outcome
from autoopt.report.shell import rebuild
from autoopt.report.tables import champion, ended_early, exam, mattered, misses, times
from autoopt.report.trials import trials_table
from autoopt.report.words import UNSTABLE_MEANS, bounds, objectives, unsteady, verdict

BENEATH = "Beside a value: how it compares with the baseline's; beneath it, the 95% interval of that."
LONG = {
    "exam": "Final exam",
    "curves": "Learning curves of the finalists",
    "time": "Where the time went",
    "early": "Failed and screened",
}
"""Titles of the sections that the navigation shortens."""
HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; form-action 'none'"
)
"""The page can load nothing and send nothing, whatever is in it. plotly compiles its WebGL calls: hence the eval."""


def page(outcome: Outcome) -> str:
    """Verdict, champion, front, exam, misses, what mattered, curves, all trials, times, what ended early."""
    charts = {name: make(outcome) for name, make in CHARTS.items()}
    caution = f" {UNSTABLE_MEANS}." if unsteady(outcome.standing.trials, outcome.kpis) else ""
    sections = [
        ("front", "Front", joined(map(figure, charts["front"]))),
        ("exam", "Exam", joined([*map(figure, charts["exams"]), exam(outcome)])),
        ("misses", "Nearest misses", misses(outcome)),
        ("mattered", "What mattered", mattered(outcome)),
        ("curves", "Learning curves", joined(map(figure, charts["curves"]))),
        ("parallel", "Knobs and KPIs", joined(map(figure, charts["parallel"]))),
        (
            "all",
            "Trials",
            joined([trials_table(outcome), tag("p", f"{BENEATH}{caution}", class_="caption")]),
        ),
        ("time", "Time", times(outcome)),
        ("early", "Ended early", ended_early(outcome)),
    ]
    filled = [section for section in sections if section[2]]
    body = [
        _head(outcome, [(name, title) for name, title, _ in filled]),
        champion(outcome),
        *(tag("section", tag("h2", LONG.get(name, title)), inside, id=name) for name, title, inside in filled),
        tag("footer", tag("p", "Made anew at any time, also while the search runs:"), command(rebuild(outcome))),
    ]
    return document(f"autoopt: {outcome.study}", body)


def _head(outcome: Outcome, parts: Sequence[tuple[str, str]]) -> Markup:
    standing = outcome.standing
    counts = standing.counts()
    keys = ("trials", "siblings", "complete", "screened", "failed", "feasible")
    summary = ", ".join(f"{counts[key]} {key}" for key in keys)
    ended = f"ended by {outcome.stopped_by}" if outcome.stopped_by else "still searched, or killed"
    links = [tag("a", title, href=f"#{name}") for name, title in parts]
    goal = f"Objectives: {objectives(outcome.kpis)}."
    goal += f" Bounds: {said}." if (said := bounds(outcome.kpis)) else ""
    took = f"{outcome.seconds / 3600:.1f} h" if outcome.seconds >= 3600 else f"{outcome.seconds / 60:.1f} minutes"
    return tag(
        "header",
        tag("h1", outcome.study),
        tag("p", verdict(outcome), class_="verdict"),
        *([tag("p", why)] if (why := decision(outcome)) else []),
        tag("p", goal),
        tag("p", f"{summary}; hypervolume {standing.hypervolume:.4g}; {took} of search, {ended}."),
        tag("nav", *links),
    )


def figure(chart: Chart) -> Markup:
    """A chart that page.js draws, and what it needs for it."""
    size = f"height:{chart.figure.layout.height}px;min-width:{chart.least_width}px"
    drawn = tag("div", tag("div", class_="chart", style=size, data_least=chart.least_width), class_="scroll")
    return tag("figure", drawn, script(chart.figure.to_plotly_json(), class_="data"), tag("figcaption", chart.caption))


def document(title: str, body: Sequence[str]) -> str:
    """The whole file: plotly.js (4.8 MB) is in it once, so that it opens anywhere and asks nobody for anything."""
    from plotly.offline import get_plotlyjs

    style, code = ((HERE / name).read_text() for name in ("style.css", "page.js"))
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    )
    scripts = Markup(f"<script>{get_plotlyjs()}</script><script>{code}</script>")
    inside = tag("body", tag("main", *body), scripts)
    return f'<!doctype html><html lang="en">{head}{inside}</html>\n'
