"""What search and sync have in common: of which study the view is, and what its parent run says in the end."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from optuna import Study

from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.quiet import QuietMachine
from autoopt.core.standing import standing
from autoopt.report.note import note
from autoopt.report.outcome import Outcome
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
    lock, is_taken = writer_lock(settings.folder), QuietMachine().is_taken
    return Tracker(target_of(settings, study), lock, now, say=say, is_taken=is_taken)


def finish_tracker(tracker: Tracker, outcome: Outcome, files: Sequence[Path]) -> str:
    """The last word of a search: returns the hint for the terminal."""
    lacking = tracker.finish(outcome.standing, last_word(outcome, files))
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
    )


def last_word(outcome: Outcome, files: Sequence[Path]) -> LastWord:
    """`files` are those of the report; a study that a kill or a signal cut short counts as killed."""
    return LastWord(
        note=note(outcome),
        files=[*files, outcome.folder / "config.yaml"],
        facts={
            "autoopt.stopped_by": outcome.stopped_by or "",
            "autoopt.champion": outcome.champion.number if outcome.champion else "",
        },
        status="KILLED" if outcome.stopped_by in (None, "interrupt") else "FINISHED",
    )
