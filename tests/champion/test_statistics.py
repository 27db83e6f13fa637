"""Intervals hold what they claim to hold."""

import numpy as np
import pytest
from scipy.stats import binom

from autoopt.champion.statistics import drop_interval, mcnemar, share_interval
from autoopt.core.errors import TrialError
from autoopt.core.metric import Metric
from autoopt.tasks.goal import METRICS

ACCURACY = METRICS["accuracy"]


def outputs(right: np.ndarray) -> np.ndarray:
    """Of two classes, of which the second is always the target."""
    return np.stack([~right, right], 1).astype(float)


def pair(rng: np.random.Generator, n: int, gained: float, lost: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two models that differ on so many rows in expectation, and the targets."""
    kind = rng.choice(3, n, p=[gained, lost, 1 - gained - lost])
    both = rng.random(n) < 0.9
    return outputs(np.where(kind == 2, both, kind == 0)), outputs(np.where(kind == 2, both, kind == 1)), np.ones(n, int)


def test_mcnemar_is_the_binomial_test_of_the_rows_that_differ() -> None:
    mine = np.array([True] * 3 + [False] * 9 + [True] * 50)
    base = np.array([False] * 3 + [True] * 9 + [True] * 50)
    assert mcnemar(mine, base) == pytest.approx(2 * binom.cdf(3, 12, 0.5))
    assert mcnemar(base, base) == 1.0


def test_a_share_of_one_has_an_interval_below_it() -> None:
    low, high = share_interval(50, 50)
    assert 0.9 < low < 0.95
    assert high == pytest.approx(1.0)
    assert share_interval(4326, 4500)[1] - share_interval(4326, 4500)[0] == pytest.approx(0.0112, abs=5e-4)


def test_the_interval_of_a_drop_holds_the_true_one_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        low, high = drop_interval(ACCURACY, *pair(rng, 1500, 0.02, 0.035))
        held += low <= 0.015 <= high
    assert 0.92 <= held / 300 <= 0.98


def test_counting_rows_is_drawing_rows() -> None:
    mine, base, targets = pair(np.random.default_rng(1), 2000, 0.03, 0.05)
    drawn = drop_interval(Metric("other", ACCURACY.score), mine, base, targets)
    assert drop_interval(ACCURACY, mine, base, targets) == pytest.approx(drawn, abs=1.5e-3)


def test_draws_on_which_a_metric_is_not_defined_are_left_out() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 2
    targets[:] = 0
    targets[:6] = 1  # so few that one draw in four hundred lacks them
    outputs = rng.random((400, 2))

    def recall(outputs: np.ndarray, targets: np.ndarray) -> float:
        if not targets.any():
            raise TrialError("no row of class 1")
        return float((outputs.argmax(1) == 1)[targets == 1].mean())

    low, high = drop_interval(Metric("quality", recall), outputs, outputs[::-1], targets)  # type: ignore[misc]
    assert -1 <= low < high <= 1
    targets[1:6] = 0  # now one in three does
    assert drop_interval(Metric("quality", recall), outputs, outputs, targets) is None
    nan = Metric("quality", lambda outputs, targets: float("nan"))
    assert drop_interval(nan, outputs, outputs, targets) is None


def test_numbers_have_an_interval_too() -> None:
    rng = np.random.default_rng(2)
    targets = rng.normal(size=(400, 1))
    base, mine = targets + 0.1 * rng.normal(size=(400, 1)), targets + 0.3 * rng.normal(size=(400, 1))
    low, high = drop_interval(METRICS["r2"], mine, base, targets)
    assert low < METRICS["r2"].score(base, targets) - METRICS["r2"].score(mine, targets) < high
    assert 0.03 < low < high < 0.15
