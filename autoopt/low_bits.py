"""A recipe's quantization: its scheme on the trained graph, with the layers that it leaves in float."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoopt.core.errors import TrialError, foreign
from autoopt.core.recipe import Recipe
from autoopt.core.rows import spread
from autoopt.quantization import (
    SCHEMES,
    Learned,
    Plan,
    damage_by_layer,
    has_low_bits,
    most_damaged,
    optimized,
    weights_by_layer,
)
from autoopt.structures import ranking
from autoopt.tasks import Task

RANKING_INPUTS = 64


def quantize(
    recipe: Recipe,
    task: Task,
    source: Path,
    target: Path,
    inputs: int,
    damage: Mapping[str, float] | None = None,
    learned: Sequence[Learned] = (),
) -> dict[str, Any]:
    """Write the quantized model, calibrated on so many inputs; returns what the scheme chose for this CPU. `damage`:
    of the layers, the worst first, of which the recipe leaves some in float.
    """
    chosen, scheme = task.train.inputs[spread(len(task.train), inputs)].numpy(), SCHEMES[recipe.quantization]
    with foreign(recipe.quantization), optimized(source, recipe.graph_optimization) as graph:
        layers = weights_by_layer(graph, scheme.changes) if recipe.float_layers else {}
        kept = most_damaged(damage or {}, layers, recipe.float_layers) if recipe.float_layers else ()
        plan = Plan(chosen, recipe.calibration, recipe.operators, recipe.keep_float, kept, learned, scheme.changes)
        found = scheme.quantize(graph, target, plan)
    if recipe.quantization != "none" and not has_low_bits(target):
        raise TrialError(f"{recipe.quantization} changes nothing in this model")
    return found


def rank(
    recipe: Recipe, task: Task, structure: Path, conditions: Mapping[str, Any], weights: Path | None = None
) -> dict[str, float]:
    """Layer -> damage in a structure under the recipe's scheme, where that leaves some in float: remembered, or made of
    the model with final weights at `weights`; {} where there is none yet. `conditions`: see `measure_structure`.
    """
    if not recipe.float_layers:
        return {}

    def made() -> dict[str, float]:
        assert weights is not None
        plan = Plan(task.train.inputs[spread(len(task.train), RANKING_INPUTS)].numpy(), kinds=scheme.changes)
        with foreign(f"ranking the layers for {recipe.quantization}"), optimized(weights, level) as graph:
            return damage_by_layer(graph, plan, scheme.quantize)

    scheme, level = SCHEMES[recipe.quantization], recipe.graph_optimization
    name = "-".join(filter(None, (recipe.quantization, level)))
    return ranking(structure, name, conditions, made if weights else None)


def in_words(float_layers: int | None, damage: Mapping[str, float]) -> str | None:
    """Which layers stay in float, fit for the name of a file; None where none does."""
    if not float_layers:
        return None
    names = " ".join(list(damage)[:float_layers])
    return f"{float_layers}-{hashlib.sha256(names.encode()).hexdigest()[:8] if names else 'smallest'}"
