"""What mattered: the importance of each knob for each KPI, and how much of it chance would give."""

import random
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import optuna
from optuna.trial import FrozenTrial

from autoopt.core.trial import COMPLETE
from autoopt.report.outcome import Outcome

LEAST_TRIALS = 20
BEST_SHARE = 0.25
"""A knob matters where it tells the best quarter from all: of 20 trials that is 5, which the method asks for."""
SHUFFLES = 19
"""Chance is the largest importance of so many shuffles: 1 of 20 knobs that do nothing exceeds it."""
MOST_TRIALS = 300
"""Of more, so many are drawn: the importances take seconds, not minutes."""
SHOWN = 8


@dataclass(frozen=True)
class Knob:
    name: str
    share: float
    """Of what all knobs have beyond the mean of chance."""
    above_chance: bool


def importances(outcome: Outcome) -> dict[str, list[Knob]]:
    """The most important knobs of each KPI, by conditional PED-ANOVA, which takes knobs that only some recipes have
    (https://arxiv.org/abs/2601.20800). Empty where too few trials are complete.

    Siblings are left out: they share all knobs but the scheme, and would count one training several times. So are knobs
    that fewer than LEAST_TRIALS trials have: the density of a handful is far from the others' by chance alone.
    """
    asked = _asked(outcome)
    if len(asked) < LEAST_TRIALS:
        return {}
    measured = {trial.number: trial.measurements for trial in outcome.standing.trials}
    found = {}
    for kpi in outcome.kpis:
        losses = {t.number: kpi.loss(measured[t.number][kpi.name]) for t in asked if kpi.name in measured[t.number]}
        if len(losses) >= LEAST_TRIALS and len(set(losses.values())) > 1:
            found[kpi.name] = _of_kpi(asked, losses)
    return found


def how_many(outcome: Outcome) -> int:
    """Trials that importances are of."""
    return len(_asked(outcome))


def _asked(outcome: Outcome) -> list[FrozenTrial]:
    """Optuna's trials that are complete, have knobs, and have weights of their own; without the baseline."""
    own = {t.number for t in outcome.standing.trials if t.state == COMPLETE and t.sibling_of is None and t.number > 0}
    found = [trial for trial in outcome.asked if trial.number in own and trial.params]
    return random.Random(0).sample(found, MOST_TRIALS) if len(found) > MOST_TRIALS else found


def _of_kpi(asked: list[FrozenTrial], losses: Mapping[int, float]) -> list[Knob]:
    study = optuna.create_study(directions=["minimize"] * len(asked[0].values))
    study.add_trials([trial for trial in asked if trial.number in losses])
    having = Counter(name for trial in study.get_trials(deepcopy=False) for name in trial.params)
    names = [name for name, count in having.items() if count >= LEAST_TRIALS]
    in_order = [losses[trial.number] for trial in asked if trial.number in losses]
    real, draw = _evaluated(study, names, in_order), random.Random(0)
    shuffled = [_evaluated(study, names, draw.sample(in_order, len(in_order))) for _ in range(SHUFFLES)]
    more = {name: max(0.0, real[name] - fmean(chance[name] for chance in shuffled)) for name in names}
    whole = sum(more.values()) or 1.0
    knobs = [
        Knob(name, share / whole, real[name] > max(chance[name] for chance in shuffled)) for name, share in more.items()
    ]
    return sorted(knobs, key=lambda knob: (-knob.share, knob.name))[:SHOWN]


def _evaluated(study: optuna.Study, names: list[str], losses: list[float]) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator  # brings scikit-learn, which costs a second or three

    def target(trial: FrozenTrial) -> float:
        return losses[trial.number]  # numbered anew, in their order

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that low is good, which it is, and that some cases have few trials
        return PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE).evaluate(study, names, target=target)


def knob_name(parameter: str) -> str:
    """'epochs[cnn]' is 'epochs of cnn'."""
    name, _, case = parameter.partition("[")
    return f"{name} of {case.rstrip(']')}" if case else name
