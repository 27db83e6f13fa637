"""The final exam: the test split, read once for each finalist and the baseline, and speed in a fresh process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna import Study

from autoopt.champion.statistics import drop_interval, mcnemar, share_interval
from autoopt.core.errors import TrialError
from autoopt.core.exam import UPPER_LIMIT
from autoopt.core.kpi import Interval, Kpi, Measurement, Measurements
from autoopt.measurements import OF_QUALITY
from autoopt.measurements.classes import recalls
from autoopt.measurements.quality import FEWEST_ROWS, places, predict, scores
from autoopt.runtimes import Session
from autoopt.tasks import Split, Task
from autoopt.tasks.goal import CLASSIFICATION


@dataclass(frozen=True)
class Judged:
    """Quality on one split."""

    found: dict[str, Measurement]
    """What was measured."""
    drops: dict[str, Interval]
    """95%, of each metric."""
    judged: dict[str, Measurement]
    """What the bounds are held against: a metric at the far end of its drop, or where it was measured."""


EXAM = "autoopt_exam_"  # and the trial's number: a user attribute of the study


def taken_exams(study: Study) -> dict[int, dict[str, Any]]:
    """The results of all exams that were taken, by trial: nobody can take one again, or hide one."""
    found = {key: value for key, value in study.user_attrs.items() if key.startswith(EXAM)}
    return {int(key.removeprefix(EXAM)): dict(value) for key, value in found.items()}


def final_exam(
    study: Study,
    trial: int,
    open_sessions: Callable[[], tuple[Session, Session]],
    task: Task,
    kpis: tuple[Kpi, ...],
    rule: str,
    measure_again: Callable[[], Measurements],
) -> dict[str, Any]:
    """Quality of both on the test split, and what `measure_again` gives. `open_sessions` opens the trial's artifact and
    the baseline.

    Passed where every bound on quality holds there too, metrics by the rule (see ExamRules), and no bound on speed is
    broken by more than the spread. The result is kept in the study: asked again for the same trial, it is answered from
    there and the split stays unread.
    """
    taken = taken_exams(study).get(trial)
    if taken is not None:
        return taken
    targets, metric = task.test.targets.numpy(), task.goal.metric.name
    mine, base = (predict(session, task.test.inputs.numpy()) for session in open_sessions())
    quality = judge(mine, base, task.test, task, rule)
    value, baseline = quality.found[metric].value, quality.found[metric].baseline or 0.0
    fresh, trouble = _again(measure_again)
    broken = broken_bounds(quality.judged, kpis)
    unknown = [kpi.name for kpi in kpis if kpi.name in OF_QUALITY and kpi.name not in quality.judged and kpi.bounds()]
    broken += [f"{name} is not known on the test split" for name in unknown]
    broken += [
        f"{name} in a fresh process"
        for kpi in kpis
        if kpi.name in fresh
        for name in _broken(kpi, kpi.certain_violations(fresh[kpi.name]))
    ]
    broken += trouble
    result = {
        "quality": metric,
        "value": value,
        "baseline": baseline,
        "drop": baseline - value,
        "drop_95": list(quality.drops[metric]),
        "scores": {name: m.to_dict() for name, m in quality.found.items()},
        "slices": _by_slice(mine, base, targets, task),
        **(_of_classes(mine, base, targets, task) if task.goal.kind == CLASSIFICATION else {}),
        "size": len(targets),
        "fresh": {name: m.to_dict() for name, m in fresh.items()},
        "rule": rule,
        "passed": not broken,
        "broken": broken,
    }
    study.set_user_attr(f"{EXAM}{trial}", json.loads(json.dumps(result)))
    return result


def _again(measure: Callable[[], Measurements]) -> tuple[dict[str, Measurement], list[str]]:
    """What it gives, and what is broken where a fresh process cannot serve the model: the next finalist is asked."""
    try:
        return dict(measure()), []
    except TrialError as error:
        return {}, [str(error)]


def judge(mine: np.ndarray, base: np.ndarray, split: Split, task: Task, rule: str) -> Judged:
    """Outputs (n, k) of artifact and baseline on a split, by an exam's rule."""
    targets = split.targets.numpy()
    found = scores(mine, base, targets, task.goal.metrics, split.slices)
    drops = {metric.name: drop_interval(metric, mine, base, targets) for metric in task.goal.metrics}
    return Judged(found, drops, found | {name: _by_rule(found[name], drop[1], rule) for name, drop in drops.items()})


def broken_bounds(judged: Measurements, kpis: tuple[Kpi, ...]) -> list[str]:
    """`name.kind` of each bound of theirs that is broken."""
    return [name for kpi in kpis if kpi.name in judged for name in _broken(kpi, kpi.violations(judged[kpi.name]))]


def _by_rule(found: Measurement, largest_drop: float, rule: str) -> Measurement:
    base = found.baseline or 0.0
    return Measurement(base - largest_drop, base) if rule == UPPER_LIMIT else found


def _broken(kpi: Kpi, violations: dict[str, float]) -> list[str]:
    return [f"{kpi.name}.{kind}" for kind, violation in violations.items() if violation > 0]


def _of_classes(mine: np.ndarray, base: np.ndarray, targets: np.ndarray, task: Task) -> dict[str, Any]:
    """The shares that are right with their 95% intervals, whether they differ, and the recall of each class."""
    right = [outputs.argmax(1) == targets for outputs in (mine, base)]
    return {
        "accuracy_95": list(share_interval(int(right[0].sum()), len(targets))),
        "baseline_accuracy_95": list(share_interval(int(right[1].sum()), len(targets))),
        "mcnemar_p": mcnemar(*right),
        "classes": _by_class(mine, base, targets, task),
    }


def _by_slice(mine: np.ndarray, base: np.ndarray, targets: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """The task's metric of both in each slice of FEWEST_ROWS, the one that lost most first."""
    score = task.goal.metric.score
    table = [
        {
            "slice": name,
            "rows": len(rows),
            "value": float(score(mine[rows], targets[rows])),
            "baseline": float(score(base[rows], targets[rows])),
        }
        for name, rows in places(task.test.slices).items()
        if len(rows) >= FEWEST_ROWS
    ]
    return sorted(table, key=lambda row: row["value"] - row["baseline"])


def _by_class(mine: np.ndarray, base: np.ndarray, targets: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """Recall of both in each class that has rows, the one that lost most first."""
    rows = np.bincount(targets, minlength=task.classes)
    found = zip(
        task.class_names, rows.tolist(), recalls(mine, targets).tolist(), recalls(base, targets).tolist(), strict=True
    )
    table = [{"class": name, "rows": n, "recall": own, "baseline": theirs} for name, n, own, theirs in found if n]
    return sorted(table, key=lambda row: float(row["recall"]) - float(row["baseline"]))
