"""The study that many workers share: fashion's space and KPIs, looked-up trials, PostgreSQL, and what is left in it."""

import json
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from autoopt.core.kpi import Kpi
from autoopt.core.recipe import Recipe
from autoopt.core.space import Space, draw
from autoopt.core.standing import Standing
from autoopt.core.trial import FAILED, Trial
from autoopt.search.budget import Budget
from autoopt.search.crew import Crew
from autoopt.search.peers import Peers
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.samplers import make_sampler
from autoopt.search.search import Search, Watch
from autoopt.search.study import open_study
from tests.services import Postgres, postgres

NOBODY: dict[str, Any] = {"space": {"a": 1}, "teacher": {"weights": "none"}}
DURABLE = "fsync = on\n"
"""As PostgreSQL comes; the tests' server waits for no disk."""


@dataclass(frozen=True)
class Parts:
    """What is read once with torch, and pickled for processes that need none."""

    space: Space
    kpis: tuple[Kpi, ...]
    first: tuple[Recipe, ...]

    @classmethod
    def of_fashion(cls) -> "Parts":
        from autoopt.commands.bench import load_task, narrow
        from autoopt.commands.first import first_recipes
        from autoopt.config import load_settings

        settings = load_settings([])
        space = narrow(settings, load_task(settings))
        return cls(space, settings.kpis, tuple(first_recipes(space)))

    def write(self, path: Path) -> Path:
        path.write_bytes(pickle.dumps(self))
        return path

    @classmethod
    def read(cls, path: Path) -> "Parts":
        parts: Parts = pickle.loads(path.read_bytes())
        return parts


@dataclass
class Ends:
    """When the trials ended, siblings not counted, and the hypervolume then."""

    began: float = field(default_factory=time.monotonic)
    rows: list[tuple[float, float]] = field(default_factory=list)

    def on_end(self, trial: Trial, standing: Standing) -> None:
        if trial.sibling_of is None and trial.state != FAILED:
            self.rows.append((round(time.monotonic() - self.began, 2), round(standing.hypervolume, 6)))

    def steady(self, skip: int) -> int | None:
        """Trials an hour between the end of the first `skip` and that of the last but `skip`; None of too few."""
        inner = self.rows[skip:-skip]
        return round(3600 * (len(inner) - 1) / (inner[-1][0] - inner[0][0])) if len(inner) > 2 else None


@contextmanager
def server(folder: Path, conf: str = DURABLE) -> Iterator[Postgres]:
    with postgres(folder) as found:
        with (folder / "pg" / "postgresql.conf").open("a") as file:
            file.write(conf)
        found.stop()
        found.start()
        yield found


def begin(
    uri: str, name: str, kpis: tuple[Kpi, ...], sampler: str, seed: int, options: dict[str, Any] | None = None
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(Path(), name, kpis, NOBODY, storage=uri)
    study.sampler = make_sampler(sampler, seed, options or {})
    return study


def make_search(
    study: optuna.Study, parts: Parts, crew: Crew, peers: Peers, budget: Budget, ends: Ends, *, siblings: bool = True
) -> Search:
    """Without screening: each trial takes the whole of its time, so that the ideal is known."""
    return Search(
        study=study,
        space=parts.space,
        kpis=parts.kpis,
        crew=crew,
        budget=budget,
        first=parts.first,
        rules=Rules(screens=False, bar=False, siblings=siblings),
        watch=Watch(on_end=ends.on_end),
        should_stop=lambda: peers.over,
        peers=peers,
    )


def accounts(study: optuna.Study, space: Space, workers: int, wall_s: float) -> dict[str, Any]:
    """Duplicates, losses, and how busy the workers were."""
    trials = read_trials(study)
    times = Counter(trial.recipe for trial in trials if not trial.again)
    open_states = (TrialState.RUNNING, TrialState.WAITING)
    left = study.get_trials(states=open_states)
    waiting = {_queued(space, trial.system_attrs["fixed_params"]) for trial in left if trial.system_attrs}
    cut = {trial.recipe for trial in trials} - times.keys()
    counted = [trial for trial in trials if trial.sibling_of is None and trial.state != FAILED]
    busy = sum(t.evaluation.seconds.get(s, 0.0) for t in trials if t.evaluation for s in ("screen", "train"))
    return {
        "trials": len(counted),
        "siblings": sum(trial.sibling_of is not None for trial in trials),
        "failed": sum(trial.state == FAILED and not trial.again for trial in trials),
        "cut_by_the_deadline": sum(trial.again for trial in trials),
        "duplicates": sum(n - 1 for n in times.values()),
        "lost": len(cut - waiting),
        "left_open": len(left),
        "busy_share": round(busy / (workers * wall_s), 4),
        "worker_s_a_trial": round(busy / max(1, len(counted)), 3),
    }


def add_row(path: Path, row: dict[str, Any]) -> None:
    """To those of earlier runs, a line each."""
    print({key: value for key, value in row.items() if key != "ends"})
    rows = json.loads(path.read_text()) if path.is_file() else []
    path.write_text("[\n" + ",\n".join(json.dumps(each) for each in [*rows, row]) + "\n]\n")


def _queued(space: Space, fixed: dict[str, Any]) -> Recipe:
    return draw(space, lambda parameter, knob: fixed[parameter])
