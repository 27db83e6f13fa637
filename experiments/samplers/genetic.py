"""NSGA-II for a conditional space in which trials are screened and siblings added.

Optuna's own proposes at random there (experiments/samplers): it crosses only the parameters that every trial has, and
a generation ends after so many complete trials that the sampler itself proposed, which few of ours are.
"""

from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState


class ConditionalNSGAII(NSGAIISampler):
    """Generations are counted in complete trials, whoever asked for them; a child takes each parameter from one of two
    elite parents (Deb et al. 2002, doi:10.1109/4235.996017).
    """

    def __init__(self, *, population_size: int, seed: int) -> None:
        super().__init__(population_size=population_size, seed=seed)
        self._draw = np.random.default_rng(seed)

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        return len(_complete(study)) // self._size

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return _complete(study)[generation * self._size : (generation + 1) * self._size]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that some complete trial has."""
        return {name: found for other in _complete(study) for name, found in other.distributions.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a child. Those that mutate, one in each child on average, and those that neither parent has
        are left out: they are drawn at random.
        """
        elite = self.get_parent_population(study, self.get_trial_generation(study, trial))
        if len(elite) < 2:
            return {}
        one, other = (elite[i].params for i in self._draw.choice(len(elite), 2, replace=False))
        crossed = {name: self._either(name, one, other) for name in {**one, **other}}
        return {name: value for name, value in crossed.items() if self._draw.random() >= 1 / len(crossed)}

    def _either(self, name: str, one: dict[str, Any], other: dict[str, Any]) -> Any:
        holders = [params for params in (one, other) if name in params]
        return holders[self._draw.integers(len(holders))][name]

    @property
    def _size(self) -> int:
        assert self.population_size is not None
        return self.population_size


def _complete(study: Study) -> list[FrozenTrial]:
    """In the order in which they were begun."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
