"""What search and report have in common: champion, exam, table, page, MLflow's last word, the JSON document."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Study
from rich.console import Console

from autoopt.champion.exam import final_exam
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import Trial
from autoopt.measurements import FACTS
from autoopt.report.document import document
from autoopt.report.page import note, page
from autoopt.report.plot import front_plot
from autoopt.report.table import table
from autoopt.report.words import verdict
from autoopt.search.record import read_trials
from autoopt.search.session import last_ended
from autoopt.tasks import Task

PIPE_WIDTH = 140

Open = Callable[[Path], Callable[[np.ndarray], np.ndarray]]


def conclude(
    settings: Settings, study: Study, task: Task, open_session: Open, view: Any, console: Console
) -> dict[str, Any]:
    """Choose the champion, take its exam if it was not taken, write champion/ and report.html, print the table."""
    now = standing(read_trials(study), settings.kpis)
    champion = now.front[0] if now.front else None
    test = None
    if champion is not None:
        source = settings.folder / "trials" / f"{champion.number:04d}"
        baseline = settings.folder / "baseline" / artifact.MODEL
        test = final_exam(study, champion.number, source / artifact.MODEL, baseline, task, settings.kpis, open_session)
        _write_champion(settings.folder / "champion", source, champion.recipe, test)
    files = write_report(settings, now, champion, test)
    ended = last_ended(study)
    if view is not None:
        facts = {"autoopt.stopped_by": ended.stopped_by, "autoopt.champion": champion.number if champion else ""}
        status = "KILLED" if ended.stopped_by == "interrupt" else "FINISHED"
        text = note(settings.study, now, settings.kpis, FACTS, champion, test)
        view.finish(now, text, [*files, settings.folder / "config.yaml"], facts, status)
    console.print(table(now, settings.kpis, FACTS, champion))
    console.print(verdict(now, settings.kpis, champion, test), highlight=False)
    console.print(f"report: {settings.folder / 'report.html'}", highlight=False, soft_wrap=True)
    if view is not None:
        console.print(f"review: {view.how_to_look}", highlight=False, soft_wrap=True)
    return document(
        study=settings.study,
        stopped_by=ended.stopped_by,
        seconds=ended.searched_s,
        standing=now,
        kpis=settings.kpis,
        champion=champion,
        test=test,
        path=settings.folder / "champion" if champion else None,
        outputs=settings.outputs,
    )


def stdout_console() -> Console:
    """As wide as the terminal; wide enough for the table where stdout is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def write_report(settings: Settings, now: Standing, champion: Trial | None, test: dict[str, Any] | None) -> list[Path]:
    """front.png and report.html in the study's folder."""
    plot = front_plot(now, settings.kpis, champion, settings.folder / "front.png")
    html = settings.folder / "report.html"
    artifact.write_atomically(html, page(settings.study, now, settings.kpis, FACTS, champion, test, plot))
    return [html, plot]


def _write_champion(target: Path, source: Path, recipe: Recipe, test: dict[str, Any]) -> None:
    """A copy of the trial's artifact whose card has the exam's result. One that is there and whole is left alone."""
    card = {**artifact.verify(source), "test": test}
    try:
        if artifact.verify(target) == card:
            return
    except ArtifactError:
        pass  # none yet, or another trial's, half written
    artifact.write(target, source / artifact.MODEL, recipe, card)
