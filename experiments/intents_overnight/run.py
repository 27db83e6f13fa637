"""A night on the intents task: one search, its folder copied as it stands after half an hour.

    python run.py FOLDER DATA WEIGHTS [--hours 2]    # searches in FOLDER
    python table.py FOLDER DATA                      # what it found, on the test split -> results.json, front.png

DATA and WEIGHTS are task.path and teacher.checkpoint.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

STUDY, EARLY_S = "intents-night", 1800
BOUND = "kpis.accuracy.max_drop=0.03"  # one point more than kpis=agent has: the front reaches to the smallest students


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--hours", type=float, default=2.0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    words = [f"task.path={options.data.resolve()}", f"teacher.checkpoint={options.weights.resolve()}"]
    words += [BOUND, f"budget.hours={options.hours}", f"study={STUDY}"]
    with (options.folder / "transcript.txt").open("w") as log:
        search = subprocess.Popen(
            [sys.executable, "-m", "autoopt", "search", "task=intents", *words],
            cwd=options.folder,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=log,
            stderr=log,
        )
        time.sleep(EARLY_S)
        shutil.copytree(options.folder / "outputs" / STUDY, options.folder / "early")
        sys.exit(search.wait())


if __name__ == "__main__":
    main()
