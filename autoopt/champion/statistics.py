"""How sure a difference between two models on the same inputs is."""

import numpy as np
from scipy.stats import binomtest

from autoopt.core.errors import TrialError
from autoopt.core.metric import Metric

DRAWS, SEED = 10_000, 0
DRAWS_OF_A_METRIC = 1_000  # of one that has to be computed anew for each draw
LEVEL = 0.95
UNDEFINED = 0.05


def mcnemar(mine: np.ndarray, base: np.ndarray) -> float:
    """The exact two-sided p-value that two models are right equally often, from where only one of them is (McNemar
    1947, doi:10.1007/BF02295996). Whether each is right, (n,) of bool each; 1.0 where they never differ.
    """
    gained, lost = _differences(mine, base)
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def share_interval(right: int, size: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    found = binomtest(right, size).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def drop_interval(
    metric: Metric, mine: np.ndarray, base: np.ndarray, targets: np.ndarray
) -> tuple[float, float] | None:
    """The 95% interval of how much less `mine` scores than `base`, by a paired bootstrap over the rows (Efron 1979,
    doi:10.1214/aos/1176344552): outputs (n, k) of both on the same inputs, and what the metric compares them with.

    Draws on which the metric fails or is no number, such as without a row of some class, are left out; None where
    those are more than UNDEFINED of all.
    """
    rng = np.random.default_rng(SEED)
    if metric.name == "accuracy":  # a row gains, loses or does neither: draws of rows are draws of three counts
        gained, lost = _differences(mine.argmax(1) == targets, base.argmax(1) == targets)
        n = len(targets)
        counts = rng.multinomial(n, [gained / n, lost / n, 1 - (gained + lost) / n], DRAWS)
        drops = (counts[:, 1] - counts[:, 0]) / n
    else:
        rows = (rng.integers(len(targets), size=len(targets)) for _ in range(DRAWS_OF_A_METRIC))
        drops = np.array([_drop(metric, mine[i], base[i], targets[i]) for i in rows])
        drops = drops[np.isfinite(drops)]
        if len(drops) < (1 - UNDEFINED) * DRAWS_OF_A_METRIC:
            return None
    low, high = np.quantile(drops, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _drop(metric: Metric, mine: np.ndarray, base: np.ndarray, targets: np.ndarray) -> float:
    try:
        return float(metric.score(base, targets)) - float(metric.score(mine, targets))
    except TrialError:  # a metric of the user's says so
        return float("nan")


def _differences(mine: np.ndarray, base: np.ndarray) -> tuple[int, int]:
    """How often only the first is right, and how often only the second."""
    return int((mine & ~base).sum()), int((~mine & base).sum())
