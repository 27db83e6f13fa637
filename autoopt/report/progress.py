"""How a study's hypervolume grew.

Optuna's plot_hypervolume_history goes by trial number alone, counts no search time, and scales no axis: what latency
gains would drown what accuracy gains.
"""

from dataclasses import dataclass

from autoopt.core.front import Losses, dominates, hypervolume
from autoopt.core.trial import Trial
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
    baseline = outcome.standing.trials[0].measurements
    corner = tuple(kpi.reference_loss(baseline[kpi.name]) for kpi in kpis if kpi.objective)
    front: list[Losses] = []
    steps = [Step(0.0, 0, 0.0)]
    for count, trial in enumerate(trials, 1):
        if not trial.is_feasible(kpis):
            continue
        losses = _losses(outcome, trial)
        if losses in front or any(dominates(member, losses) for member in front):
            continue
        front = [member for member in front if not dominates(losses, member)] + [losses]
        steps.append(Step(trial.ended_at_s, count, hypervolume(front, corner)))
    return [*steps, Step(max(outcome.seconds, steps[-1].seconds), len(trials), steps[-1].volume)]


def _losses(outcome: Outcome, trial: Trial) -> Losses:
    return tuple(kpi.loss(trial.measurements[kpi.name]) for kpi in outcome.kpis if kpi.objective)
