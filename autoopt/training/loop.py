"""The training loop: one student, one recipe."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoopt.core.errors import Interrupted, TrialError
from autoopt.core.recipe import Recipe
from autoopt.pruning import Pruned
from autoopt.tasks import Split, Task
from autoopt.training.distillation import distillation_loss
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.schedules import factor

EVALUATION_BATCH = 500
RECALIBRATION_BATCHES = 20


@dataclass(frozen=True)
class Hooks:
    """Seams for the search: `should_stop` is asked before each step, `on_epoch(epoch, quality)` told after each epoch
    (from 1); it may raise Screened.
    """

    should_stop: Callable[[], bool] = lambda: False
    on_epoch: Callable[[int, float], None] = lambda epoch, quality: None


def train(pruned: Pruned, task: Task, logits: Tensor, recipe: Recipe, *, seed: int, hooks: Hooks) -> list[float]:
    """Train pruned.model in place; afterwards it holds the weights of its best epoch on validation, masks baked in.

    `logits` (n, classes) are the teacher's on the train split. Returns the quality on validation after each epoch.
    Raises TrialError on a loss that is not finite, Interrupted when told to stop.
    """
    torch.manual_seed(seed)  # for dropout: what went before may have drawn numbers, or not
    model = pruned.model
    row = OPTIMIZERS[str(recipe.optimizer)]
    optimizer = row.build(model, recipe)
    batch_size = recipe.batch_size or 64
    steps_per_epoch = math.ceil(len(task.train) / batch_size)
    steps = recipe.epochs * steps_per_epoch
    base_rates = [group["lr"] for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(seed)

    curve: list[float] = []
    best, best_weights = -math.inf, None
    for epoch in range(recipe.epochs):
        _set_mode(model, optimizer, training=True)
        for number, index in enumerate(torch.randperm(len(task.train), generator=generator).split(batch_size)):
            if hooks.should_stop():
                raise Interrupted(f"stopped in epoch {epoch + 1} of {recipe.epochs}")
            if len(index) == 1:
                continue  # batch norm has no variance over one input
            step = epoch * steps_per_epoch + number
            pruned.advance(step / steps)
            scale = factor(step, steps, recipe.warmup or 0.0, recipe.schedule or "constant")
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * scale
            loss = _loss(model, task.train, logits, recipe, index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not math.isfinite(loss.item()):
            raise TrialError(f"the loss became {loss.item()} in epoch {epoch + 1} of {recipe.epochs}")
        _set_mode(model, optimizer, training=False)
        if row.averages:
            _recalibrate(model, task.train, batch_size, generator)
        quality = module_quality(model, task.validation)
        curve.append(quality)
        hooks.on_epoch(epoch + 1, quality)
        if epoch / recipe.epochs >= pruned.settled_at and quality > best:
            best, best_weights = quality, {name: value.clone() for name, value in model.state_dict().items()}
    if best_weights is not None:
        model.load_state_dict(best_weights)
    pruned.finish()
    model.eval()
    return curve


def _loss(model: nn.Module, split: Split, logits: Tensor, recipe: Recipe, index: Tensor) -> Tensor:
    return distillation_loss(
        model(*split.inputs[index]),
        logits[index],
        split.targets[index],
        temperature=recipe.temperature or 1.0,
        weight=recipe.distill_weight or 0.0,
    )


def _set_mode(model: nn.Module, optimizer: Optimizer, *, training: bool) -> None:
    """Optimizers that average their weights have modes of their own, to be switched together with the module's."""
    model.train(training)
    switch = getattr(optimizer, "train" if training else "eval", None)
    if switch is not None:
        switch()


@torch.no_grad()
def _recalibrate(model: nn.Module, split: Split, batch_size: int, generator: torch.Generator) -> None:
    """Batch norm's running statistics belong to the training iterate; take them anew at the averaged weights."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    model.train()
    for index in torch.randperm(len(split), generator=generator).split(batch_size)[:RECALIBRATION_BATCHES]:
        if len(index) > 1:
            model(*split.inputs[index])
    model.eval()


@torch.no_grad()
def module_quality(model: nn.Module, split: Split) -> float:
    """Accuracy of a module in eval mode: for learning curves only, an artifact's quality is measured on its runtime."""
    right = sum(
        int((model(*inputs).argmax(1) == targets).sum())
        for inputs, targets in zip(
            split.inputs.batches(EVALUATION_BATCH), split.targets.split(EVALUATION_BATCH), strict=True
        )
    )
    return right / len(split)
