"""What search and sync have in common: of which study the view is, and what its parent run says in the end."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from optuna import Study

from autoopt.commands.origin import command_of, origin_of
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.quiet import QuietMachine
from autoopt.core.standing import Standing, standing
from autoopt.measurements import FACTS
from autoopt.report.note import note
from autoopt.report.outcome import Outcome
from autoopt.search.lock import DatabaseLock, Lock
from autoopt.search.record import read_trials
from autoopt.search.study import IDENTITY
from autoopt.tracking.store import default_uri
from autoopt.tracking.target import LastWord, Target, writer_lock
from autoopt.tracking.tracker import Tracker


def start_tracker(settings: Settings, study: Study, say: Callable[[str], None]) -> Tracker | None:
    """Writes beside the search until it is finished or closed; None where tracking is turned off."""
    if settings.tracker == "none":
        return None
    now = standing(read_trials(study), settings.kpis)
    lock, is_taken = view_lock(settings), QuietMachine().is_taken
    return Tracker(target_of(settings, study), lock, now, say=say, is_taken=is_taken)


def view_lock(settings: Settings) -> Lock:
    """Held by whoever writes the view of the study: one of all processes that search or sync it."""
    if settings.storage is None:
        return writer_lock(settings.folder)
    return DatabaseLock(settings.storage, f"autoopt view {settings.study}")


def finish_tracker(tracker: Tracker, outcome: Outcome, files: Sequence[Path], command: str) -> str:
    """The last word of a search, which `command` began: returns the hint for the terminal."""
    lacking = tracker.finish(outcome.standing, last_word(outcome, files, command))
    if not lacking:
        return f"review: {tracker.how_to_look}"
    return f"warning: MLflow lacks {lacking}: type autoopt sync study={outcome.study} when it is back"


def target_of(settings: Settings, study: Study) -> Target:
    """`settings` as the study was searched with: its task names the experiment."""
    return Target(
        uri=settings.tracking_uri or default_uri(settings.outputs),
        outputs=settings.outputs,
        task=settings.task,
        study=settings.study,
        identity=study.user_attrs[IDENTITY],
        kpis=settings.kpis,
        artifacts=partial(artifact.trial_folder, settings.folder),
        origin=origin_of(study, settings.task),
        note=partial(_note_so_far, settings, command_of(study)),
    )


def _note_so_far(settings: Settings, command: str, now: Standing) -> str:
    """While it is searched, out of what the tracker knows anyway: its thread does not open the study."""
    seconds = max((trial.ended_at_s for trial in now.trials), default=0.0)
    outcome = Outcome(
        study=settings.study,
        folder=settings.folder,
        standing=now,
        kpis=settings.kpis,
        facts=FACTS,
        exams={},
        finalists=settings.exam.finalists,
        stopped_by=None,
        seconds=seconds,
        between_trials={},
    )
    return note(outcome, command)


def last_word(outcome: Outcome, files: Sequence[Path], command: str) -> LastWord:
    """`files` are those of the report; a study that a kill or a signal cut short counts as killed."""
    return LastWord(
        note=note(outcome, command),
        files=[*files, outcome.folder / "config.yaml"],
        facts={
            "autoopt.stopped_by": outcome.stopped_by or "",
            "autoopt.champion": outcome.champion.number if outcome.champion and outcome.test else "",
        },
        status="KILLED" if outcome.stopped_by in (None, "interrupt") else "FINISHED",
        metrics=_champion_metrics(outcome),
        step=len(outcome.standing.trials) + len(outcome.exams),
    )


def _champion_metrics(outcome: Outcome) -> dict[str, float]:
    """On the parent run, so that studies beside each other compare: as a trial's own, and what its exam gave. None
    before it has passed: metrics stay.
    """
    champion = outcome.champion
    if champion is None or outcome.test is None:
        return {}
    found = {kpi.name: champion.measurements[kpi.name] for kpi in outcome.kpis}
    values = {name: m.value for name, m in found.items()}
    values |= {f"{kpi.name}_ratio": r for kpi in outcome.kpis if kpi.of_structure and (r := found[kpi.name].ratio)}
    values |= {"kpi_score": champion.score(outcome.kpis)}
    return {**values, f"test_{outcome.test['quality']}": outcome.test["value"]}
