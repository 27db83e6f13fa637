"""How often the final exam lets a model pass whose true drop breaks the bound, and how often a good one.

    python run.py      # -> results.json and the table on stdout, a minute on one core

A pair of models is drawn: the baseline is right on 95% of the rows, and on some only one of the two is right, such that
accuracy truly drops by `drop`. The bound is max_drop=0.02.
"""

import json
from pathlib import Path

import numpy as np

from autoopt.champion.statistics import drop_interval
from autoopt.tasks.goal import METRICS

BOUND, RIGHT, PAIRS = 0.02, 0.95, 200
GAINED = 0.015  # the share of rows that only the smaller model gets right
SIZES = (300, 1000, 2000, 4500, 10_000)
DROPS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03)


def main() -> None:
    results = []
    for size in SIZES:
        for drop in DROPS:
            rng = np.random.default_rng(0)
            exams = [exam(rng, size, drop) for _ in range(PAIRS)]
            upper, point, held = np.mean(exams, 0)
            shares = {"upper_limit": upper, "point": point, "interval_holds": held}
            shares = {key: round(float(share), 4) for key, share in shares.items()}
            results.append({"size": size, "drop": drop, **shares})
            print(results[-1], flush=True)
    (Path(__file__).parent / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def exam(rng: np.random.Generator, size: int, drop: float) -> tuple[bool, bool, bool]:
    """Whether the pair passes by either rule, and whether the interval holds the true drop."""
    lost = GAINED + drop
    kind = rng.choice(4, size, p=[RIGHT - lost, lost, GAINED, 1 - RIGHT - GAINED])
    base, mine = kind < 2, (kind == 0) | (kind == 2)
    targets = np.ones(size, int)
    low, high = drop_interval(METRICS["accuracy"], outputs(mine), outputs(base), targets)
    return high <= BOUND, float(base.mean() - mine.mean()) <= BOUND, low <= drop <= high


def outputs(right: np.ndarray) -> np.ndarray:
    return np.stack([~right, right], 1).astype(float)


if __name__ == "__main__":
    main()
