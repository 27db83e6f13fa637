"""How wide a student is."""

from autoopt.core.recipe import Recipe


def scaled(base: int, recipe: Recipe) -> int:
    """`base` times the recipe's width, rounded to 8: a multiple fills a vector register."""
    return max(8, 8 * round(base * (recipe.width or 1.0) / 8))
