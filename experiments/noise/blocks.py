"""Which estimate and which interval suit blocks of calls: 1,200 blocks in a row, cut into measurements of 20.

python blocks.py        # writes results_blocks.json; one minute, with the machine to itself
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from run import make_subject
from scipy.stats import t

from autoopt.measurements.latency import time_calls

HERE = Path(__file__).parent
BLOCKS, CALLS, OF_ONE, DRAWS = 1200, 40, 20, 500
Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    subject = make_subject("fashion", [], Path(tempfile.mkdtemp()))
    sessions = (subject.session, subject.baseline_session)
    for session in sessions:
        time_calls(session, subject.inputs, 0, 100)
    taken = [[time_calls(s, subject.inputs, block * CALLS, CALLS) for s in sessions] for block in range(BLOCKS)]
    results = {}
    for percentile in (50, 95):
        mine, base = (np.array([np.percentile(pair[who], percentile) for pair in taken]) for who in (0, 1))
        results[f"p{percentile}"] = {
            "autocorrelation_of_the_teacher": {lag: correlation(np.log(base), lag) for lag in (1, 5, 20, 40)},
            "lowest_part": {part: judge(mine, base, part) for part in (10, 25, 50)},
        }
    (HERE / "results_blocks.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def judge(mine: np.ndarray, base: np.ndarray, part: int) -> dict[str, float]:
    """Of the ratio of the blocks' `part`-th percentiles: how it varies, and how often each interval holds it."""

    def ratio(m: np.ndarray, b: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.percentile(m, part, -1) / np.percentile(b, part, -1)
        return found

    rng, truth = np.random.default_rng(0), float(ratio(mine, base))
    windows = [slice(start, start + OF_ONE) for start in range(0, BLOCKS, OF_ONE)]
    found = np.array([ratio(mine[at], base[at]) for at in windows])
    bootstrap, groups = [], []
    for at, value in zip(windows, found, strict=True):
        draws = rng.integers(0, OF_ONE, (DRAWS, OF_ONE))
        low, high = np.percentile(ratio(mine[at][draws], base[at][draws]), [2.5, 97.5])
        bootstrap.append(low <= truth <= high)
        parts = ratio(mine[at].reshape(5, -1), base[at].reshape(5, -1))
        groups.append(abs(value - truth) <= t.ppf(0.975, 4) * parts.std(ddof=1) / np.sqrt(5))
    return {
        "variation": round(float(found.std() / found.mean()), 4),
        "held_by_bootstrap_over_blocks": round(float(np.mean(bootstrap)), 3),
        "held_by_student_over_five_groups": round(float(np.mean(groups)), 3),
    }


def correlation(series: np.ndarray, lag: int) -> float:
    """Of a series with itself, `lag` places later."""
    return round(float(np.corrcoef(series[:-lag], series[lag:])[0, 1]), 2)


if __name__ == "__main__":
    main()
