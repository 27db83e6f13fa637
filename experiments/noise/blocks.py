"""Which estimate and which interval suit blocks of calls: 1,200 blocks in a row, cut into measurements of 20.

python blocks.py        # writes results_blocks_TASK.json; two minutes, with the machine to itself
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from run import make_subject
from scipy.stats import t

from autoopt.measurements.latency import calm, mixed, time_calls

HERE = Path(__file__).parent
BLOCKS, CALLS, OF_ONE, DRAWS, GROUPS = 1200, 40, 20, 200, 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", default="fashion")
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    subject = make_subject(options.task, options.set, Path(tempfile.mkdtemp()))
    sessions, inputs = (subject.session, subject.baseline_session), mixed(subject.inputs, CALLS)
    for session in sessions:
        time_calls(session, inputs, 0, 100)
    taken = [[time_calls(s, inputs, block * CALLS, CALLS) for s in sessions] for block in range(BLOCKS)]
    mine, base = ([pair[who] for pair in taken] for who in (0, 1))
    results = {}
    for percentile in (50, 95):
        of_blocks = np.array([np.percentile(block, percentile) for block in base])
        results[f"p{percentile}"] = {
            "autocorrelation_of_the_teacher": {lag: correlation(np.log(of_blocks), lag) for lag in (1, 5, 20, 40)},
            "calmest_share": {share: judge(mine, base, percentile, share) for share in (0.1, 0.25, 0.5, 1.0)},
        }
    (HERE / f"results_blocks_{options.task}.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def judge(mine: list[np.ndarray], base: list[np.ndarray], percentile: float, share: float) -> dict[str, float]:
    """Of the ratio of percentiles over that share of the blocks: how it varies, and how often each interval, drift left
    out, holds it.
    """

    def ratio(places: Sequence[int] | np.ndarray) -> float:
        own, theirs = (calm([blocks[i] for i in places], percentile, share) for blocks in (mine, base))
        return own / theirs

    rng, truth = np.random.default_rng(0), ratio(range(BLOCKS))
    windows = [np.arange(start, start + OF_ONE) for start in range(0, BLOCKS, OF_ONE)]
    found = np.array([ratio(window) for window in windows])
    bootstrap, groups = [], []
    for window, value in zip(windows, found, strict=True):
        low, high = np.percentile([ratio(rng.choice(window, OF_ONE)) for _ in range(DRAWS)], [2.5, 97.5])
        bootstrap.append(low <= truth <= high)
        parts = np.array([ratio(part) for part in np.split(window, GROUPS)])
        groups.append(abs(value - truth) <= t.ppf(0.975, GROUPS - 1) * parts.std(ddof=1) / np.sqrt(GROUPS))
    return {
        "ratio": round(truth, 4),
        "teacher_ms": round(calm(base, percentile, share), 4),
        "variation": round(float(found.std() / found.mean()), 4),
        "held_by_bootstrap_over_blocks": round(float(np.mean(bootstrap)), 3),
        "held_by_student_over_five_groups": round(float(np.mean(groups)), 3),
    }


def correlation(series: np.ndarray, lag: int) -> float:
    """Of a series with itself, `lag` places later."""
    return round(float(np.corrcoef(series[:-lag], series[lag:])[0, 1]), 2)


if __name__ == "__main__":
    main()
