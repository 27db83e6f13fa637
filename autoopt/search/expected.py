"""How long a trial will take, from those before it: none is begun that would end after the deadline."""

from collections.abc import Sequence
from statistics import median

from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, Trial

QAT_EPOCH = 1.5  # epochs that one under fake quantization costs: 1.0 to 3.0 were measured (experiments/qat)


def expected_seconds(recipe: Recipe, trials: Sequence[Trial]) -> float:
    """Training by its work, as trials of the same student took, and the rest with all siblings, as any took.

    Medians; 0 where no trial of the student that trained has finished yet: then nothing is known of it.
    """
    finished = [t for t in trials if t.state == COMPLETE and t.sibling_of is None and t.evaluation]
    trained = [t for t in finished if t.recipe.is_trained]
    if not recipe.is_trained:
        alike = [t for t in finished if not t.recipe.is_trained and t.recipe.qat_epochs == recipe.qat_epochs]
        return median([_seconds(t) for t in alike] or [0.0])
    same = [t for t in trained if t.recipe.student == recipe.student]
    if not same:
        return 0.0
    siblings = _siblings_seconds(trials)
    a_unit = median(_seconds(t, "train") / _work(t.recipe) for t in same)
    rest = median(_seconds(t) - _seconds(t, "train") + siblings.get(t.number, 0.0) for t in trained)
    return a_unit * _work(recipe) + rest


def _work(recipe: Recipe) -> float:
    """Of training, in units that are the same for all recipes of a student."""
    epochs = recipe.epochs + QAT_EPOCH * (recipe.qat_epochs or 0)
    return epochs * (1 + (recipe.augment or 0)) * (recipe.layers or 1)


def _seconds(trial: Trial, stage: str | None = None) -> float:
    seconds = trial.evaluation.seconds if trial.evaluation else {}
    return seconds.get(stage, 0.0) if stage else sum(seconds.values())


def _siblings_seconds(trials: Sequence[Trial]) -> dict[int, float]:
    """By the number of the trial that trained their weights."""
    found: dict[int, float] = {}
    for trial in trials:
        if trial.sibling_of is not None:
            found[trial.sibling_of] = found.get(trial.sibling_of, 0.0) + _seconds(trial)
    return found
