"""The training loop: one student, one recipe."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoopt.core.errors import Interrupted, TrialError
from autoopt.core.inputs import Inputs
from autoopt.core.recipe import Recipe
from autoopt.pruning import Pruned
from autoopt.tasks import Split
from autoopt.tasks.batches import module_outputs
from autoopt.tasks.goal import CLASSES, Goal
from autoopt.training import divergence
from autoopt.training.distillation import distillation_loss
from autoopt.training.lessons import Lessons
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.schedules import factor

RECALIBRATION_BATCHES = 20
BUCKET = 50  # batches that are sorted by length together


@dataclass(frozen=True)
class Hooks:
    """Seams for the search: `should_stop` is asked before each step, `on_epoch(epoch, quality)` told after each epoch
    (from 1); it may raise Screened.
    """

    should_stop: Callable[[], bool] = lambda: False
    on_epoch: Callable[[int, float], None] = lambda epoch, quality: None


@dataclass(frozen=True)
class Fine:
    """What fine-tuning a pretrained teacher needs besides a recipe: see TeacherOptions."""

    label_smoothing: float = 0.0
    clip: float | None = None
    head_factor: float = 1.0


def train(
    pruned: Pruned,
    lessons: Lessons,
    validation: Split,
    recipe: Recipe,
    *,
    seed: int,
    hooks: Hooks,
    fine: Fine = Fine(),
) -> list[float]:
    """Train pruned.model in place; afterwards it holds the weights of its best epoch on validation, masks baked in.

    Returns the quality on validation after each epoch, NaN where the metric says nothing. Raises TrialError where the
    training diverges (see divergence), Interrupted when told to stop.
    """
    torch.manual_seed(seed)  # for dropout: what went before may have drawn numbers, or not
    model = pruned.model
    row = OPTIMIZERS[str(recipe.optimizer)]
    optimizer = row.build(model, recipe)
    raise_head(optimizer, model, fine.head_factor)
    batch_size = recipe.batch_size or 64
    steps_per_epoch = math.ceil(len(lessons.split) / batch_size)
    steps = recipe.epochs * steps_per_epoch
    base_rates = [group["lr"] for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(seed)

    curve: list[float] = []
    best, best_weights, untrained = -math.inf, None, math.nan
    for epoch in range(recipe.epochs):
        losses: list[float] = []
        _set_mode(model, optimizer, training=True)
        for number, index in enumerate(shuffled(lessons.split.inputs, batch_size, generator)):
            if hooks.should_stop():
                raise Interrupted(f"stopped in epoch {epoch + 1} of {recipe.epochs}")
            if len(index) == 1:
                continue  # batch norm has no variance over one input
            step = epoch * steps_per_epoch + number
            pruned.advance(step / steps)
            scale = factor(step, steps, recipe.warmup or 0.0, recipe.schedule or "constant")
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * scale
            loss = _loss(model, lessons, recipe, index, fine.label_smoothing)
            losses.append(divergence.finite(loss.item(), epoch, recipe))
            if step == 0:
                untrained = max(losses[0], divergence.blind_loss(lessons, recipe, index))
            optimizer.zero_grad()
            loss.backward()
            if fine.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), fine.clip)
            optimizer.step()
        _set_mode(model, optimizer, training=False)
        if row.averages:
            _recalibrate(model, lessons.split, batch_size, generator)
        divergence.check_losses(losses, untrained, epoch, recipe)
        outputs, places = module_outputs(model, validation.inputs)
        divergence.check_model(model, outputs, epoch, recipe)
        quality = _score(outputs, places, validation, lessons.goal)
        curve.append(quality)
        hooks.on_epoch(epoch + 1, quality)
        if epoch / recipe.epochs >= pruned.settled_at and quality > best:  # never where it is NaN
            best, best_weights = quality, {name: value.clone() for name, value in model.state_dict().items()}
    if curve and all(map(math.isnan, curve)):
        raise TrialError(
            f"{lessons.goal.metric.name} is no number after any of {len(curve)} epochs: mend the task's metric"
        )
    if best_weights is not None:
        model.load_state_dict(best_weights)
    pruned.finish()
    model.eval()
    return curve


def shuffled(inputs: Inputs, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """The places of all inputs in random batches. Sequences: of about one length each, so that little is padding."""
    order = torch.randperm(len(inputs), generator=generator)
    if inputs.lengths is None:
        return list(order.split(batch_size))
    buckets = [bucket[inputs.lengths[bucket].argsort()] for bucket in order.split(batch_size * BUCKET)]
    batches = [batch for bucket in buckets for batch in bucket.split(batch_size)]
    return [batches[place] for place in torch.randperm(len(batches), generator=generator)]


def raise_head(optimizer: Optimizer, model: nn.Module, factor: float) -> None:
    """Give the last linear layer `factor` times the learning rate of the others."""
    if factor == 1.0:
        return
    head = {id(p) for p in [m for m in model.modules() if isinstance(m, nn.Linear)][-1].parameters()}
    for group in list(optimizer.param_groups):
        fresh = [p for p in group["params"] if id(p) in head]
        if fresh:
            group["params"] = [p for p in group["params"] if id(p) not in head]
            optimizer.add_param_group({**group, "params": fresh, "lr": group["lr"] * factor})


def _loss(model: nn.Module, lessons: Lessons, recipe: Recipe, index: Tensor, label_smoothing: float) -> Tensor:
    return distillation_loss(
        model(*lessons.split.inputs[index]),
        lessons.logits[index],
        lessons.split.targets[index],
        temperature=recipe.temperature or 1.0,
        weight=recipe.distill_weight or 0.0,
        label_smoothing=label_smoothing,
        goal=lessons.goal,
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


def module_quality(model: nn.Module, split: Split, goal: Goal = CLASSES) -> float:
    """The metric of a module in eval mode: for learning curves only, an artifact's is measured on its runtime."""
    return _score(*module_outputs(model, split.inputs), split, goal)


def _score(outputs: Tensor, places: Tensor, split: Split, goal: Goal) -> float:
    return float(goal.metric.score(outputs.numpy(), split.targets[places].numpy()))
