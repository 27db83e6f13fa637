"""The training loop: one student, one recipe."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

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
from autoopt.training.lessons import Batch, Lessons, placed, sent
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.place import HERE, Place
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
    at: Place = HERE,
) -> list[float]:
    """Train pruned.model in place; afterwards it holds the weights of its best epoch on validation, masks baked in, on
    the CPU wherever it was trained.

    Returns the quality on validation after each epoch, NaN where the metric says nothing. Raises TrialError where the
    training diverges (see divergence), Interrupted when told to stop.
    """
    torch.manual_seed(seed)  # for dropout: what went before may have drawn numbers, or not
    with at.holding(pruned.model):
        placing = replace(placed(lessons, at.device), goal=at.goal(lessons.goal))
        return _train(pruned, placing, validation, recipe, seed, hooks, fine, at)


def _train(
    pruned: Pruned,
    lessons: Lessons,
    validation: Split,
    recipe: Recipe,
    seed: int,
    hooks: Hooks,
    fine: Fine,
    at: Place,
) -> list[float]:
    model = pruned.model
    row = OPTIMIZERS[str(recipe.optimizer)]
    optimizer = row.build(model, recipe)
    raise_head(optimizer, model, fine.head_factor)
    batch_size = recipe.batch_size or 64
    steps_per_epoch = math.ceil(len(lessons.split) / batch_size)
    steps = recipe.epochs * steps_per_epoch
    base_rates = [group["lr"] for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(seed)
    scaler = at.scaler()

    curve: list[float] = []
    best, best_weights, untrained = -math.inf, None, math.nan
    for epoch in range(recipe.epochs):
        losses = divergence.Losses(epoch, recipe, at.checked_steps)
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
            batch = lessons.take(index, at.device)
            loss = _loss(at.outputs(model, tuple(batch.inputs)), batch, recipe, lessons.goal, fine.label_smoothing)
            losses.add(loss)
            if step == 0:
                untrained = max(loss.item(), divergence.blind_loss(batch, recipe, lessons.goal))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if fine.clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), fine.clip)
            scaler.step(optimizer)
            scaler.update()
        losses.catch_up()
        _set_mode(model, optimizer, training=False)
        if row.averages:
            _recalibrate(model, lessons, batch_size, generator, at)
        divergence.check_losses(losses.read, untrained, epoch, recipe)
        outputs, places = module_outputs(_taking(model, at), validation.inputs)
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


def _loss(outputs: Tensor, batch: Batch, recipe: Recipe, goal: Goal, label_smoothing: float) -> Tensor:
    return distillation_loss(
        outputs,
        batch.logits,
        batch.targets,
        temperature=recipe.temperature or 1.0,
        weight=recipe.distill_weight or 0.0,
        label_smoothing=label_smoothing,
        goal=goal,
    )


def _taking(model: nn.Module, at: Place) -> Callable[..., Tensor]:
    """The model called with arrays of the CPU; its outputs are float32 throughout, as the exported file's will be."""
    if at.is_cpu:
        return model
    return lambda *arrays: model(*(sent(array, at.device) for array in arrays)).cpu()


def _set_mode(model: nn.Module, optimizer: Optimizer, *, training: bool) -> None:
    """Optimizers that average their weights have modes of their own, to be switched together with the module's."""
    model.train(training)
    switch = getattr(optimizer, "train" if training else "eval", None)
    if switch is not None:
        switch()


@torch.no_grad()
def _recalibrate(model: nn.Module, lessons: Lessons, batch_size: int, generator: torch.Generator, at: Place) -> None:
    """Batch norm's running statistics belong to the training iterate; take them anew at the averaged weights."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    model.train()
    for index in torch.randperm(len(lessons.split), generator=generator).split(batch_size)[:RECALIBRATION_BATCHES]:
        if len(index) > 1:
            model(*lessons.take(index, at.device).inputs)
    model.eval()


def module_quality(model: nn.Module, split: Split, goal: Goal = CLASSES) -> float:
    """The metric of a module in eval mode: for learning curves only, an artifact's is measured on its runtime."""
    return _score(*module_outputs(model, split.inputs), split, goal)


def _score(outputs: Tensor, places: Tensor, split: Split, goal: Goal) -> float:
    return float(goal.metric.score(outputs.numpy(), split.targets[places].numpy()))
