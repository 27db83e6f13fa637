"""Training optimizers.

A member builds an optimizer: `(model, recipe) -> Optimizer`, reading from the recipe the knobs that its row names.
Weights of two and more dimensions decay, biases and gains do not (nor, under muon, embeddings and the last layer).
Add one = one function, one line here, its learning-rate range and its name in conf/space.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import schedulefree
import torch
from torch import nn
from torch.optim import Optimizer

from autoopt.core.recipe import Recipe

Build = Callable[[nn.Module, Recipe], Optimizer]
BETAS = ("beta1", "beta2", "weight_decay")
SCHEDULE = ("warmup", "schedule")


@dataclass(frozen=True)
class Row:
    build: Build
    knobs: tuple[str, ...]
    averages: bool = False
    """True where it evaluates at an average of the weights: it is switched by train() and eval(), and needs no
    schedule.
    """


def decay_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Two parameter groups: with the recipe's weight decay, and without."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, **_given(recipe, "weight_decay")}, {"params": vectors, "weight_decay": 0.0}]


def sgd(model: nn.Module, recipe: Recipe) -> Optimizer:
    momentum = recipe.momentum or 0.0
    nesterov = bool(recipe.nesterov) and momentum > 0  # without momentum there is nothing to look ahead along
    return torch.optim.SGD(
        decay_groups(model, recipe), lr=_lr(recipe), momentum=momentum, nesterov=nesterov, fused=True
    )


def adam(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Weight decay as an L2 term in the gradient (Kingma and Ba 2014, arXiv:1412.6980)."""
    return torch.optim.Adam(decay_groups(model, recipe), lr=_lr(recipe), betas=_betas(recipe), fused=True)


def adamw(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Decoupled weight decay (Loshchilov and Hutter 2017, arXiv:1711.05101)."""
    return torch.optim.AdamW(decay_groups(model, recipe), lr=_lr(recipe), betas=_betas(recipe), fused=True)


def nadam(model: nn.Module, recipe: Recipe) -> Optimizer:
    return torch.optim.NAdam(
        decay_groups(model, recipe), lr=_lr(recipe), betas=_betas(recipe), decoupled_weight_decay=True
    )


def radam(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Rectified Adam (Liu et al. 2019, arXiv:1908.03265)."""
    return torch.optim.RAdam(
        decay_groups(model, recipe), lr=_lr(recipe), betas=_betas(recipe), decoupled_weight_decay=True
    )


def rmsprop(model: nn.Module, recipe: Recipe) -> Optimizer:
    """beta2 is torch's alpha, the decay of the squared gradient's average."""
    return torch.optim.RMSprop(
        decay_groups(model, recipe), lr=_lr(recipe), alpha=_betas(recipe)[1], momentum=recipe.momentum or 0.0
    )


def adafactor(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Factored second moments (Shazeer and Stern 2018, arXiv:1804.04235)."""
    return torch.optim.Adafactor(decay_groups(model, recipe), lr=_lr(recipe))


def muon(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Orthogonalised momentum for hidden matrices, convolutions flattened (Jordan et al. 2024,
    kellerjordan.github.io/posts/muon).

    Embeddings, the last layer, biases and gains take AdamW. The update is scaled to AdamW's size (Liu et al. 2025,
    arXiv:2502.16982), so that one learning rate serves both.
    """
    import pytorch_optimizer  # a second to import: here, so that a mistyped value is answered without it

    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    hidden = [p for p in matrices[:-1] if id(p) not in embeddings]
    kept = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in kept]
    lr = _lr(recipe)
    groups: list[dict[str, Any]] = [{"params": others, "lr": lr, "weight_decay": 0.0, "use_muon": False}]
    if hidden:
        groups.append({"params": hidden, "lr": lr, "use_muon": True, **_given(recipe, "weight_decay", "momentum")})
    return pytorch_optimizer.Muon(groups, use_adjusted_lr=True)  # type: ignore[no-any-return]


def schedule_free_adamw(model: nn.Module, recipe: Recipe) -> Optimizer:
    """AdamW with iterate averaging in place of a schedule (Defazio et al. 2024, arXiv:2405.15682)."""
    return schedulefree.AdamWScheduleFree(decay_groups(model, recipe), lr=_lr(recipe), betas=_betas(recipe))  # type: ignore[no-any-return]


def lion(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Sign of an interpolated momentum (Chen et al. 2023, arXiv:2302.06675)."""
    import pytorch_optimizer

    return pytorch_optimizer.Lion(decay_groups(model, recipe), lr=_lr(recipe), betas=_betas(recipe))  # type: ignore[no-any-return]


def _given(recipe: Recipe, *names: str) -> dict[str, float]:
    """Those of the recipe's knobs that it sets; for the others the library's default holds."""
    return {name: getattr(recipe, name) for name in names if getattr(recipe, name) is not None}


def _lr(recipe: Recipe) -> float:
    assert recipe.learning_rate is not None
    return recipe.learning_rate


def _betas(recipe: Recipe) -> tuple[float, float]:
    return (0.9 if recipe.beta1 is None else recipe.beta1, 0.999 if recipe.beta2 is None else recipe.beta2)


OPTIMIZERS: dict[str, Row] = {
    "sgd": Row(sgd, ("momentum", "nesterov", "weight_decay", *SCHEDULE)),
    "adam": Row(adam, (*BETAS, *SCHEDULE)),
    "adamw": Row(adamw, (*BETAS, *SCHEDULE)),
    "nadam": Row(nadam, (*BETAS, *SCHEDULE)),
    "radam": Row(radam, (*BETAS, *SCHEDULE)),
    "rmsprop": Row(rmsprop, ("momentum", "beta2", "weight_decay", *SCHEDULE)),
    "adafactor": Row(adafactor, ("weight_decay", *SCHEDULE)),
    "muon": Row(muon, ("momentum", "weight_decay", *SCHEDULE)),
    "schedule_free_adamw": Row(schedule_free_adamw, (*BETAS, "warmup"), averages=True),
    "lion": Row(lion, (*BETAS, *SCHEDULE)),
}
