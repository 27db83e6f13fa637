"""How long a trial will take, from those before it: none is begun that would end after the deadline."""

from collections.abc import Sequence
from statistics import median

from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, Trial


def expected_seconds(recipe: Recipe, trials: Sequence[Trial]) -> float:
    """Training by the epoch, as trials of the same student took (else of any), and the rest with all siblings.

    Medians; 0 where no trial that trained has finished yet: then nothing is known.
    """
    finished = [t for t in trials if t.state == COMPLETE and t.sibling_of is None and t.evaluation]
    trained = [t for t in finished if t.recipe.is_trained]
    if not recipe.is_trained:
        return median([_seconds(t) for t in finished if not t.recipe.is_trained] or [0.0])
    if not trained:
        return 0.0
    same = [t for t in trained if t.recipe.student == recipe.student] or trained
    an_epoch = median(_seconds(t, "train") / t.recipe.epochs for t in same)
    rest = median(_seconds(t) - _seconds(t, "train") + _siblings_seconds(t, trials) for t in trained)
    return an_epoch * recipe.epochs + rest


def _seconds(trial: Trial, stage: str | None = None) -> float:
    seconds = trial.evaluation.seconds if trial.evaluation else {}
    return seconds.get(stage, 0.0) if stage else sum(seconds.values())


def _siblings_seconds(trial: Trial, trials: Sequence[Trial]) -> float:
    return sum(_seconds(t) for t in trials if t.sibling_of == trial.number)
