"""Training that has come to nothing ends its trial there and then, with a reason."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoopt.core.errors import TrialError
from autoopt.core.recipe import Recipe
from autoopt.tasks.goal import Goal
from autoopt.training.distillation import distillation_loss
from autoopt.training.lessons import Batch

EXPLODED = 100.0
"""An epoch's mean loss is so many times that of a model that knows nothing. On digits no optimizer comes above 2.3
within its range of the space (sgd at 0.5, the teacher made smaller). At 100 times the upper end of its range
schedule_free_adamw begins at 12 times and ends at an accuracy of 0.95, rmsprop at 86 and 0.80; all that come above 100
stay below 0.66.
"""


def where(epoch: int, recipe: Recipe) -> str:
    """`epoch` from 0."""
    rate = f"{recipe.optimizer} at learning rate {recipe.learning_rate:g}"
    return f"in epoch {epoch + 1} of {recipe.epochs}, under {rate}"


@dataclass(eq=False)
class Losses:
    """Of the steps of an epoch, read `at_once`. Raises TrialError where one is no number: its step makes all weights
    like it, as does each one after it.
    """

    epoch: int
    recipe: Recipe
    at_once: int
    read: list[float] = field(default_factory=list)
    _waiting: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor) -> None:
        self._waiting.append(loss.detach().reshape(()))
        if len(self._waiting) >= self.at_once:
            self.catch_up()

    def catch_up(self) -> None:
        """Read what waits."""
        found = torch.stack(self._waiting).tolist() if self._waiting else []
        self._waiting.clear()
        for loss in found:
            if not math.isfinite(loss):
                rate = where(self.epoch, self.recipe)
                raise TrialError(f"the loss became {loss} {rate}: a smaller one may do")
        self.read += found


@torch.no_grad()
def blind_loss(batch: Batch, recipe: Recipe, goal: Goal) -> float:
    """Of a model that answers 0 whatever it sees: any training may come to that, from however good a start."""
    return distillation_loss(
        torch.zeros_like(batch.logits),
        batch.logits,
        batch.targets,
        temperature=recipe.temperature or 1.0,
        weight=recipe.distill_weight or 0.0,
        goal=goal,
    ).item()


def check_losses(losses: Sequence[float], untrained: float, epoch: int, recipe: Recipe) -> None:
    """Raises TrialError where the epoch's mean loss has exploded.

    `untrained`: the loss before the first step, or that of answering blindly, where it is larger; what is not above 0,
    as a loss of the user's may be, has no multiple.
    """
    mean = sum(losses) / max(1, len(losses))
    if 0 < untrained < math.inf and mean > EXPLODED * untrained:
        times = f"{mean / untrained:.0f} times the {untrained:.3g} of the untrained model"
        raise TrialError(f"the loss exploded to {mean:.3g} {where(epoch, recipe)}, {times}: a smaller one may do")


def check_model(model: nn.Module, outputs: Tensor, epoch: int, recipe: Recipe) -> None:
    """Raises TrialError where weights, statistics of batch norms or outputs on validation are no numbers: the losses
    of the epoch may all have been, since a loss comes before its step and under the batch's own statistics.
    """
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not math.isfinite(value.sum().item()):  # a fourth of what isfinite costs
            raise TrialError(f"{name} is not finite any more {where(epoch, recipe)}: a smaller one may do")
    if not torch.isfinite(outputs).all():
        raise TrialError(f"outputs on validation are not finite any more {where(epoch, recipe)}: a smaller one may do")
