"""The champion's folder."""

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from optuna import Study

from autoopt.champion.exam import final_exam, judge_again, taken_exams
from autoopt.champion.finalists import finalists
from autoopt.champion.fresh import measure_fresh
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError, TrialError
from autoopt.core.exam import ExamRules, best_passed
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.rows import spread
from autoopt.core.trial import Trial
from autoopt.pipeline import Bench
from autoopt.runtimes import Session

CHAMPION, ROWS = "champion", 2000  # inputs are sent to another process: so many are enough to time calls
log = logging.getLogger(__name__)


def crown(
    folder: Path, study: Study, front: Sequence[Trial], bench: Bench, kpis: tuple[Kpi, ...], rules: ExamRules
) -> Path | None:
    """Have the finalists take their exams until one passes, and write the best of the front that has passed, in an
    earlier session maybe, into `folder`/champion: its artifact, the exam on the card. None where none has: then a
    champion that is not on the front any more goes. Whose artifact is damaged or gone cannot take part.
    """
    judge_again(study, rules.rule)
    front = [trial for trial in front if artifact.is_whole(artifact.trial_folder(folder, trial.number))]
    for trial in finalists(folder, front, taken_exams(study), bench, kpis, rules):
        model = artifact.trial_folder(folder, trial.number) / artifact.MODEL
        again = partial(_measure_again, bench, model, trial.recipe, rules)
        opened = partial(_open, bench, model, trial.recipe)
        try:
            if final_exam(study, trial.number, opened, bench.task, kpis, rules.rule, again)["passed"]:
                break
        except TrialError as error:  # no verdict: it may be taken another time
            log.warning("trial %d cannot take its exam: %s", trial.number, error)
    exams = taken_exams(study)
    best = best_passed(front, exams)
    if best is None:
        shutil.rmtree(folder / CHAMPION, ignore_errors=True)
        return None
    source = artifact.trial_folder(folder, best.number)
    card = {**artifact.verify(source), "test": exams[best.number]}
    return _write(folder / CHAMPION, source, best, card, bench)


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


def _write(target: Path, source: Path, trial: Trial, card: dict[str, object], bench: Bench) -> Path:
    """A champion folder that is there and whole is left alone."""
    try:
        if artifact.verify(target) == card:
            return target
    except ArtifactError:
        pass  # none yet, or another trial's, half written
    return artifact.write(target, source / artifact.MODEL, trial.recipe, card, bench.task.files)
