"""autoopt sync: what MLflow lacks of a study is written, and nothing twice."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from filelock import Timeout

from autoopt.commands.conclude import read_as_searched, write_report
from autoopt.commands.origin import command_of
from autoopt.commands.saved import tracking_address
from autoopt.commands.tracking import last_word, target_of, view_lock
from autoopt.config import Settings
from autoopt.core.errors import AutooptError, ConfigError, one_line
from autoopt.core.passwords import masked
from autoopt.core.standing import Standing
from autoopt.search.study import load_study
from autoopt.tracking.target import LastWord, Target


def sync(settings: Settings, *, rebuild: bool = False) -> int:
    """Bring MLflow to what the study says; `rebuild`: remove the study's runs first. Prints a line for people and, as
    the last of stdout, one JSON document. Raises AutooptError where MLflow is in trouble.
    """
    study = load_study(settings.folder, settings.study, settings.storage)
    outcome, saved = read_as_searched(settings, study)
    searched = replace(
        settings,
        task=saved["task"]["name"],
        kpis=outcome.kpis,
        tracking_uri=tracking_address(settings.tracking_uri, saved["tracking"].get("uri")),
    )
    with _only_writer(settings):
        word = last_word(outcome, write_report(outcome), command_of(study))
        return _write(target_of(searched, study), outcome.standing, word, rebuild)


def _write(target: Target, now: Standing, word: LastWord, rebuild: bool) -> int:
    from autoopt.tracking.view import TROUBLE, View  # mlflow costs two seconds: a mistyped study is answered before

    view, problem = None, None
    try:
        view = View.open(target)
        if rebuild:
            view.clear()
        view.sync(now, word)
    except TROUBLE as error:
        problem = error
    _tell(target.study, view, now, complete=problem is None)
    if problem is not None:
        why = masked(one_line(problem, 120))
        raise AutooptError(
            f"MLflow did not take all of study {target.study!r}, which keeps everything ({why}…): is it up at "
            f"{masked(target.uri)}? Else type tracking.uri=http://HOST:PORT"
        )
    return 0


def _tell(study: str, view: Any, now: Standing, *, complete: bool) -> None:
    written, removed = (len(view.written), view.removed) if view else (0, 0)
    if complete:
        gone = f", {removed} run{'s' if removed > 1 else ''} removed" if removed else ""
        print(f"MLflow has all {len(now.trials)} trials of study {study} ({written} written now{gone})")
        print(f"review: {view.how_to_look}")
    counts = {"trials": len(now.trials), "written": written, "removed": removed}
    print(json.dumps({"study": study, **counts, "complete": complete}), flush=True)


@contextmanager
def _only_writer(settings: Settings) -> Iterator[None]:
    """Raises ConfigError where a search writes the view itself."""
    try:
        with view_lock(settings).acquire(timeout=0):
            yield
    except Timeout as error:
        raise ConfigError(
            f"study {settings.study!r} is being searched, or synced: that process itself writes what MLflow lacks, "
            "wait for it"
        ) from error
