"""The final exam: the test split, read once, for the champion and the baseline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Study

from autoopt.core.kpi import Kpi, Measurement
from autoopt.measurements.quality import predict
from autoopt.runtimes import Session
from autoopt.tasks import Task
from autoopt.tasks.goal import CLASSIFICATION

EXAM = "autoopt_exam_"  # and the trial's number: a user attribute of the study


def _agreement(task: Task, mine: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """Of classes: on which share of the inputs both answer the same."""
    agree = (mine.argmax(1) == base.argmax(1)).mean()
    return {"agreement_with_baseline": float(agree)} if task.goal.kind == CLASSIFICATION else {}


def taken_exam(study: Study, trial: int) -> dict[str, Any] | None:
    """The result of a trial's exam, None where it was never taken."""
    taken = study.user_attrs.get(f"{EXAM}{trial}")
    return None if taken is None else dict(taken)


def final_exam(
    study: Study,
    trial: int,
    path: Path,
    baseline_path: Path,
    task: Task,
    kpis: tuple[Kpi, ...],
    open_session: Callable[[Path], Session],
) -> dict[str, Any]:
    """Quality of both on the test split; passed where every quality bound holds there too, as a point estimate.

    The result is kept in the study: asked again for the same trial, it is answered from there and the split stays
    unread.
    """
    taken = taken_exam(study, trial)
    if taken is not None:
        return taken
    targets = task.test.targets.numpy()
    mine, base = (predict(open_session(model), task.test.inputs.numpy()) for model in (path, baseline_path))
    metric = task.goal.metric
    measured = Measurement(float(metric.score(mine, targets)), float(metric.score(base, targets)))
    broken = [
        f"{kpi.name}.{kind}"
        for kpi in kpis
        if kpi.name == metric.name
        for kind, v in kpi.violations(measured).items()
        if v > 0
    ]
    assert measured.baseline is not None
    result = {
        "quality": metric.name,
        "value": measured.value,
        "baseline": measured.baseline,
        "drop": measured.baseline - measured.value,
        **_agreement(task, mine, base),
        "size": len(targets),
        "passed": not broken,
        "broken": broken,
    }
    study.set_user_attr(f"{EXAM}{trial}", json.loads(json.dumps(result)))
    return result
