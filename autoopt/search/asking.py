"""Asking Optuna for a recipe: between our space and its distributions."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from autoopt.core.recipe import Recipe
from autoopt.core.space import Choice, Range, Space, Value, draw


def ask(study: optuna.Study) -> optuna.Trial:
    """The next trial, out of the queue or for the sampler. Optuna warns that heartbeats belong to its own loop; ours
    are kept by Peers.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Heartbeat of storage")
        return study.ask()


def drawn(asked: optuna.Trial, space: Space) -> Recipe:
    """What was queued, else what the sampler proposes."""
    return draw(space, lambda parameter, knob: suggest(asked, parameter, knob))


@contextmanager
def random_sampler(study: optuna.Study) -> Iterator[None]:
    """Within the block the study proposes at random; the seed is the number of trials, so that it never repeats."""
    before = study.sampler
    study.sampler = RandomSampler(seed=len(study.get_trials(deepcopy=False)))
    try:
        yield
    finally:
        study.sampler = before


def distributions(space: Space, recipe: Recipe) -> dict[str, BaseDistribution]:
    """The distribution of each parameter that `draw` asks for this recipe, which lies in the space."""
    found: dict[str, BaseDistribution] = {}
    wanted: dict[str, Any] = recipe.to_dict()

    def note(parameter: str, knob: Choice | Range) -> Value:
        found[parameter] = _distribution(knob)
        return wanted[parameter.partition("[")[0]]  # type: ignore[no-any-return]

    draw(space, note)
    return found


def suggest(asked: optuna.Trial, parameter: str, knob: Choice | Range) -> Value:
    """Ask Optuna for the value of one knob."""
    wanted = _distribution(knob)
    if isinstance(wanted, CategoricalDistribution):
        return asked.suggest_categorical(parameter, wanted.choices)  # type: ignore[return-value]
    if isinstance(wanted, IntDistribution):
        return asked.suggest_int(parameter, wanted.low, wanted.high, log=wanted.log, step=wanted.step)
    return asked.suggest_float(parameter, wanted.low, wanted.high, log=wanted.log, step=wanted.step)


def _distribution(knob: Choice | Range) -> CategoricalDistribution | IntDistribution | FloatDistribution:
    if isinstance(knob, Choice):
        return CategoricalDistribution(knob.values)
    if knob.whole:
        return IntDistribution(int(knob.low), int(knob.high), log=knob.log, step=int(knob.step or 1))
    return FloatDistribution(knob.low, knob.high, log=knob.log, step=knob.step)
