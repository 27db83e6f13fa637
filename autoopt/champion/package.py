"""The champion's folder."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from optuna import Study

from autoopt.champion.exam import final_exam, taken_exams
from autoopt.champion.finalists import finalists
from autoopt.champion.fresh import measure_fresh
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError
from autoopt.core.exam import ExamRules
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.trial import Trial
from autoopt.pipeline import Bench
from autoopt.runtimes import Session

CHAMPION = "champion"


def crown(
    folder: Path, study: Study, front: Sequence[Trial], bench: Bench, kpis: tuple[Kpi, ...], rules: ExamRules
) -> Path | None:
    """Have the finalists take their exams until one passes, or else take who has passed before, and write
    `folder`/champion: its artifact, the exam on the card. None where none passes: then a champion of an earlier
    session, which is beaten by what failed, goes.
    """
    taken = taken_exams(study)
    passed = [trial for trial in front if taken.get(trial.number, {}).get("passed")]
    for trial in [*finalists(folder, front, bench, kpis, rules), *passed[:1]]:
        source = artifact.trial_folder(folder, trial.number)
        model = source / artifact.MODEL
        again = partial(_measure_again, bench, model, trial.recipe, rules)
        opened = partial(_open, bench, model, trial.recipe)
        test = final_exam(study, trial.number, opened, bench.task, kpis, rules.rule, again)
        if test["passed"]:
            return _write(folder / CHAMPION, source, trial, {**artifact.verify(source), "test": test}, bench)
    shutil.rmtree(folder / CHAMPION, ignore_errors=True)
    return None


def _measure_again(bench: Bench, model: Path, recipe: Recipe, rules: ExamRules) -> dict[str, Measurement]:
    with bench.quiet.measuring():
        return measure_fresh(
            model,
            bench.baseline_path,
            bench.task.validation.inputs.numpy(),
            runtime=bench.runtime_of(recipe),
            baseline_runtime=bench.runtime_of(BASELINE),
            threads=bench.conditions["threads"],
            options=bench.measuring,
            drift=bench.drift.share,
            rules=rules,
        )


def _open(bench: Bench, model: Path, recipe: Recipe) -> tuple[Session, Session]:
    """The artifact and the baseline, each in its runtime."""
    return bench.open_session(model, recipe), bench.open_session(bench.baseline_path)


def _write(target: Path, source: Path, trial: Trial, card: dict[str, object], bench: Bench) -> Path:
    """A champion folder that is there and whole is left alone."""
    try:
        if artifact.verify(target) == card:
            return target
    except ArtifactError:
        pass  # none yet, or another trial's, half written
    return artifact.write(target, source / artifact.MODEL, trial.recipe, card, bench.task.files)
