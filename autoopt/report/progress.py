"""How a study's hypervolume grew.

Optuna's plot_hypervolume_history goes by trial number alone, counts no search time, and scales no axis: what latency
gains would drown what accuracy gains.
"""

from dataclasses import dataclass

from autoopt.core.front import Losses, joined
from autoopt.core.standing import losses, volume
from autoopt.report.outcome import Outcome


@dataclass(frozen=True)
class Step:
    """After `trials` trials and `seconds` of search."""

    seconds: float
    trials: int
    volume: float


def progress(outcome: Outcome) -> list[Step]:
    """From nothing to where the study stands, a step wherever the front grew."""
    kpis = outcome.kpis
    trials = sorted(outcome.standing.trials, key=lambda trial: (trial.ended_at_s, trial.number))
    if not trials or not outcome.standing.trials[0].measurements:
        return []
    front: list[Losses] = []
    steps = [Step(0.0, 0, 0.0)]
    for count, trial in enumerate(trials, 1):
        if not trial.is_feasible(kpis):
            continue
        grown = joined(front, losses(trial, kpis))
        if grown is None:
            continue
        front = grown
        steps.append(Step(trial.ended_at_s, count, volume(outcome.standing.trials[0], front, kpis)))
    return [*steps, Step(max(outcome.seconds, steps[-1].seconds), len(trials), steps[-1].volume)]
