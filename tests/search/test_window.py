"""Samplers on studies that are longer than what they look at."""

import random
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.search.window import NEAREST, Bounded


class Spy(RandomSampler):
    """Notes which trials it was shown."""

    def sample_independent(self, study: Any, trial: FrozenTrial, *given: Any) -> Any:
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        self.seen = [t.number for t in study._get_trials(deepcopy=False, states=states) if t.number != trial.number]
        return super().sample_independent(study, trial, *given)


def study_of(values: list[tuple[float, float]], violation: float = -1.0) -> optuna.Study:
    study = optuna.create_study(directions=["minimize", "minimize"])
    for place, pair in enumerate(values):
        x = {"x": place / len(values)}
        told = {"constraints": {"bound": violation + place * (violation > 0)}, "values": pair}
        study.add_trial(create_trial(params=x, distributions={"x": FloatDistribution(0, 1)}, **told))
    return study


def proposals(study: optuna.Study, sampler: BaseSampler, count: int) -> list[float]:
    study.sampler = sampler
    found = []
    for _ in range(count):
        asked = study.ask()
        found.append(asked.suggest_float("x", 0, 1))
        study.tell(asked, (found[-1], 1 - found[-1] ** 2))
    return found


@pytest.mark.parametrize("multivariate", [False, True])
def test_a_study_that_fits_is_proposed_for_as_without_a_bound(multivariate: bool) -> None:
    draws = random.Random(0)
    values = [(draws.random(), draws.random()) for _ in range(30)]
    found = []
    for most in (None, 60):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            plain = TPESampler(seed=1, multivariate=multivariate, group=multivariate)
        found.append(proposals(study_of(values), plain if most is None else Bounded(plain, most), 12))
    assert found[0] == found[1]


def test_the_front_the_last_and_what_runs_are_seen() -> None:
    values = [(1.0, 1.0)] * 100
    values[3], values[50] = (0.1, 0.5), (0.5, 0.1)
    study = study_of(values)
    running = study.ask().number
    spy = Spy(seed=0)
    proposals(study, Bounded(spy, 10), 1)
    assert spy.seen == [3, 50, *range(92, 100), running]


def test_a_trial_that_ended_since_is_seen_and_one_that_it_beats_no_longer() -> None:
    values = [(1.0, 1.0)] * 100
    values[3], values[50] = (0.1, 0.5), (0.5, 0.1)
    study, spy = study_of(values), Spy(seed=0)
    sampler = Bounded(spy, 10)
    proposals(study, sampler, 1)
    beats = study_of([(0.1, 0.4)])
    study.add_trial(beats.trials[0])
    study.add_trials(study_of([(1.0, 1.0)] * 20).trials)
    proposals(study, sampler, 1)
    assert 3 not in spy.seen
    assert {50, 101} <= set(spy.seen)


def test_without_a_feasible_trial_the_nearest_are_seen() -> None:
    study, spy = study_of([(1.0, 1.0)] * 200, violation=1.0), Spy(seed=0)  # the later, the farther past the bound
    proposals(study, Bounded(spy, 60), 1)
    assert spy.seen == [*range(NEAREST), *range(200 - 60 + NEAREST, 200)]
