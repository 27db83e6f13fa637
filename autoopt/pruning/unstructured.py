"""Unstructured pruning: single weights go to zero. Tensors keep their shape, so only the compressed size shrinks."""

from torch import Tensor, nn
from torch.nn.utils import prune

from autoopt.core.inputs import Inputs
from autoopt.pruning.pruned import Pruned

RAMP_END = 0.5  # share of training after which the sparsity is final, so that the rest can recover


def unstructured_magnitude(model: nn.Module, inputs: Inputs, targets: Tensor, amount: float) -> Pruned:
    """Zero the globally smallest weights, gradually: s(t) = amount (1 - (1 - t)^3) (Zhu and Gupta 2017,
    arXiv:1710.01878).

    Masks hold during training (torch.nn.utils.prune), from the first `advance` on, and are baked into the weights by
    `finish`: before and after, the module is a plain one.
    """
    layers = [(m, "weight") for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Conv1d, nn.Linear, nn.Embedding))]
    reached: float | None = None

    def advance(progress: float) -> None:
        nonlocal reached
        if reached is None:
            prune.global_unstructured(layers, prune.L1Unstructured, amount=0.0)  # now `weight` is weight_orig * mask
            reached = 0.0
        target = amount * (1 - (1 - min(progress / RAMP_END, 1.0)) ** 3)
        # Each call masks a share of what is left; small steps are saved up, since each call sorts all weights.
        if target - reached > 0.02 * amount or (target == amount and reached < amount):
            prune.global_unstructured(layers, prune.L1Unstructured, amount=(target - reached) / (1 - reached))
            reached = target

    def finish() -> None:
        advance(1.0)
        for module, name in layers:
            prune.remove(module, name)

    return Pruned(model, advance, finish, settled_at=RAMP_END)
