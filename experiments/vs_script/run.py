"""Runs the arms of the comparison, two at a time, each on a core of its own and with one thread.

    python run.py [--minutes 10] [--seeds 0 1 2] [--arms script autoopt no_screens ...]   # adds to rows/fashion/
    python run.py --task intents --minutes 30 --arms script autoopt --set task.path=DATA teacher.checkpoint=WEIGHTS
    python compare.py                                                                     # rows/ -> results.json, plots

Each pair of arms swaps cores with the next one, so that no arm keeps the better core.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna

from autoopt.search.record import read_trials
from autoopt.search.study import load_study

HERE = Path(__file__).parent
ARMS = {
    "script": None,
    "autoopt": [],
    "no_screens": ["search.screens=false"],
    "no_bar": ["search.bar=false"],
    "no_siblings": ["search.siblings=false"],
    "no_warm_start": ["search.warm_start=false"],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--task", default="fashion")
    parser.add_argument("--set", nargs="+", default=[], help="overrides for every arm")
    options = parser.parse_args()
    common = [f"task={options.task}", *options.set]
    cores = sorted(os.sched_getaffinity(0))[:2]
    jobs = [(arm, seed) for seed in options.seeds for arm in options.arms]
    for place in range(0, len(jobs), 2):
        pair = jobs[place : place + 2]
        swapped = cores if (place // 2) % 2 == 0 else cores[::-1]
        running = [
            begin(arm, seed, core, options.minutes * 60, common)
            for (arm, seed), core in zip(pair, swapped, strict=False)
        ]
        for (arm, seed), (process, folder, began) in zip(pair, running, strict=True):
            process.wait()
            rows = from_script(folder) if arm == "script" else from_study(folder, arm, seed, began)
            write(HERE / "rows" / options.task, arm, seed, options.minutes, rows)
            print(f"{arm} seed {seed}: {len(rows)} rows, exit code {process.returncode}", flush=True)


def begin(
    arm: str, seed: int, core: int, seconds: float, common: list[str]
) -> tuple[subprocess.Popen[bytes], Path, float]:
    folder = Path(tempfile.mkdtemp())
    overrides = ARMS[arm]
    if overrides is None:
        # a trial that is under way at the end would not count: it is cut off, so that the next pair begins on time
        words = ["timeout", str(seconds), sys.executable, str(HERE / "script.py")]
        words += [str(folder / "rows.jsonl"), str(seconds), str(seed), "1", *common]
    else:
        budget = f"budget.hours={seconds / 3600:.6f}"
        keys = [f"study={arm}-s{seed}", f"seed={seed}", "threads=1", f"outputs={folder}", budget]
        words = [sys.executable, "-m", "autoopt", "search", *common, *keys, *overrides]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
    log = (folder / "terminal.txt").open("w")
    command = ["taskset", "-c", str(core), *words]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder), folder, time.time()


def from_script(folder: Path) -> list[dict[str, object]]:
    path = folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{"state": "complete", "reason": "", "sibling_of": None, **row} for row in rows]


def from_study(folder: Path, arm: str, seed: int, began: float) -> list[dict[str, object]]:
    """Every trial of the study; `at_s` counts from the start of the process, as the script's does."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = load_study(folder / f"{arm}-s{seed}", f"{arm}-s{seed}")
    ended = {trial.number: trial.datetime_complete for trial in study.get_trials(deepcopy=False)}
    return [
        {
            "at_s": ended[trial.number].timestamp() - began,
            "state": trial.state,
            "reason": trial.reason,
            "sibling_of": trial.sibling_of,
            "recipe": trial.recipe.to_dict(),
            **(trial.evaluation.to_dict() if trial.evaluation else {}),
        }
        for trial in read_trials(study)
    ]


def write(folder: Path, arm: str, seed: int, minutes: float, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / f"{arm}-s{seed}.json.gz", "wt") as file:
        json.dump({"arm": arm, "seed": seed, "minutes": minutes, "rows": rows}, file)


if __name__ == "__main__":
    main()
