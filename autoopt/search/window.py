"""What of a study of thousands a sampler looks at: the best trials and the last ones."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoopt.core.front import pareto

NEAREST = 25  # of a study without a feasible trial: as many as TPE takes for good
LEAST_SEEN = 250
"""Of fewer TPE takes fewer than 25 for good, and finds less (experiments/scaling, c)."""


class Bounded(BaseSampler):
    """Another sampler, which sees `most` of the ended trials: the front (else the nearest misses), then the last ones;
    and all that run. It reads them once a proposal, where Optuna's read and rank all of them for each parameter.

    Up to `most` trials it proposes what the sampler alone would.
    """

    def __init__(self, inner: BaseSampler, most: int) -> None:
        self._inner, self._most = inner, most
        self._known: set[int] = set()
        self._best: list[FrozenTrial] = []
        self._read: dict[tuple[TrialState, ...], list[FrozenTrial]] = {}

    def reseed_rng(self) -> None:
        self._inner.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._read = {}
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(self._seen(study), trial, param_name, param_distribution)

    def read(self, study: optuna.Study, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """By number."""
        wanted = tuple(state for state in TrialState if states is None or state in states)
        if wanted not in self._read:
            found = study._get_trials(deepcopy=False, states=wanted, use_cache=True)
            self._read[wanted] = self._bounded(study, found)
        return self._read[wanted]

    def _seen(self, study: optuna.Study) -> optuna.Study:
        return cast(optuna.Study, _Seen(study, self))

    def _bounded(self, study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        ended = [trial for trial in trials if trial.state.is_finished()]
        if len(ended) <= self._most:
            return trials
        self._learn(study, [trial for trial in ended if trial.number not in self._known])
        kept = {trial.number: trial for trial in self._best[: self._most // 2]}
        kept |= {trial.number: trial for trial in trials if not trial.state.is_finished()}
        kept |= {trial.number: trial for trial in ended[len(self._best[: self._most // 2]) - self._most :]}
        return sorted(kept.values(), key=lambda trial: trial.number)

    def _learn(self, study: optuna.Study, fresh: Sequence[FrozenTrial]) -> None:
        """Which are the best, the new ones among them: an ended trial never changes."""
        self._known |= {trial.number for trial in fresh}
        rivals = [*self._best, *fresh]
        feasible = [t for t in rivals if t.state == TrialState.COMPLETE and _violation(t.constraints) == 0]
        if feasible:
            signs = [1 if direction == StudyDirection.MINIMIZE else -1 for direction in study.directions]
            points = [tuple(s * v for s, v in zip(signs, t.values, strict=True)) for t in feasible]
            self._best = [feasible[place] for place in pareto(points)]
        else:
            self._best = sorted(rivals, key=lambda t: _violation(t.constraints))[:NEAREST]


class _Seen:
    """A study, but for its trials."""

    def __init__(self, study: optuna.Study, sampler: Bounded) -> None:
        self._study, self._sampler = study, sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self._sampler.read(self._study, states)


def _violation(constraints: Mapping[str, float]) -> float:
    return sum(max(0.0, value) for value in constraints.values())
