"""What promote may register: the study's champion, one of its trials, and its baseline."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna import Study

from autoopt.champion.card import make_card
from autoopt.champion.exam import taken_exams
from autoopt.champion.package import crown, examine, shipped_card, write_champion
from autoopt.commands.keeper import Keeper, worth_keeping
from autoopt.commands.searched import bench_of, ended_trial, examiner_of, outcome_of
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.artifact import CHAMPION
from autoopt.core.errors import ArtifactError, ConfigError, one_line
from autoopt.core.passwords import masked
from autoopt.core.recipe import BASELINE
from autoopt.core.trial import COMPLETE, Trial
from autoopt.core.user import user_name
from autoopt.measurements import FACTS
from autoopt.report.words import verdict
from autoopt.search.study import IDENTITY
from autoopt.tasks import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """What is to be registered: an artifact's folder, and the card that it gets."""

    trial: Trial
    folder: Path
    card: Mapping[str, Any]


def candidate(searched: Settings, study: Study, task: Task, force: str | None) -> Candidate:
    """The trial that is asked for, else the study's champion. `force`: why whatever speaks against it is passed over.
    Raises ConfigError.
    """
    return _champion(searched, study, task) if searched.trial is None else _trial(searched, study, task, force)


def fetch(searched: Settings, study: Study, task: Task) -> None:
    """The baseline and the artifacts of the front and of the trial that is asked for, where another machine has made
    them and this one lacks them: out of artifacts.uri.
    """
    if searched.store is None:
        return
    standing = outcome_of(searched, study).standing
    wanted = worth_keeping(standing) | {searched.trial}
    trials = [trial for trial in standing.trials if trial.number in wanted and trial.state == COMPLETE and trial.number]
    lacking = [t for t in trials if not artifact.is_whole(artifact.trial_folder(searched.folder, t.number))]
    if lacking or not artifact.is_whole(searched.folder / "baseline"):
        keeper = Keeper(bench_of(searched, study, task), searched)
        for trial in lacking:
            if why := keeper.missing(trial):
                log.warning("the artifact of trial %d %s", trial.number, why)


def _champion(searched: Settings, study: Study, task: Task) -> Candidate:
    """The study's own, after the finalists took their exams if none has. Raises ConfigError."""
    outcome, folder = outcome_of(searched, study), searched.folder / CHAMPION
    if outcome.test is None and outcome.champion is not None:
        bench = examiner_of(searched, study, task)
        with bench.quiet.working():
            crown(searched.folder, study, outcome.standing.front, bench, searched.kpis, searched.exam)
        outcome = outcome_of(searched, study)
    champion = outcome.champion
    if champion is None or outcome.test is None:
        raise ConfigError(
            f"study {searched.study!r} has nothing to promote. {verdict(outcome)} To promote a trial all the "
            "same, type trial=N --force='why'"
        )
    number = champion.number
    if _trial_in(folder) != number and artifact.is_whole(artifact.trial_folder(searched.folder, number)):
        write_champion(searched.folder, study, outcome.standing.front, task)  # a kill came first, or it was removed
    if _trial_in(folder) != number:
        raise ArtifactError(
            f"trial {number} is the champion of study {searched.study!r}, but {folder} does not hold it, and its "
            f"artifact is damaged or gone: type autoopt reproduce study={searched.study} trial={number}, which makes "
            f"it again, or promote from outputs={searched.outputs} of the machine that searched"
        )
    return _of_folder(searched, study, champion, folder)


def _trial_in(folder: Path) -> int | None:
    """As its card says; None where there is none that can be read."""
    try:
        return int(json.loads((folder / artifact.CARD).read_bytes())["trial"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _of_folder(searched: Settings, study: Study, trial: Trial, folder: Path) -> Candidate:
    try:
        card = shipped_card(folder, trial, study)
    except ArtifactError as error:
        raise ArtifactError(f"{error}: it is not promoted; the same search again writes it anew") from error
    return Candidate(trial, folder, card)


def _trial(searched: Settings, study: Study, task: Task, force: str | None) -> Candidate:
    """One of its trials, after its exam. Raises ConfigError where something speaks against it and nobody forces it."""
    outcome, number = outcome_of(searched, study), int(searched.trial or 0)
    trial, folder = ended_trial(outcome, number), artifact.trial_folder(searched.folder, number)
    if trial.state != COMPLETE:
        reason = one_line(ValueError(trial.reason))
        raise ConfigError(f"trial {number} has nothing to promote: it ended as {trial.state} ({reason})")
    if number == 0:
        raise ConfigError(
            "trial 0 is the baseline, which is registered as the backup of whatever is promoted: type trial=N with "
            "another N, or leave it out"
        )
    if not folder.exists():
        raise ConfigError(
            f"the artifact of trial {number} is not kept any more: type autoopt reproduce study={searched.study} "
            f"trial={number}, which makes it again"
        )
    _of_folder(searched, study, trial, folder)
    blocking = trial.blocking(searched.kpis)
    over = [f"it breaks the bounds on {', '.join(blocking)}"] if blocking else []
    _refuse(number, over, force)
    if number not in taken_exams(study):
        bench = examiner_of(searched, study, task)
        with bench.quiet.working():
            examine(searched.folder, study, trial, bench, searched.kpis, searched.exam)
        write_champion(searched.folder, study, outcome.standing.front, task)  # it may be the best that has passed now
    exam = taken_exams(study)[number]
    over += [] if exam["passed"] else [f"its final exam failed by {', '.join(exam['broken'])}"]
    _refuse(number, over, force)
    found = _of_folder(searched, study, trial, folder)
    if not over:
        return found
    assert force is not None  # else it was refused
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    forced = {"by": user_name() or "unknown", "at": now, "why": masked(force), "over": "; ".join(over)}
    return replace(found, card={**found.card, "forced": forced})


def _refuse(number: int, over: list[str], force: str | None) -> None:
    if over and force is None:
        raise ConfigError(
            f"trial {number} is not promoted: {'; '.join(over)}. To ship it all the same, which is recorded, type "
            "--force='why'"
        )


def baseline(searched: Settings, study: Study, task: Task) -> Candidate:
    """What every ratio refers to, with a card like a trial's: those of the first trial are its own measurements."""
    folder = searched.folder / "baseline"
    try:
        artifact.verify(folder)
    except ArtifactError as error:
        raise ArtifactError(f"{error}: nothing is promoted without a backup; the same search again mends it") from error
    trial = ended_trial(outcome_of(searched, study), 0)
    assert trial.evaluation is not None
    card = make_card(
        task=task,
        recipe=BASELINE,
        model=folder / artifact.MODEL,
        evaluation=trial.evaluation,
        kpis=searched.kpis,
        facts=FACTS,
        runtime=searched.runtimes[0],
        baseline_runtime=searched.runtimes[0],
        threads=searched.runtime_threads,
        seed=searched.seed,
        study=searched.study,
        trial=0,
        provider=searched.provider,
    )
    lineage = {
        "study_id": study.user_attrs[IDENTITY],
        "teacher": json.loads((folder / artifact.CARD).read_text())["teacher"],
    }
    return Candidate(replace(trial, recipe=BASELINE), folder, {**card, "lineage": lineage})
