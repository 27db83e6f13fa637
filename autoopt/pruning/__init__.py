"""Pruning methods: what is removed from a student, before training or while it trains.

A member is `(model, inputs, targets, amount) -> Pruned`. `inputs` and `targets` (n,) are a batch of the
train split; `amount` is the recipe's pruning_ratio or sparsity, in (0, 1). The model is changed in place: hand over a
copy. Add one = one file, one line here, one word in conf/space.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from autoopt.core.inputs import Inputs
from autoopt.pruning.pruned import Pruned
from autoopt.pruning.structured import structured_magnitude, structured_taylor
from autoopt.pruning.unstructured import unstructured_magnitude

__all__ = ["METHODS", "Method", "Pruned"]


@dataclass(frozen=True)
class Method:
    prune: Callable[[nn.Module, Inputs, Tensor, float], Pruned]
    knobs: tuple[str, ...]
    """The knob that holds its amount: pruning_ratio (tensors get smaller) or sparsity (they keep their shape)."""


def _nothing(model: nn.Module, inputs: Inputs, targets: Tensor, amount: float) -> Pruned:
    return Pruned(model)


METHODS: dict[str, Method] = {
    "none": Method(_nothing, ()),
    "depth": Method(_nothing, ()),  # whole layers alone, which the teacher loses while it is copied: see layers
    "structured_magnitude": Method(structured_magnitude, ("pruning_ratio",)),
    "structured_taylor": Method(structured_taylor, ("pruning_ratio",)),
    "unstructured_magnitude": Method(unstructured_magnitude, ("sparsity",)),
}
