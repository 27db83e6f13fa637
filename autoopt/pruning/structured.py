"""Structured pruning: whole channels go, by the dependency graph of Torch-Pruning (Fang et al. 2023,
arXiv:2301.12900).
"""

from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.pruning.pruned import Pruned

ROUND_TO = 8  # channels stay a multiple of 8: kernels work on vectors of 8 floats


def structured_magnitude(model: nn.Module, inputs: Inputs, targets: Tensor, amount: float) -> Pruned:
    """Remove the channels of smallest weights, the same share in every layer (Li et al. 2016, arXiv:1608.08710)."""
    return _prune(model, inputs, tp.importance.GroupMagnitudeImportance(p=2), amount)


def structured_taylor(model: nn.Module, inputs: Inputs, targets: Tensor, amount: float) -> Pruned:
    """Remove the channels whose loss would change least, to first order (Molchanov et al. 2019, arXiv:1906.10771)."""
    model.eval()
    model.zero_grad()
    outputs = model(*inputs)
    numbers = targets.is_floating_point()
    loss = F.mse_loss(outputs, targets.reshape(outputs.shape)) if numbers else F.cross_entropy(outputs, targets)
    loss.backward()
    pruned = _prune(model, inputs, tp.importance.GroupTaylorImportance(), amount)
    model.zero_grad()
    return pruned


def _reachable_ratio(layer: nn.Module, amount: float) -> float | None:
    """The share of a layer's channels to remove so that a multiple of ROUND_TO is left; None: it has none.

    Left to itself the library rounds a target below ROUND_TO to zero and then prunes nothing of that layer.
    """
    channels = getattr(layer, "out_channels", None) or getattr(layer, "out_features", None)
    if not isinstance(channels, int):
        return None
    left = max(ROUND_TO, ROUND_TO * round(channels * (1 - amount) / ROUND_TO))
    return max(0.0, 1 - left / channels)


def _prune(model: nn.Module, inputs: Inputs, importance: tp.importance.Importance, amount: float) -> Pruned:
    before = sum(p.numel() for p in model.parameters())
    attentions = attention_blocks(model)
    targets = _of_encoder(model, attentions) if attentions else model.modules()
    ratios = {layer: ratio for layer in targets if (ratio := _reachable_ratio(layer, amount)) is not None}
    wanted = _shape(model, inputs)
    tp.pruner.BasePruner(
        model,
        tuple(inputs[:1]),
        importance=importance,
        pruning_ratio=0.0 if attentions else amount,
        ignored_layers=last_layer(model, inputs),  # its outputs are the classes
        pruning_ratio_dict=ratios,
        round_to=None if attentions else ROUND_TO,
        num_heads={layer: block.num_attention_heads for block in attentions for layer in projections(block)},
        prune_num_heads=bool(attentions),
        prune_head_dims=not attentions,
        head_pruning_ratio=amount,
        in_channel_groups={},  # the library's mutable defaults would keep the models of earlier trials alive
        out_channel_groups={},
    ).step()
    for block in attentions:
        block.all_head_size = block.query.out_features
        block.num_attention_heads = block.query.out_features // block.attention_head_size
    after = sum(p.numel() for p in model.parameters())
    if after == before:
        raise TrialError(f"structured pruning at pruning_ratio {amount} removed nothing from the {before} parameters")
    if _shape(model, inputs) != wanted:
        raise TrialError(f"structured pruning changed the shape of the outputs, which was {wanted[1:]}")
    return Pruned(model)


@torch.no_grad()
def _shape(model: nn.Module, inputs: Inputs) -> tuple[int, ...]:
    return tuple(model.eval()(*inputs[:2]).shape)


def last_layer(model: nn.Module, inputs: Inputs) -> list[nn.Module]:
    """The layer with weights that runs last, which need not be the last that was registered."""
    ran: list[nn.Module] = []
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    hooks = [
        module.register_forward_hook(lambda module, *_: ran.append(module))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    try:
        _shape(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return ran[-1:]


def attention_blocks(model: nn.Module) -> list[Any]:
    """The self-attentions of a BERT-like encoder, as transformers writes them."""
    names = ("query", "key", "value", "num_attention_heads", "attention_head_size")
    return [module for module in model.modules() if all(hasattr(module, name) for name in names)]


def projections(attention: Any) -> tuple[nn.Module, nn.Module, nn.Module]:
    return attention.query, attention.key, attention.value


def _of_encoder(model: nn.Module, attentions: list[Any]) -> list[nn.Module]:
    """What is pruned of an encoder: heads, and the inner width of feed-forward blocks; the residual stream stays."""
    heads = [layer for block in attentions for layer in projections(block)]
    blocks = max((module for module in model.modules() if isinstance(module, nn.ModuleList)), key=len)
    wider = [m for m in blocks.modules() if isinstance(m, nn.Linear) and m.out_features > m.in_features]
    return [*heads, *wider]
