"""The first recipes of a study, before the sampler has a say."""

from dataclasses import replace

from autoopt.core.recipe import BASELINE, TEACHER, Recipe
from autoopt.core.siblings import baseline, quantized, runtimes
from autoopt.core.space import Space, typical, values


def first_recipes(space: Space) -> list[Recipe]:
    """The teacher under each runtime and each scheme that trains nothing (seconds each), then a typical recipe of each
    student.

    The teacher made smaller has weights to begin with: it comes first with the fewest epochs, which are often enough to
    meet the bounds, and last with the most, for the accurate end of the front.
    """
    students = [str(student) for student in values(space.knobs["student"])]
    typicals = [typical(space, student, "low" if student == TEACHER else "middle") for student in students]
    typicals += [typical(space, TEACHER, "high")] if TEACHER in students else []
    return [*_quantized_teachers(space), *dict.fromkeys(recipe for recipe in typicals if recipe.is_trained)]


def _quantized_teachers(space: Space) -> list[Recipe]:
    """Those outside of the space drop out when they are queued."""
    if TEACHER not in values(space.knobs["student"]):
        return []
    schemes = list(map(str, values(space.knobs["quantization"], TEACHER)))
    under = [replace(BASELINE, runtime=runtime) for runtime in runtimes(space)]
    recipes = [quantized(space, teacher, scheme)[0] for teacher in under for scheme in schemes]
    return [recipe for recipe in recipes if recipe != baseline(space) and not recipe.qat_epochs]
