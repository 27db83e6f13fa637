"""The champion's folder."""

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna import Study

from autoopt.champion.exam import final_exam, judge_again, taken_exams
from autoopt.champion.finalists import finalists
from autoopt.champion.fresh import measure_fresh
from autoopt.champion.model_card import card_file
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError, TrialError
from autoopt.core.exam import ExamRules, best_passed
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.rows import spread
from autoopt.core.trial import Trial
from autoopt.pipeline import Bench
from autoopt.runtimes import Session
from autoopt.search.study import FINGERPRINT, IDENTITY
from autoopt.tasks import Task

ROWS = 2000  # inputs are sent to another process: so many are enough to time calls
log = logging.getLogger(__name__)


def crown(
    folder: Path, study: Study, front: Sequence[Trial], bench: Bench, kpis: tuple[Kpi, ...], rules: ExamRules
) -> Path | None:
    """Have the finalists take their exams until one passes, and write the champion: see `write_champion`. Whose
    artifact is damaged or gone cannot take part.
    """
    judge_again(study, rules.rule)
    front = _whole(folder, front)
    for trial in finalists(folder, front, taken_exams(study), bench, kpis, rules):
        try:
            if examine(folder, study, trial, bench, kpis, rules)["passed"]:
                break
        except TrialError as error:  # no verdict: it may be taken another time
            log.warning("trial %d cannot take its exam: %s", trial.number, error)
    return write_champion(folder, study, front, bench.task)


def examine(
    folder: Path, study: Study, trial: Trial, bench: Bench, kpis: tuple[Kpi, ...], rules: ExamRules
) -> dict[str, Any]:
    """The final exam of a trial whose artifact is there. Raises TrialError where that cannot be served."""
    model = artifact.trial_folder(folder, trial.number) / artifact.MODEL
    again = partial(_measure_again, bench, model, trial.recipe, rules)
    return final_exam(
        study, trial.number, partial(_open, bench, model, trial.recipe), bench.task, kpis, rules.rule, again
    )


def write_champion(folder: Path, study: Study, front: Sequence[Trial], task: Task) -> Path | None:
    """Write the best of the front that has passed, in an earlier session maybe, into `folder`/champion: its artifact,
    the exam on the card. None where none has: then a champion that is not on the front any more goes.
    """
    best = best_passed(_whole(folder, front), taken_exams(study))
    if best is None:
        shutil.rmtree(folder / artifact.CHAMPION, ignore_errors=True)
        return None
    return _write(folder / artifact.CHAMPION, artifact.trial_folder(folder, best.number), best, study, task)


def shipped_card(source: Path, trial: Trial, study: Study) -> dict[str, Any]:
    """The card of a trial's artifact in `source` with its exam, where it has taken one, and where it comes from."""
    exam = taken_exams(study).get(trial.number)
    lineage = {"study_id": study.user_attrs[IDENTITY], "teacher": study.user_attrs[FINGERPRINT]["teacher"]["weights"]}
    return {**artifact.verify(source), **({"test": exam} if exam else {}), "lineage": lineage}


def _whole(folder: Path, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if artifact.is_whole(artifact.trial_folder(folder, trial.number))]


def _measure_again(bench: Bench, model: Path, recipe: Recipe, rules: ExamRules) -> dict[str, Measurement]:
    inputs = bench.task.validation.inputs
    with bench.quiet.measuring():
        return measure_fresh(
            model,
            bench.baseline_path,
            inputs[spread(len(inputs), ROWS)].numpy(),
            runtime=bench.runtime_of(recipe),
            baseline_runtime=bench.runtime_of(BASELINE),
            threads=bench.conditions["threads"],
            provider=bench.provider,
            options=bench.measuring,
            drift=bench.drift.share,
            rules=rules,
        )


def _open(bench: Bench, model: Path, recipe: Recipe) -> tuple[Session, Session]:
    """The artifact and the baseline, each in its runtime. Raises TrialError where the artifact is damaged."""
    try:
        artifact.verify(model.parent)
    except ArtifactError as error:
        raise TrialError(str(error)) from error
    return bench.open_session(model, recipe), bench.open_session(bench.baseline_path)


def _write(target: Path, source: Path, trial: Trial, study: Study, task: Task) -> Path:
    """A champion folder that is there and whole is left alone."""
    card = shipped_card(source, trial, study)
    try:
        if artifact.verify(target) == card:
            return target
    except ArtifactError:
        pass  # none yet, or another trial's, half written
    return artifact.write(target, source / artifact.MODEL, trial.recipe, card, {**task.files, **card_file(card)})
