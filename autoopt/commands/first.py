"""The first recipes of a study, before the sampler has a say."""

from autoopt.core.recipe import BASELINE, TEACHER, Recipe
from autoopt.core.space import Space, typical, values


def first_recipes(space: Space) -> list[Recipe]:
    """The teacher under each scheme (no training, seconds each), then a typical recipe of each student.

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
    calibrations = values(space.knobs["calibration"]) if "calibration" in space.knobs else ()
    calibration = str(calibrations[0]) if calibrations else None
    asked = space.needs["calibration"][1]
    schemes = [str(scheme) for scheme in values(space.knobs["quantization"], TEACHER)]
    recipes = [
        Recipe(TEACHER, "none", scheme, calibration=calibration if scheme in asked else None) for scheme in schemes
    ]
    return [recipe for recipe in recipes if recipe != BASELINE]
