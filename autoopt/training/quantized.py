"""Quantization-aware training: a trained model is trained further while it rounds as its int8 file will."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from autoopt.core.cpu import saturates
from autoopt.core.errors import TrialError
from autoopt.core.recipe import Recipe
from autoopt.pruning import Pruned
from autoopt.quantization.fake import Learned, bake, fake_quantize, steps_of_weights
from autoopt.runtimes.export import fold_batch_norm
from autoopt.tasks import Split
from autoopt.training.lessons import Lessons
from autoopt.training.loop import Hooks, train
from autoopt.training.place import HERE, Place

LOWER = 0.1  # times the recipe's learning rate: the weights are where they should be, but for rounding
# Of the teacher as it is, whose recipe trains nothing: it imitates itself.
OWN = {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine", "distill_weight": 1.0}


@dataclass(frozen=True, eq=False)
class Tuned:
    """A plain module in eval mode, its batch norms folded, its weights rounded; and what its layers have learned."""

    model: nn.Module
    learned: tuple[Learned, ...]
    curve: tuple[float, ...]
    """Quality on validation after each epoch, rounded as it was."""


def train_quantized(
    model: nn.Module,
    lessons: Lessons,
    validation: Split,
    recipe: Recipe,
    *,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[int, float], None] = lambda epoch, quality: None,
    at: Place = HERE,
) -> Tuned:
    """Train a copy of the model for the recipe's `qat_epochs`, with its optimizer at a tenth of its learning rate.

    Batch norms are folded before, as they will be in the file; zeros of a sparse model stay zero. On a GPU, too,
    it computes in float32: bfloat16 is as coarse as the steps that are to be learned. The model itself is not changed.
    Raises TrialError where it has no layer that could be rounded, and as `train` does.
    """
    if not recipe.qat_epochs:
        raise TrialError(f"{recipe.quantization} is trained: type space.qat_epochs=2")
    copy = fold_batch_norm(model).requires_grad_(True)
    layers = fake_quantize(copy, steps_of_weights(saturates=saturates()))
    if not layers:
        raise TrialError(
            f"{recipe.quantization} rounds convolutions and fully connected layers, and this model has none: "
            "leave it out of space.quantization"
        )
    keep = zeros_kept(copy) if recipe.sparsity else lambda: None
    pruned = Pruned(copy, advance=lambda progress: keep(), finish=keep)
    whole, hooks = fine_tuning(recipe), Hooks(should_stop, on_epoch)
    try:
        curve = train(pruned, lessons, validation, whole, seed=seed, hooks=hooks, at=at.in_float32())
    except TrialError as error:
        raise TrialError(f"under fake quantization {error}") from error
    return Tuned(copy, bake(copy, layers), tuple(curve))


def fine_tuning(recipe: Recipe) -> Recipe:
    """How a recipe trains under fake quantization."""
    whole = recipe if recipe.is_trained else replace(recipe, **OWN)  # type: ignore[arg-type]
    assert whole.learning_rate is not None
    assert recipe.qat_epochs is not None
    return replace(whole, epochs=recipe.qat_epochs, learning_rate=LOWER * whole.learning_rate)


def zeros_kept(model: nn.Module) -> Callable[[], None]:
    """What sets those weights of a model to zero again that are zero now."""
    masks = {name: weight != 0 for name, weight in model.named_parameters() if weight.ndim > 1}

    @torch.no_grad()
    def keep() -> None:
        for name, weight in model.named_parameters():
            if name in masks:
                masks[name] = masks[name].to(weight.device)  # which may have moved
                weight.mul_(masks[name])

    return keep
