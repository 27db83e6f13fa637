"""The final exam: the test split, read once for each finalist and the baseline, and speed in a fresh process."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna import Study

from autoopt.champion.statistics import drop_interval, mcnemar, share_interval
from autoopt.core.errors import Killed, TrialError
from autoopt.core.exam import RULES, UPPER_LIMIT
from autoopt.core.kpi import Interval, Kpi, Measurement, Measurements
from autoopt.measurements import OF_QUALITY
from autoopt.measurements.classes import recalls
from autoopt.measurements.quality import large_slices, predict, scores
from autoopt.runtimes import Session
from autoopt.tasks import Split, Task
from autoopt.tasks.goal import CLASSIFICATION


@dataclass(frozen=True)
class Judged:
    """Quality on one split."""

    found: dict[str, Measurement]
    drops: dict[str, Interval | None]
    """95%, of metrics; None where the metric is not defined on what a bootstrap draws."""

    def by_rule(self, rule: str) -> dict[str, Measurement]:
        """What the bounds are held against: metrics at the far end of their drops, or all where it was measured. What
        is not known breaks each bound.
        """
        if rule != UPPER_LIMIT:
            return self.found
        largest = {name: math.nan if drop is None else drop[1] for name, drop in self.drops.items()}
        base = {name: self.found[name].baseline or 0.0 for name in largest}
        return self.found | {name: Measurement(base[name] - largest[name], base[name]) for name in largest}


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
    broken by more than the spread. The result is kept in the study: asked again for the same trial, by another rule
    too, it is answered from there and the split stays unread.
    """
    known = taken_exams(study).get(trial) or _take(open_sessions, task, kpis, measure_again)
    return _judged(study, trial, known, rule)


def judge_again(study: Study, rule: str) -> None:
    """All exams that were taken, by another rule maybe; the test split stays unread."""
    for trial, known in taken_exams(study).items():
        if known["rule"] != rule:
            _judged(study, trial, known, rule)


def _judged(study: Study, trial: int, known: dict[str, Any], rule: str) -> dict[str, Any]:
    broken = known["broken_by_rule"][rule]
    result = {**known, "rule": rule, "passed": not broken, "broken": broken}
    study.set_user_attr(f"{EXAM}{trial}", json.loads(json.dumps(result)))
    return result


def _take(
    open_sessions: Callable[[], tuple[Session, Session]],
    task: Task,
    kpis: tuple[Kpi, ...],
    measure_again: Callable[[], Measurements],
) -> dict[str, Any]:
    """What the test split and a fresh process say, and what is broken by each of the rules."""
    targets, metric = task.test.targets.numpy(), task.goal.metric.name
    mine, base = (predict(session, task.test.inputs.numpy()) for session in open_sessions())
    quality = judge(mine, base, task.test, task, kpis)
    value, baseline = quality.found[metric].value, quality.found[metric].baseline or 0.0
    fresh, trouble = _again(measure_again)
    unknown = [kpi.name for kpi in kpis if kpi.name in OF_QUALITY and kpi.name not in quality.found and kpi.bounds()]
    trouble += [f"{name} is not known on the test split" for name in unknown]
    trouble += [
        f"{name} in a fresh process"
        for kpi in kpis
        if kpi.name in fresh
        for name in _broken(kpi, kpi.certain_violations(fresh[kpi.name]))
    ]
    interval = quality.drops[metric]
    return {
        "quality": metric,
        "value": value,
        "baseline": baseline,
        "drop": baseline - value,
        "drop_95": interval and list(interval),
        "scores": {name: m.to_dict() for name, m in quality.found.items()},
        "slices": _by_slice(mine, base, targets, task),
        **(_of_classes(mine, base, targets, task) if task.goal.kind == CLASSIFICATION else {}),
        "size": len(targets),
        "fresh": {name: m.to_dict() for name, m in fresh.items()},
        "broken_by_rule": {rule: [*broken_bounds(quality.by_rule(rule), kpis), *trouble] for rule in RULES},
    }


def _again(measure: Callable[[], Measurements]) -> tuple[dict[str, Measurement], list[str]]:
    """What it gives, and what is broken where a fresh process cannot serve the model: the next finalist is asked."""
    try:
        return dict(measure()), []
    except Killed:
        raise
    except (TrialError, OSError) as error:  # the disk may be full
        return {}, [str(error)]


def judge(mine: np.ndarray, base: np.ndarray, split: Split, task: Task, kpis: tuple[Kpi, ...]) -> Judged:
    """Outputs (n, k) of artifact and baseline on a split; the drops are of the task's metric and of those with KPIs."""
    targets, asked = split.targets.numpy(), {task.goal.metric.name, *(kpi.name for kpi in kpis)}
    found = scores(mine, base, targets, task.goal.metrics, split.slices)
    metrics = [metric for metric in task.goal.metrics if metric.name in asked]
    return Judged(found, {metric.name: drop_interval(metric, mine, base, targets) for metric in metrics})


def broken_bounds(judged: Measurements, kpis: tuple[Kpi, ...]) -> list[str]:
    """`name.kind` of each bound of theirs that is broken."""
    return [name for kpi in kpis if kpi.name in judged for name in _broken(kpi, kpi.violations(judged[kpi.name]))]


def _broken(kpi: Kpi, violations: dict[str, float]) -> list[str]:
    return [f"{kpi.name}.{kind}" for kind, violation in violations.items() if not violation <= 0]


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
    """The task's metric of both in each large slice, the one that lost most first."""
    score = task.goal.metric.score
    table = [
        {
            "slice": name,
            "rows": len(rows),
            "value": float(score(mine[rows], targets[rows])),
            "baseline": float(score(base[rows], targets[rows])),
        }
        for name, rows in large_slices(task.test.slices).items()
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
