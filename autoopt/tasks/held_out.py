"""Validation where there is none: a share of the train split."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from autoopt.core.errors import ConfigError

SHARE, SEED = 0.1, 0


def hold_out(
    targets: Sequence[Any] | np.ndarray, rows: Sequence[Hashable], instead: str
) -> tuple[np.ndarray, np.ndarray]:
    """The places that stay in train, and those that are held out: a tenth, stratified by class, always the same.

    Of `rows`, equal ones stay together: what is measured on must not have been learned. Raises ConfigError where a
    class is too small, saying what to do `instead`.
    """
    from sklearn.model_selection import train_test_split  # a second to import

    first: dict[Hashable, int] = {}
    for place, row in enumerate(rows):
        first.setdefault(row, place)
    try:
        _, held = train_test_split(
            list(first.values()), test_size=SHARE, random_state=SEED, stratify=[targets[i] for i in first.values()]
        )
    except ValueError as error:
        raise ConfigError(f"no stratified tenth of train can be taken for validation ({error}): {instead}") from error
    is_held = np.isin([first[row] for row in rows], held)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)
