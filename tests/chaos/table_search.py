"""A search of the lookup table in workers of its own.

    python -m tests.chaos.table_search FOLDER TRIALS WORKERS DELAY_S [URI]

Prints the workers' processes, then a line for each trial, once it is on record.
"""

import json
import sys
from functools import partial
from pathlib import Path

from autoopt.core.errors import ConfigError
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import Trial
from autoopt.search.backup import back_up
from autoopt.search.budget import Budget
from autoopt.search.lock import lock_study
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.search import Watch
from autoopt.search.study import IDENTITY
from autoopt.search.workers import Workers
from autoopt.tracking.target import Target, writer_lock
from autoopt.tracking.tracker import Tracker
from tests.search.table import KPIS, begin, make_search, start


def main(folder: Path, trials: int, workers: int, delay_s: float, uri: str) -> None:
    with lock_study(folder, "table"), Workers(workers, folder / "work", preload="tests.search.table") as crew:
        study = begin(folder)
        crew.open(partial(start, delay_s))
        print(json.dumps({"workers": crew.pids()}), flush=True)
        tracker = None
        if uri:
            lock, now = writer_lock(folder), standing(read_trials(study), KPIS)
            tracker = Tracker(target_of(folder, uri, study.user_attrs[IDENTITY]), lock, now)

        def on_start(number: int, recipe: Recipe) -> None:
            print(json.dumps({"begins": number, "workers": crew.pids()}), flush=True)

        def on_end(trial: Trial, now: Standing) -> None:
            print(
                json.dumps({"trial": trial.number, "state": trial.state, "recipe": trial.recipe.to_dict()}), flush=True
            )
            if tracker:
                tracker.update(now)

        rules = Rules(screens=False, bar=False)
        watch = Watch(on_start=on_start, on_end=on_end)
        run_search(make_search(study, crew=crew, watch=watch, rules=rules, budget=Budget(trials=trials)))
        back_up(folder)
        if tracker:
            tracker.close()


def target_of(folder: Path, uri: str, identity: str) -> Target:
    return Target(uri, folder, "toy", "table", identity, KPIS, lambda number: folder / "trials" / str(number))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *(sys.argv[5:] or [""]))
    except ConfigError as refused:
        sys.exit(str(refused))
