"""The table of all trials, which page.js filters and sorts."""

from collections.abc import Sequence

from autoopt.core.kpi import Kpi
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.report.markup import Markup, joined, tag
from autoopt.report.outcome import Outcome
from autoopt.report.roles import CHAMPION, FEASIBLE, FRONT, LEADER, ranked, roles
from autoopt.report.shell import reproduce
from autoopt.report.words import UNSTABLE, number, recipe_line

STATES = ("all", COMPLETE, FEASIBLE, FRONT, SCREENED, FAILED)
"""What the buttons above the table keep."""
MANY = 1000
"""Of more rows none is laid out before the table comes into view: 10,000 take six seconds."""


def trials_table(outcome: Outcome) -> Markup:
    of = roles(outcome)
    rows = [_row(outcome, trial, of[trial.number]) for trial in ranked(outcome)]
    units = {kpi.name: outcome.facts[kpi.name].unit for kpi in outcome.kpis}
    names = ["trial", "role", "recipe", *(f"{name} [{unit}]" for name, unit in units.items()), "kpi_score", "why not"]
    heads = [tag("th", tag("button", name, type="button"), scope="col") for name in names]
    body = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), id="trials")
    many = " later" if len(rows) > MANY else ""
    return joined([_controls(outcome), tag("div", body, class_=f"scroll{many}")])


def _controls(outcome: Outcome) -> Markup:
    counts = outcome.standing.counts()
    counts |= {"all": counts["trials"], FRONT: len(outcome.standing.front)}
    buttons = [
        tag("button", f"{state} {counts[state]}", data_state=state, aria_pressed="true" if state == "all" else "false")
        for state in STATES
    ]
    search = Markup('<input type="search" placeholder="recipe, reason, number" aria-label="search the trials">')
    return tag("div", *buttons, search, tag("output", ""), class_="controls", data_for="trials")


def _row(outcome: Outcome, trial: Trial, role: str) -> Markup:
    kpis = outcome.kpis
    done = trial.state == COMPLETE
    score = trial.score(kpis) if done else None
    sibling = "" if trial.sibling_of is None else tag("small", f"weights of {trial.sibling_of}")
    cells = [
        _cell(joined([f"{trial.number} ", _copy(reproduce(outcome, trial.number))]), trial.number),
        _cell(tag("span", role, class_="role"), role),
        _cell(joined([recipe_line(trial.recipe), sibling]), recipe_line(trial.recipe), "long"),
        *(_measured(trial, kpi, outcome) for kpi in kpis),
        _cell("" if score is None else f"{score:.3f}", score),
        _cell(", ".join(trial.blocking(kpis)) if done else trial.reason, None, "reason"),
    ]
    return tag("tr", *cells, class_=role.replace(" ", "-"), data_state=" ".join(_states(trial, role, kpis)))


def _states(trial: Trial, role: str, kpis: Sequence[Kpi]) -> list[str]:
    """The buttons that keep it."""
    feasible = [FEASIBLE] if trial.number > 0 and trial.is_feasible(tuple(kpis)) else []
    return ["all", trial.state, *feasible, *([FRONT] if role in (FRONT, CHAMPION, LEADER) else [])]


def _cell(shown: str, sort: object, class_: str | None = None) -> Markup:
    return tag("td", shown, data_sort=sort, class_=class_)


def _measured(trial: Trial, kpi: Kpi, outcome: Outcome) -> Markup:
    """The value, how it compares with the baseline's, and how sure that is."""
    found = trial.measurements.get(kpi.name)
    if found is None:
        return tag("td", "")
    share = outcome.facts[kpi.name].unit == "share"
    shown = f"{100 * found.value:.2f}%" if share else f"{number(found.value)}{UNSTABLE if found.unstable else ''}"
    beside, beneath = "", ""
    if share and found.baseline is not None:
        beside = f"{100 * (found.value - found.baseline):+.2f}"
    elif found.ratio is not None:
        beside = f"{found.ratio:.3g}x"
        beneath = "{:.3g} to {:.3g}".format(*found.ratio_interval) if found.ratio_interval else ""
    parts = [f"{shown} ", tag("span", beside, class_="beside"), tag("small", beneath) if beneath else ""]
    return _cell(joined(parts), found.value)


def _copy(line: str) -> Markup:
    return tag("button", "copy", type="button", class_="copy", data_copy=line, title=line)
