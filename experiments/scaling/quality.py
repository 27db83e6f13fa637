"""Do many workers harm the sampler? The same number of trials by 1 to 64 workers, asked for before others have ended.

    python -m experiments.scaling.quality [SEEDS] [TRIALS] [MINUTES]    # quality_runs.json.gz, quality.json
    python -m experiments.scaling.plots                       # quality.png

The search is the real one, its rules too; time is simulated, so that a run takes seconds.
"""

import gzip
import heapq
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from autoopt.commands.bench import load_task, narrow
from autoopt.commands.first import first_recipes
from autoopt.config import Settings, load_settings
from autoopt.core.space import Space
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial
from autoopt.search.budget import Budget
from autoopt.search.jobs import Acts, Ended, Event, Job, perform
from autoopt.search.loop import run_search
from autoopt.search.screening import Gate
from autoopt.search.search import Search, Watch
from experiments.scaling.lookup import evaluator

PATH, RUNS = (Path(__file__).parent / name for name in ("quality.json", "quality_runs.json.gz"))
WORKERS = (1, 2, 4, 16, 64)
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),  # what sampler=tpe is: Optuna 5 knows of running trials by default
    "tpe, blind to running trials": lambda seed: TPESampler(seed=seed, constant_liar=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


class Simulated:
    """A crew whose jobs are done at once and told of when their time has come."""

    def __init__(self, workers: int) -> None:
        self._free, self.now = workers, 0.0
        self._coming: list[tuple[float, int, Event, bool]] = []
        self._order = count()
        self._spent = 0.0
        self._acts = Acts(evaluator(self._take))

    def idle(self) -> bool:
        return self._free > 0

    def begin(self, job: Job, trials: Sequence[Trial], cut: Callable[[], str]) -> None:
        self._free, self._spent = self._free - 1, 0.0

        def emit(event: Event) -> None:
            at, over = self.now + self._spent, not isinstance(event, Ended)
            heapq.heappush(self._coming, (at, next(self._order), event, over and type(event).__name__ == "Free"))

        perform(job, self._acts, list(trials), cut, emit)

    def turn(self, handle: Callable[[Event], None], wait_s: float) -> None:
        if wait_s == 0.0 or not self._coming:  # the search has more to begin
            return
        self.now, _, event, frees = heapq.heappop(self._coming)
        self._free += frees
        handle(event)

    def used_gb(self, number: int) -> float:
        return 0.0

    def kill(self, number: int) -> None:
        pass

    def _take(self, seconds: float, gate: Gate | None) -> None:
        self._spent += seconds


@cache
def parts() -> tuple[Settings, Space]:
    settings = load_settings([])
    return settings, narrow(settings, load_task(settings))


def search(order: tuple[str, int, int, int]) -> dict[str, Any]:
    """Hypervolume after each asked trial, and when, on workers that lose no time."""
    name, workers, seed, trials = order
    settings, space = parts()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * 2)
    study.sampler = SAMPLERS[name](seed)
    crew = Simulated(workers)
    ends: list[tuple[float, float]] = []

    def on_end(trial: Trial, standing: Standing) -> None:
        if trial.sibling_of is not None:
            ends.pop()
        ends.append((round(crew.now, 1), round(standing.hypervolume, 6)))

    job = Search(
        study=study,
        space=space,
        kpis=settings.kpis,
        crew=crew,
        budget=Budget(trials=trials),
        first=first_recipes(space),
        rules=settings.rules,
        watch=Watch(on_end=on_end),
    )
    run_search(job)
    return {"sampler": name, "workers": workers, "seed": seed, "ends": ends}


def main() -> None:
    """Goes on where it was stopped; a seed counts where all of its searches are there."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    trials = int(sys.argv[2]) if len(sys.argv) > 2 else 150
    end = time.monotonic() + 60 * (float(sys.argv[3]) if len(sys.argv) > 3 else 1e6)
    runs = read_runs()
    done = {(run["sampler"], run["workers"], run["seed"]) for run in runs}
    wanted = [(name, n, seed, trials) for seed in range(seeds) for name in SAMPLERS for n in WORKERS]
    left = [order for order in wanted if order[:3] not in done]
    with get_context("spawn").Pool(2) as pool:
        for run in pool.imap_unordered(search, left) if left else ():
            runs.append(run)
            if time.monotonic() > end:
                break
    with gzip.open(RUNS, "wt") as file:
        json.dump(runs, file)
    whole = [seed for seed in range(seeds) if sum(r["seed"] == seed for r in runs) == len(SAMPLERS) * len(WORKERS)]
    runs = [run for run in runs if run["seed"] in whole]
    arms = {name: {str(n): arm(runs, name, n) for n in WORKERS} for name in SAMPLERS}
    PATH.write_text(json.dumps({"trials": trials, "seeds": len(whole), "arms": arms}) + "\n")
    for name, by_workers in arms.items():
        print(name, {n: (row["final"], row["paired"], row["worse_seeds"]) for n, row in by_workers.items()})
    print(len(whole), "seeds,", len(left), "searches were left")


def read_runs() -> list[dict[str, Any]]:
    if not RUNS.is_file():
        return []
    with gzip.open(RUNS, "rt") as file:
        found: list[dict[str, Any]] = json.load(file)
        return found


def arm(runs: list[dict[str, Any]], name: str, workers: int) -> dict[str, Any]:
    """Mean and standard error over the seeds, and of the difference to one worker of the same sampler and seed."""
    of = {
        n: sorted((r for r in runs if (r["sampler"], r["workers"]) == (name, n)), key=lambda r: r["seed"])
        for n in (1, workers)
    }
    final, one = (np.array([run["ends"][-1][1] for run in of[n]]) for n in (workers, 1))
    shortest = min(len(run["ends"]) for run in of[workers])
    curves = np.array([[volume for _, volume in run["ends"][:shortest]] for run in of[workers]])
    hours = [run["ends"][-1][0] / 3600 for run in of[workers]]
    return {
        "final": mean_and_error(final),
        "paired": mean_and_error(final - one) if workers != 1 else None,
        "worse_seeds": int((final < one).sum()),
        "simulated_s": round(3600 * float(np.mean(hours))),
        "curve": [round(float(v), 6) for v in curves.mean(0)],
    }


def mean_and_error(values: np.ndarray) -> list[float]:
    return [round(float(values.mean()), 6), round(float(values.std(ddof=1) / np.sqrt(len(values))), 6)]


if __name__ == "__main__":
    main()
