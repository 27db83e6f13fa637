"""Validation where there is none: a share of the train split."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoopt.core.errors import ConfigError

SHARE, SEED = 0.1, 0


def hold_out(targets: Sequence[Any] | np.ndarray, instead: str) -> tuple[np.ndarray, np.ndarray]:
    """The places that stay in train, and those that are held out: a tenth, stratified by class, always the same.

    Raises ConfigError where a class is too small, saying what to do `instead`.
    """
    from sklearn.model_selection import train_test_split  # a second to import

    try:
        kept, held = train_test_split(np.arange(len(targets)), test_size=SHARE, random_state=SEED, stratify=targets)
    except ValueError as error:
        raise ConfigError(f"no stratified tenth of train can be taken for validation ({error}): {instead}") from error
    return kept, held
