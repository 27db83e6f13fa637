"""What search and report have in common: reading the study, and telling what it has come to."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna import Study
from rich.console import Console

from autoopt.champion.exam import taken_exams
from autoopt.config import Settings
from autoopt.config_sections import read_exam
from autoopt.core import artifact
from autoopt.core.kpi import Kpi, parse_kpis
from autoopt.core.standing import standing
from autoopt.measurements import FACTS
from autoopt.report.decision import decision
from autoopt.report.document import document
from autoopt.report.machines import machines_line
from autoopt.report.outcome import Outcome
from autoopt.report.page import page
from autoopt.report.plot import front_plot
from autoopt.report.table import table
from autoopt.report.words import slower_line, time_line, verdict
from autoopt.search.record import read_trials
from autoopt.search.session import last_ended
from autoopt.search.study import CONFIGURATION

PIPE_WIDTH = 140


def read_outcome(settings: Settings, study: Study, kpis: tuple[Kpi, ...]) -> Outcome:
    """The study as it stands, with the champion's exam where it was taken."""
    now, ended = standing(read_trials(study), kpis), last_ended(study)
    return Outcome(
        study=settings.study,
        folder=settings.folder,
        standing=now,
        kpis=kpis,
        facts=FACTS,
        exams=taken_exams(study),
        finalists=settings.exam.finalists,
        stopped_by=ended.stopped_by,
        seconds=ended.searched_s,
        between_trials=ended.seconds,
        asked=study.get_trials(deepcopy=False),
    )


def read_as_searched(settings: Settings, study: Study) -> tuple[Outcome, dict[str, Any]]:
    """The study as it stands under its own configuration, whatever today's defaults are; and that configuration."""
    saved = study.user_attrs[CONFIGURATION]
    settings = replace(settings, exam=read_exam(saved["exam"]))
    return read_outcome(settings, study, parse_kpis(saved["kpis"], FACTS)), saved


def write_report(outcome: Outcome) -> list[Path]:
    """front.png and report.html in the study's folder."""
    outcome.folder.mkdir(parents=True, exist_ok=True)  # of a study in a database it may be the first
    plot = front_plot(outcome, outcome.folder / "front.png")
    html = outcome.folder / "report.html"
    artifact.write_atomically(html, page(outcome))
    return [html, plot]


def tell(outcome: Outcome, *, hints: Sequence[str] = ()) -> None:
    """Table, verdict and hints for people, then the JSON document as the last line of stdout."""
    console = stdout_console()
    console.print(table(outcome))
    console.print(verdict(outcome), highlight=False, markup=False)
    if why := decision(outcome):
        console.print(why, highlight=False, markup=False)
    console.print(f"time: {time_line(outcome)}", highlight=False, markup=False)
    lines = filter(None, (machines_line(outcome.standing), slower_line(outcome.standing)))
    for hint in (*lines, f"report: {outcome.folder / 'report.html'}", *hints):
        console.print(hint, highlight=False, markup=False, soft_wrap=True)
    print(json.dumps(document(outcome)))
    sys.stdout.flush()


def stdout_console() -> Console:
    """As wide as the terminal; wide enough for the table where stdout is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
