"""Recipes that share their trained weights: they differ in how these are quantized, and in what serves them."""

from dataclasses import replace

from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import Choice, Per, Range, Space, Value, middle, parameters, values

VARIED = ("calibration", "float_layers")
"""Knobs of a scheme of which siblings take each choice, one knob at a time."""


def siblings(space: Space, recipe: Recipe) -> list[Recipe]:
    """The recipes of the space that differ from this one in how they are quantized and what serves them alone, without
    more training.
    """
    schemes = list(map(str, values(space.knobs["quantization"], recipe.student)))
    under = [replace(recipe, runtime=runtime) for runtime in runtimes(space)]
    found = [other for base in under for scheme in schemes for other in quantized(space, base, scheme)]
    made = [other for other in found if other != recipe and not other.qat_epochs]
    return [other for other in made if parameters(space, other) is not None]


def quantized(space: Space, recipe: Recipe, scheme: str) -> list[Recipe]:
    """The recipe under a scheme: with the first choice of its knobs, or the middle of a range; then with each other
    choice of those that are VARIED.
    """
    knobs = [name for name, (parent, _) in space.needs.items() if parent == "quantization"]
    rest = {name: value for name, value in recipe.to_dict().items() if name not in knobs}
    asked = {
        name: choices
        for name in knobs
        if scheme in space.needs[name][1] and (choices := _choices(space.knobs.get(name), recipe.student))
    }
    first = {name: choices[0] for name, choices in asked.items()}
    others = [{name: choice} for name in VARIED for choice in asked.get(name, ())[1:]]
    return [Recipe.from_dict({**rest, "quantization": scheme, **first, **other}) for other in [{}, *others]]


def _choices(knob: Choice | Range | Per | None, student: str) -> tuple[Value, ...]:
    """What a student may take: of a range the middle."""
    own = knob.cases.get(student) if isinstance(knob, Per) else knob
    return () if own is None else values(own) if isinstance(own, Choice) else (middle(own),)


def runtimes(space: Space) -> tuple[str | None, ...]:
    """What may serve a recipe, the baseline's first; None alone where the study has one runtime."""
    return tuple(map(str, values(space.knobs["runtime"]))) if "runtime" in space.knobs else (None,)


def baseline(space: Space) -> Recipe:
    """The teacher unchanged, under the first of the runtimes."""
    return replace(BASELINE, runtime=runtimes(space)[0])
