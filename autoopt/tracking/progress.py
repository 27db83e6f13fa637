"""How a study stood at the end of each trial, as metrics of its parent run."""

from collections.abc import Collection, Iterator, Sequence

from mlflow.entities import Metric

from autoopt.core.front import Losses, joined
from autoopt.core.kpi import Kpi
from autoopt.core.standing import losses, volume
from autoopt.core.trial import COMPLETE, Trial
from autoopt.tracking.content import span_ms

PROGRESS = ("hypervolume", "feasible", "trials")


def progress(trials: Sequence[Trial], kpis: tuple[Kpi, ...], written: Collection[int]) -> Iterator[list[Metric]]:
    """One point of each of PROGRESS a trial; the step is the count of trials that had ended by then. Steps that are
    `written` are left out. The front is carried along: a study of thousands is read once, not once a trial.
    """
    front: list[Losses] = []
    feasible, hypervolume, first = 0, 0.0, None
    for step, trial in enumerate(_as_ended(trials), start=1):
        if trial.state == COMPLETE:
            moved = first is None or trial.number < first.number
            first = trial if first is None or moved else first
            if trial.is_feasible(kpis):
                feasible += trial.number > 0  # the baseline is no candidate, but may be on the front
                grown = joined(front, losses(trial, kpis))
                front, moved = (front, moved) if grown is None else (grown, True)
            hypervolume = volume(first, front, kpis) if moved else hypervolume
        if step not in written:
            ended = span_ms(trial)[1]
            values = zip(PROGRESS, (hypervolume, feasible, step), strict=True)
            yield [Metric(name, value, ended, step) for name, value in values]


def _as_ended(trials: Sequence[Trial]) -> list[Trial]:
    """Which is not as they were numbered: a recipe may wait while others run. The baseline is first."""
    return sorted(trials, key=lambda trial: (trial.number > 0, trial.ended_unix_s, trial.number))
