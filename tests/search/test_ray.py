"""Workers that are Ray actors, on the lookup table: what ends one, its node or the whole cluster costs no trial."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoopt.core.left import Left
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, FAILED, Trial
from autoopt.search.budget import Budget
from autoopt.search.engines import Place, Ray
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.ray_crew import Actors
from autoopt.search.record import read_trials
from autoopt.search.search import Watch
from tests.search.cluster import Cluster, cluster
from tests.search.table import begin, make_search, start

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

INT8 = Recipe("teacher", "none", "int8_static")
FP16 = Recipe("teacher", "none", "fp16")


@pytest.fixture(scope="module")
def one() -> Iterator[Cluster]:
    """A cluster with one node for workers."""
    with cluster(1, cpus=2) as running:
        yield running


@contextmanager
def crew(
    folder: Path,
    started: Callable[[], Acts],
    address: str | None,
    count: int = 2,
    cpus: float = 0.5,
    said: list[str] | None = None,
) -> Iterator[Actors]:
    say = (said if said is not None else []).append
    place = Place(folder, "tests.search.table", 1, None, say)
    with Actors(Ray(address, cpus, 0, "SPREAD"), count, place) as workers:
        workers.open(started)
        yield workers


def failed(study: optuna.Study) -> list[Trial]:
    return [trial for trial in read_trials(study) if trial.state == FAILED]


def actors() -> list[str]:
    """Processes of actors on this machine."""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if line.startswith("ray::Actor")]


def ended(most_s: float = 15.0) -> bool:
    end = time.monotonic() + most_s
    while actors() and time.monotonic() < end:
        time.sleep(0.1)
    return not actors()


def test_a_lost_node_costs_time_and_no_trial(tmp_path: Path) -> None:
    study, said, turns = begin(tmp_path), list[str](), 0

    with cluster(3) as machines:

        def on_turn(left: Left) -> None:
            nonlocal turns
            turns += 1
            if turns == 10:
                machines.end(0)

        with crew(tmp_path, partial(start, 0.6), machines.address, count=3, cpus=0.5, said=said) as workers:
            search = make_search(study, crew=workers, watch=Watch(on_turn=on_turn), budget=Budget(trials=20))
            assert run_search(search) == "trials"
    trials = read_trials(study)
    assert said == ["ray: 4 nodes, 3 CPUs, 3 workers"]
    assert sum(trial.state == COMPLETE for trial in trials) == 20
    (lost,) = failed(study)
    assert lost.reason.startswith("its worker died: its node ")
    assert lost.reason.endswith(" was lost; its recipe was queued again")
    assert max(Counter(trial.recipe for trial in trials if trial.state == COMPLETE).values()) == 1
    assert any(trial.recipe == lost.recipe and trial.state == COMPLETE for trial in trials)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    assert ended()
