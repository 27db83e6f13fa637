"""The teacher made smaller: a copy with its weights, of which whole layers and parts of the embedding table may go.

Channels, heads and inner widths are removed by the pruning methods, afterwards.
"""

import copy

import torch
from torch import Tensor, nn

from autoopt.core.errors import TrialError
from autoopt.core.recipe import Recipe
from autoopt.core.signature import Signature, Tokens
from autoopt.students.embedding import CutEmbedding, factors, nearest_rows


def smaller_teacher(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """Raises TrialError where the recipe asks for what the teacher does not have."""
    model = copy.deepcopy(teacher).requires_grad_(True)  # a model that is served is often frozen
    if recipe.layers is not None:
        keep_layers(model, recipe.layers)
    if recipe.vocabulary == "cut" or recipe.embedding_rank is not None:
        if signature.tokens is None:
            raise TrialError("space.vocabulary and space.embedding_rank are for tasks of text")
        rows = nearest_rows(teacher, signature.tokens) if recipe.vocabulary == "cut" else None
        shrink_embedding(model, signature.tokens, rows, rank=recipe.embedding_rank)
    return model


def keep_layers(model: nn.Module, layers: int) -> None:
    """Keep the first `layers` of the longest list of modules, which in an encoder is that of its blocks."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise TrialError("space.layers: the teacher has no list of layers (nn.ModuleList) to take some from")
    stack = max(stacks, key=len)
    if layers > len(stack):
        raise TrialError(f"space.layers={layers}: the teacher has {len(stack)}")
    del stack[layers:]


def shrink_embedding(model: nn.Module, tokens: Tokens, rows: Tensor | None, *, rank: int | None) -> None:
    """Put a table of the used tokens' rows (None: all), of fewer columns, or both in the place of the largest one."""
    place, table = max(
        ((name, module.weight.detach()) for name, module in model.named_modules() if isinstance(module, nn.Embedding)),
        key=lambda found: len(found[1]),
    )
    kept, project = table if rows is None else table[list(tokens.used)], None
    if rank is not None and rank < kept.shape[1]:
        kept, project = factors(kept, rank)
    model.set_submodule(place, CutEmbedding(kept, torch.arange(len(table)) if rows is None else rows, project))
