"""autoopt report: the study as it stands, also while it is searched."""

import json
from pathlib import Path

from autoopt.champion.exam import EXAM
from autoopt.commands.outcome import stdout_console, write_report
from autoopt.config import Settings, saved_settings
from autoopt.core.standing import standing
from autoopt.measurements import FACTS
from autoopt.report.document import document
from autoopt.report.table import table
from autoopt.report.words import verdict
from autoopt.search.record import read_trials
from autoopt.search.session import last_ended
from autoopt.search.study import load_study


def report(settings: Settings) -> int:
    """Read-only on the study: rebuilds report.html, prints the table and the JSON document.

    KPIs are those that the study was begun with, whatever today's defaults are. The exam is shown where search took it.
    """
    study = load_study(settings.folder, settings.study)
    saved = saved_settings(settings.folder)
    kpis = saved.kpis
    now = standing(read_trials(study), kpis)
    champion = now.front[0] if now.front else None
    test = study.user_attrs.get(f"{EXAM}{champion.number}") if champion else None
    write_report(saved, now, champion, test)
    console = stdout_console()
    console.print(table(now, kpis, FACTS, champion))
    console.print(verdict(now, kpis, champion, test), highlight=False)
    path: Path | None = settings.folder / "champion" if champion and test else None
    ended = last_ended(study)
    print(
        json.dumps(
            document(
                study=settings.study,
                stopped_by=ended.stopped_by,
                seconds=ended.searched_s,
                standing=now,
                kpis=kpis,
                champion=champion,
                test=test,
                path=path,
                outputs=settings.outputs,
            )
        )
    )
    return 0
