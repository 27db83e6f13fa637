"""What the search itself costs on a study of so many trials: opening it, proposing, recording."""

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, Draft, Trial
from autoopt.search.asking import ask, drawn
from autoopt.search.backup import back_up, mend
from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import Run, run_search
from autoopt.search.peers import Peers
from autoopt.search.queue import leave
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.samplers import make_sampler
from autoopt.search.screening import Gate, learning_curves, upper_estimate
from autoopt.search.search import Search
from autoopt.search.session import Session
from autoopt.search.study import open_study
from autoopt.search.telling import tell
from experiments.scaling.filled import STUDY, Real

ASKS = {"random": 15, "tpe": 7, "gp": 1}
PROPOSALS = 4


def ms(act: Callable[[], object], times: int = 3) -> float:
    """The median of some."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken), 2)


def opening(like: Real, folder: Path) -> dict[str, float]:
    """Of a study in a file, in ms. `folder` is written to."""
    mending, copying = ms(lambda: mend(folder)), ms(lambda: back_up(folder))
    began = time.perf_counter()
    study = reopened(like, folder)
    opened = time.perf_counter()
    trials = read_trials(study)
    read = time.perf_counter()
    return {
        "mend": mending,
        "copy": copying,
        "open": round(1000 * (opened - began), 1),
        "read": round(1000 * (read - opened), 1),
        "standing": ms(lambda: standing(trials, like.settings.kpis)),
        "standing_of_three": ms(lambda: standing(trials, three(like))),
        "front": len(standing(trials, like.settings.kpis).front),
        "front_of_three": len(standing(trials, three(like)).front),
    }


def reopened(like: Real, folder: Path, storage: str | None = None, name: str = STUDY) -> optuna.Study:
    fingerprint = like.study.user_attrs["autoopt_fingerprint"]
    return open_study(folder, name, like.settings.kpis, fingerprint, storage=storage)


def three(like: Real) -> Any:
    """The KPIs with size an objective, too: fronts are longer."""
    return tuple(replace(kpi, objective=kpi.objective or kpi.name == "size_mb") for kpi in like.settings.kpis)


def asking(like: Real, study: optuna.Study, name: str) -> float:
    """ms from the call to the recipe."""
    study.sampler = make_sampler(name, len(study.get_trials(deepcopy=False)), {})
    taken = []
    for _ in range(ASKS[name]):
        began = time.perf_counter()
        asked = ask(study)
        drawn(asked, like.space)
        taken.append(1000 * (time.perf_counter() - began))
        leave(study, asked)
    return round(statistics.median(taken), 1)


def looping(like: Real, study: optuna.Study, peers: Peers | None = None) -> dict[str, float]:
    """The real loop on trials that take no time: what a row (a trial or a sibling) costs by wall clock, in ms, and what
    of it is inside it; proposals are random.
    """
    study.sampler = make_sampler("random", len(study.get_trials(deepcopy=False)), {})
    before = len(read_trials(study))
    job = search_of(like, study, peers)
    began = time.perf_counter()
    run_search(job)
    spent = 1000 * (time.perf_counter() - began)
    trials = read_trials(study)
    rows = trials[before:]
    run = Run(job, Session.begin(study, trials), list(trials))
    gate, last = Gate(Rules(), like.settings.kpis, trials, rows[0].recipe), rows[0]
    found = {
        "rows": len(rows),
        "tell": telling(like, study, last),
        "row": round(spent / len(rows), 1),
        "standing": ms(lambda: standing(trials, like.settings.kpis)),
        "save": ms(lambda: run.session.save(None)),
        "get_trials": ms(lambda: study.get_trials(deepcopy=False)),
        "turn": ms(lambda: (run._why_stop(), run._budget_left())),
        "expected": ms(lambda: run._would_be_late(last.recipe)),
        "epoch_of_a_worker": ms(lambda: screened(gate, last)),
    }
    return found if peers is None else {**found, "look": ms(peers._look)}


def telling(like: Real, study: optuna.Study, trial: Trial) -> float:
    """ms to write the end of a trial down."""
    taken = []
    for _ in range(3):
        asked = ask(study)
        ended = replace(trial, number=asked.number, recipe=drawn(asked, like.space), sibling_of=None)
        began = time.perf_counter()
        tell(study, asked, ended, like.settings.kpis)
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken), 1)


def screened(gate: Gate, trial: Trial) -> None:
    """What a worker does after each epoch."""
    gate.bar(trial.measurements)
    upper_estimate([0.5, 0.6], trial.recipe.epochs or 2, learning_curves(gate.trials, trial.recipe))


def search_of(like: Real, study: optuna.Study, peers: Peers | None) -> Search:
    draws = random.Random(len(study.get_trials(deepcopy=False)))
    done = [t for t in like.trials if t.state == COMPLETE and t.evaluation]

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        drafts = [draft, *map(Draft, draft.siblings)]
        for each in drafts:
            evaluation = draws.choice(done).evaluation
            assert evaluation is not None
            each.measurements.update(evaluation.measurements)
            each.curve += evaluation.curve
            each.facts |= evaluation.facts
        return drafts[1:]

    return Search(
        study=study,
        space=like.space,
        kpis=like.settings.kpis,
        crew=Here(Acts(evaluate)),
        budget=Budget(trials=PROPOSALS, hours=1000.0),
        first=(),
        rules=Rules(screens=False, bar=False),
        peers=peers,
    )
