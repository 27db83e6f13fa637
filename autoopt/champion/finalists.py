"""Whom the final exam asks, and in which order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoopt.champion.exam import broken_bounds, judge
from autoopt.core import artifact
from autoopt.core.errors import TrialError
from autoopt.core.exam import POINT, ExamRules
from autoopt.core.kpi import Kpi
from autoopt.core.trial import Trial
from autoopt.measurements.quality import predict
from autoopt.pipeline import Bench


def finalists(
    folder: Path,
    front: Sequence[Trial],
    taken: Mapping[int, Mapping[str, Any]],
    bench: Bench,
    kpis: tuple[Kpi, ...],
    rules: ExamRules,
) -> list[Trial]:
    """`rules.finalists` of the front at most, by kpi_score; those first for whom the exam's rule holds on the
    validation split, too: for who fails there it is luck to pass, and each exam reads the test split once more. Exams
    that were `taken`, by trial, say it themselves.
    """
    if rules.rule == POINT:  # it holds for all of them: the front is feasible
        return list(front[: rules.finalists])
    sure: list[Trial] = []
    doubtful: list[Trial] = []
    for trial in front:
        known = taken.get(trial.number)
        holds = _holds(folder, trial, bench, kpis, rules) if known is None else not known["broken_by_rule"][rules.rule]
        (sure if holds else doubtful).append(trial)
        if len(sure) == rules.finalists:
            break
    return [*sure, *doubtful][: rules.finalists]


def _holds(folder: Path, trial: Trial, bench: Bench, kpis: tuple[Kpi, ...], rules: ExamRules) -> bool:
    split = bench.task.validation
    try:
        session = bench.open_session(artifact.trial_folder(folder, trial.number) / artifact.MODEL, trial.recipe)
        mine = predict(session, split.inputs.numpy())
    except TrialError:  # its exam would say so
        return False
    return not broken_bounds(judge(mine, bench.baseline_outputs, split, bench.task, kpis).by_rule(rules.rule), kpis)
