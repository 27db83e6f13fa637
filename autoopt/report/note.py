"""The parent run's note in MLflow: who won and why, what stood in the way, and what to type next. Markdown.

`[7]` stands for trial 7, `![front.png]` for the picture: who writes the note into MLflow knows where they are.
"""

from collections.abc import Iterator

from autoopt.core.errors import STRUCTURE
from autoopt.core.kpi import Kpi
from autoopt.core.markdown import escaped
from autoopt.core.trial import COMPLETE, SCREENED, Trial
from autoopt.report.decision import decision
from autoopt.report.machines import machines_line
from autoopt.report.outcome import Outcome
from autoopt.report.roles import best_role
from autoopt.report.shell import promote, rebuild, reproduce
from autoopt.report.words import (
    UNSTABLE_MEANS,
    bound,
    losses,
    measured_surely,
    recipe_line,
    slower_line,
    time_line,
    unsteady,
    verdict,
)

NOTE_CHARS = 7000  # a tag of MLflow holds 8000, and the links above the table are among them
LINK_CHARS = 80  # that a row's link adds
IN_MLFLOW = "Here: [trials] with charts, the [front], what [failed], [studies] of this task beside each other."


def note(outcome: Outcome, command: str = "") -> str:
    """`command` began the search, '' where it is not known. Rows that do not fit are counted, not cut."""
    above = [f"**{escaped(verdict(outcome))}**", escaped(decision(outcome)), _so_far(outcome), IN_MLFLOW]
    below = [*_beneath(outcome), *_bounds(outcome), *_time(outcome), *_commands(outcome, command)]
    picture = ["![front.png]"] if outcome.stopped_by else []
    room = NOTE_CHARS - sum(len(part) + 2 for part in (*above, *below, *picture))
    return "\n\n".join(filter(None, [*above, _table(outcome, room), *below, *picture])) + "\n"


def _so_far(outcome: Outcome) -> str:
    counts = outcome.standing.counts()
    told = ", ".join(f"{counts[key]} {key}" for key in ("trials", "siblings", "feasible", "screened", "failed"))
    return f"{told}; {_duration(outcome.seconds)}, {_ended(outcome.stopped_by)}."


def _ended(stopped_by: str | None) -> str:
    return f"ended by {stopped_by}" if stopped_by else "not at its end"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _table(outcome: Outcome, room: int) -> str:
    """Champion, front and baseline, the nearest miss where nothing is feasible; as many rows as there is room for."""
    kpis = outcome.kpis
    head = ["trial", "", "recipe", *(kpi.name for kpi in kpis), "kpi_score"]
    lines = [_row(head), _row(["---"] * len(head))]
    rows = list(_rows(outcome))
    for count, (role, trial) in enumerate(rows):
        values = [measured_surely(trial.measurements[kpi.name], outcome.facts[kpi.name]) for kpi in kpis]
        line = _row(
            [f"[{trial.number}]", role, escaped(recipe_line(trial.recipe)), *values, f"{trial.score(kpis):.3f}"]
        )
        room -= len(line) + LINK_CHARS
        if room < 200:
            lines += ["", f"And {len(rows) - count} more: filter by `tags.autoopt.pareto = 'true'`."]
            break
        lines.append(line)
    told = ["", "In brackets: to the baseline, with the ratio's 95% interval."]
    caution = [f"{UNSTABLE_MEANS}."] if unsteady((trial for _, trial in rows), kpis) else []
    return "\n".join([*lines, *told, *caution]) if rows else ""


def _rows(outcome: Outcome) -> Iterator[tuple[str, Trial]]:
    standing, champion = outcome.standing, outcome.champion
    if champion:
        yield best_role(outcome), champion
    yield from (("baseline", trial) for trial in standing.trials[:1] if trial.state == COMPLETE)
    yield from (("front", trial) for trial in standing.front if trial is not champion)
    if standing.nearest_miss:
        yield "nearest miss", standing.nearest_miss


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _beneath(outcome: Outcome) -> list[str]:
    found = [
        f"{title}: {escaped('; '.join(map(' '.join, rows[1:])))}" for title, rows in losses(outcome.test or {}).items()
    ]
    lines = (escaped(line) for line in (machines_line(outcome.standing), slower_line(outcome.standing)) if line)
    return [*found, *(f"{line[0].upper()}{line[1:]}." for line in lines)]


def _bounds(outcome: Outcome) -> list[str]:
    """Each bound, and how many trials it cost: the first is the one to think about."""
    rows = sorted(_blockers(outcome), key=lambda row: -(row[1] + row[2]))
    lines = [_row([kpi, str(stopped or "-"), str(missed or "-")]) for kpi, stopped, missed in rows]
    poor = _not_good_enough(outcome)
    told = f"\n\n{poor} more were stopped since they could not have reached the front." if poor else ""
    head = "| bound | stopped before its end | missed when measured |\n| --- | --- | --- |\n"
    return [f"**Bounds**\n\n{head}" + "\n".join(lines) + told] if lines else []


def _blockers(outcome: Outcome) -> Iterator[tuple[str, int, int]]:
    """A bound in words; how many trials were screened past it, and how many complete ones lie past it."""
    for kpi in outcome.kpis:
        for kind in kpi.bounds():
            stopped, missed = (_broken(outcome, kpi, kind, state) for state in (SCREENED, COMPLETE))
            yield bound(_only(kpi, kind)), stopped, missed


def _only(kpi: Kpi, kind: str) -> Kpi:
    return Kpi(kpi.name, kpi.higher_is_better, **{kind: kpi.bounds()[kind]})  # type: ignore[arg-type]


def _broken(outcome: Outcome, kpi: Kpi, kind: str, state: str) -> int:
    measured = (
        trial.measurements[kpi.name]
        for trial in outcome.standing.trials
        if trial.state == state and trial.number > 0 and kpi.name in trial.measurements
    )
    return sum(kpi.violations(m)[kind] > 0 for m in measured)


def _not_good_enough(outcome: Outcome) -> int:
    screened = [t.evaluation for t in outcome.standing.trials if t.state == SCREENED and t.evaluation]
    return sum(evaluation.facts.get("screened_by") != STRUCTURE for evaluation in screened)


def _time(outcome: Outcome) -> list[str]:
    line = time_line(outcome)
    return [f"**Time**: {line}."] if line else []


def _commands(outcome: Outcome, command: str) -> list[str]:
    """To look closer, to ship, to make it once more, and to search again."""
    lines = [rebuild(outcome)]
    if outcome.champion:
        lines += [promote(outcome), reproduce(outcome, outcome.champion.number)]
    again = [f"Searched with:\n\n```\n{command}\n```"] if command else []
    return ["**Next**\n\n```\n" + "\n".join(lines) + "\n```", *again]
