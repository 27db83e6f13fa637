"""Trials that are looked up among real fashion trials (experiments/samplers), and take the time that a recipe says."""

import time
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from autoopt.core.errors import TrialError
from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.trial import Draft
from autoopt.search.jobs import Acts
from autoopt.search.screening import Gate
from experiments.samplers.table import Table, load

MEAN_S, SIGMA = 4.0, 0.6
SIBLING = 0.05  # of its trial's duration
STEP_S = 0.25

Pause = Callable[[float, Gate | None], None]


def start() -> Acts:
    """Of a worker that sleeps as long as a trial takes."""
    return Acts(evaluator(sleep))


def sleep(seconds: float, gate: Gate | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if gate is not None:
            gate.check()
        time.sleep(min(left, STEP_S))


def duration(recipe: Recipe) -> float:
    """Seconds of building, training and measuring it alone: lognormal, the same for the same recipe."""
    rng = np.random.default_rng(int(recipe.fingerprint[:12], 16))
    return float(np.exp(rng.normal(np.log(MEAN_S) - SIGMA**2 / 2, SIGMA)))


def evaluator(pause: Pause) -> Callable[[Draft, Gate], Iterator[Draft]]:
    """`pause` takes the time of what is made; the draft's stages hold what was asked of it."""

    def evaluate(draft: Draft, gate: Gate) -> Iterator[Draft]:
        _look_up(draft, gate, duration(draft.recipe), pause)
        return _siblings(draft, pause)

    return evaluate


def _siblings(draft: Draft, pause: Pause) -> Iterator[Draft]:
    for recipe in draft.siblings:
        sibling = Draft(recipe)
        try:
            _look_up(sibling, None, SIBLING * duration(draft.recipe), pause)
        except TrialError as error:
            sibling.error = error
        yield sibling


def _look_up(draft: Draft, gate: Gate | None, seconds: float, pause: Pause) -> None:
    """A tenth of the time goes before training, where a structure is measured; of the rest each epoch has its share."""
    known = _known(draft.recipe)
    with draft.clock("screen"):
        pause(0.1 * seconds, gate)
    if known is None:
        raise TrialError("nothing like it was recorded")
    speed, (final, curve) = known
    draft.measurements |= speed
    if gate:
        gate.admit(draft.measurements)
    with draft.clock("train"):
        for epoch, value in enumerate(curve, 1):
            pause(0.9 * seconds / len(curve), gate)
            draft.curve.append(value)
            if gate:
                gate.on_epoch(epoch, value)
                gate.after_epoch(draft.measurements, draft.curve)
        if not curve:
            pause(0.9 * seconds, gate)
    draft.measurements["accuracy"] = Measurement(final, 0.9193333)


@cache
def _table() -> Table:
    return load()


@cache
def _known(recipe: Recipe) -> tuple[dict[str, Measurement], tuple[float, list[float]]] | None:
    speed, quality = _table().speed(recipe), _table().quality(recipe)
    return None if speed is None or quality is None else (speed, quality)
