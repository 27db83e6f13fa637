"""Samplers: how the search proposes the next recipe.

A member is `(seed, options) -> sampler`. Add one = one line here, one yaml in conf/sampler.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from autoopt.search.window import Bounded


def tpe(seed: int, startup_trials: int = 10, multivariate: bool = False, most_trials: int = 1000) -> BaseSampler:
    """Tree-structured Parzen estimator (Watanabe 2023, arXiv:2304.11127); multivariate: jointly by group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        whole = TPESampler(seed=seed, n_startup_trials=startup_trials, multivariate=multivariate, group=multivariate)
        return Bounded(whole, most_trials)


def gp(seed: int, startup_trials: int = 10, most_trials: int = 300) -> BaseSampler:
    """Gaussian process; knobs that are not asked in every trial go to TPE, since it would draw them at random.

    It learns from complete trials only: which were screened it does not know.
    """
    whole = GPSampler(
        seed=seed,
        n_startup_trials=startup_trials,
        independent_sampler=TPESampler(seed=seed),
        warn_independent_sampling=False,
    )
    return Bounded(whole, most_trials)


def random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {"tpe": tpe, "gp": gp, "random": random}


def make_sampler(name: str, seed: int, options: Mapping[str, Any]) -> BaseSampler:
    return SAMPLERS[name](seed, **options)
