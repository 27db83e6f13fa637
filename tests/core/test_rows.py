"""Rows that stand for all."""

import numpy as np
import pytest

from autoopt.core.rows import spread


@pytest.mark.parametrize(("rows", "wanted"), [(3, 64), (1, 5), (5, 1), (100, 7), (5000, 256), (10, 10)])
def test_they_lie_evenly_from_the_first_to_the_last(rows: int, wanted: int) -> None:
    assert spread(rows, wanted) == np.linspace(0, rows - 1, min(rows, wanted)).round().astype(int).tolist()
