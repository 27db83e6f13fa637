"""Workers that are Ray actors, on the lookup table: what ends one, its node or the whole cluster costs no trial."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from autoopt.core.errors import AutooptError, ConfigError
from autoopt.core.left import Left
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, FAILED, Trial
from autoopt.search.budget import Budget
from autoopt.search.engines import Place, Ray
from autoopt.search.jobs import Acts
from autoopt.search.limits import Limits
from autoopt.search.loop import run_search
from autoopt.search.ray_crew import Actors
from autoopt.search.record import read_trials
from autoopt.search.search import Watch
from autoopt.search.study import load_study
from tests.search.cluster import Cluster, cluster
from tests.search.table import TRIALS, begin, make_search, start, start_deadly, start_tidy
from tests.search.test_workers import FP16, INT8, fall, refuse

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machines() -> Iterator[Cluster]:
    """A head without workers, and three nodes of a CPU each. Those tests that end some of it come last."""
    with cluster(3) as running:
        yield running


@contextmanager
def crew(
    folder: Path,
    started: Callable[[], Acts],
    address: str | None,
    count: int = 2,
    engine: dict[str, Any] | None = None,
    said: list[str] | None = None,
) -> Iterator[Actors]:
    options: dict[str, Any] = {"address": address, "cpus": 0.5, "gpus": 0, "placement": "SPREAD", **(engine or {})}
    place = Place(folder, "tests.search.table", 1, None, (said if said is not None else []).append)
    with Actors(Ray(**options), count, place) as workers:
        workers.open(started)
        yield workers


def failed(study: optuna.Study) -> list[Trial]:
    return [trial for trial in read_trials(study) if trial.state == FAILED]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(what: Callable[[], bool], most_s: float = 20.0) -> None:
    end = time.monotonic() + most_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_recipe_that_kills_its_actor_is_tried_once_more_and_never_again(machines: Cluster, tmp_path: Path) -> None:
    study = begin(tmp_path)
    with crew(tmp_path, partial(start_deadly, "segfault", "fp16"), machines.address) as workers:
        search = make_search(study, crew=workers, first=[FP16, INT8], budget=Budget(trials=3))
        assert run_search(search) == "trials"
    deaths = [trial for trial in failed(study) if trial.recipe == FP16]
    assert [trial.reason.rpartition("; ")[2] for trial in deaths] == [
        "its recipe was queued again",
        "its recipe is not tried again",
    ]
    assert all("ended (Segmentation fault)" in trial.reason for trial in deaths)
    assert all("about to segfault" in trial.trace for trial in deaths), "its last words are on record"
    assert sum(trial.state == COMPLETE for trial in read_trials(study)) == 3


def test_a_limit_of_memory_reaches_an_actor(machines: Cluster, tmp_path: Path) -> None:
    study, limits = begin(tmp_path), Limits(trial_gb=0.6)
    with crew(tmp_path, partial(start_deadly, "eat", "fp16"), machines.address, 1) as workers:
        run_search(make_search(study, crew=workers, first=[FP16, INT8], limits=limits, budget=Budget(trials=2)))
    (over,) = (trial for trial in failed(study) if trial.recipe == FP16)
    assert "GB of memory, limits.trial_gb=0.6" in over.reason


def test_a_stop_abandons_what_runs_within_its_grace(machines: Cluster, tmp_path: Path) -> None:
    study, asked_at = begin(tmp_path), 0.0

    def should_stop() -> bool:
        nonlocal asked_at
        if not asked_at and any(trial.user_attrs for trial in study.get_trials(states=(TrialState.RUNNING,))):
            asked_at = time.monotonic()
        return bool(asked_at)

    with crew(tmp_path, partial(start_deadly, "hang", "fp16"), machines.address, 1) as workers:
        search = make_search(study, crew=workers, first=[FP16], should_stop=should_stop, limits=Limits(grace_s=1.0))
        assert run_search(search) == "interrupt"
    assert [trial.reason for trial in failed(study)] == ["interrupted; its recipe was queued again"]
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.system_attrs["fixed_params"]["quantization"] for trial in waiting] == ["fp16"]


def test_what_a_job_leaves_on_its_machine_goes_when_the_next_one_comes(machines: Cluster, tmp_path: Path) -> None:
    study, tidied = begin(tmp_path), tmp_path / "tidied"
    with crew(tmp_path, partial(start_tidy, tidied), machines.address, 1) as workers:
        run_search(make_search(study, crew=workers, budget=Budget(trials=4)))
    numbers = [trial.number for trial in read_trials(study)]
    assert len(numbers) >= 4
    assert sorted(int(file.name) for file in tidied.iterdir()) == numbers[:-1]


def test_actors_that_cannot_begin_say_why(machines: Cluster, tmp_path: Path) -> None:
    for started, kind, message in (
        (refuse, AutooptError, "^no such data$"),
        (fall, AutooptError, "workers die before they can begin, the last one: its process on "),
    ):
        with pytest.raises(kind, match=message), crew(tmp_path, started, machines.address, 1):
            pass


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            {"cpus": 2},
            "engine.cpus=2 engine.gpus=0: no machine of the Ray cluster has that .* has 1 CPUs",
        ),
        ({"gpus": 1}, "engine.cpus=0.5 engine.gpus=1: no machine of the Ray cluster has that"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused(
    engine: dict[str, Any], message: str, machines: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message), crew(tmp_path, start, machines.address, 1, engine):
        pass


def test_actors_are_packed_where_that_is_asked_for(machines: Cluster, tmp_path: Path) -> None:
    nodes, pids = {}, list[int]()
    for placement, count in (("SPREAD", 2), ("PACK", 2), ("PACK", 3)):  # a node of one CPU has room for two
        with crew(tmp_path, start, machines.address, count, {"placement": placement}) as workers:
            wait_until(partial(_all_ready, workers))
            nodes[placement, count] = len({node for node, _ in workers.places()})
            pids += [pid for _, pid in workers.places()]
            assert all(map(runs, pids[-count:]))
    assert nodes == {("SPREAD", 2): 2, ("PACK", 2): 1, ("PACK", 3): 2}
    wait_until(lambda: not any(map(runs, pids)))


def _all_ready(workers: Actors) -> bool:
    workers.turn(lambda event: None, 0.05)
    return all(pid for _, pid in workers.places())


def test_actors_do_not_outlive_a_search_that_is_killed(machines: Cluster, tmp_path: Path) -> None:
    script = f"""
from functools import partial
from pathlib import Path
from autoopt.search.engines import Place, Ray
from autoopt.search.loop import run_search
from autoopt.search.ray_crew import Actors
from tests.search.table import begin, make_search, start

if __name__ == "__main__":
    folder = Path({str(tmp_path)!r})
    place = Place(folder, "tests.search.table", 1, None, str)
    with Actors(Ray({machines.address!r}, 0.5, 0, "SPREAD"), 2, place) as workers:
        workers.open(partial(start, 0.5))
        print(*(pid for _, pid in workers.places()), flush=True)
        run_search(make_search(begin(folder), crew=workers))
"""
    (tmp_path / "main.py").write_text(script)
    command = [sys.executable, str(tmp_path / "main.py")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as search:
        assert search.stdout is not None
        pids = [int(pid) for pid in search.stdout.readline().split()]
        time.sleep(1.5)
        assert any(map(runs, pids))
        search.kill()
    wait_until(lambda: not any(map(runs, pids)))
    study = begin(tmp_path)
    assert not study.get_trials(states=(TrialState.RUNNING,))
    with crew(tmp_path, start, machines.address) as workers:
        run_search(make_search(study, crew=workers))
    assert sum(trial.state == COMPLETE for trial in read_trials(study)) == TRIALS


def test_a_lost_node_costs_time_and_no_trial(machines: Cluster, tmp_path: Path) -> None:
    going, most, ended, said = set[int](), 0, 0, list[str]()

    def on_start(number: int, recipe: Recipe) -> None:
        nonlocal most
        going.add(number)
        most = max(most, len(going))

    def on_turn(left: Left) -> None:
        nonlocal ended
        if len(going) == 3 and not ended:
            ended = 1
            machines.end(0)

    study, watch = begin(tmp_path), Watch(on_start=on_start, on_free=going.discard, on_turn=on_turn)
    with crew(tmp_path, partial(start, 1.0), machines.address, 4, {"cpus": 1}, said) as workers:
        assert run_search(make_search(study, crew=workers, watch=watch, budget=Budget(trials=16))) == "trials"
    trials = read_trials(study)
    assert said == ["ray: 4 nodes, 3 CPUs, 3 of 4 workers fit, the others wait for room"]
    assert (most, ended) == (3, 1)
    assert sum(trial.state == COMPLETE for trial in trials) == 16
    (lost,) = failed(study)
    assert lost.reason.startswith("its worker died: its node ")
    assert lost.reason.endswith(" was lost; its recipe was queued again")
    assert max(Counter(trial.recipe for trial in trials if trial.state == COMPLETE).values()) == 1
    assert any(trial.recipe == lost.recipe and trial.state == COMPLETE for trial in trials)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


def test_digits_on_actors_stopped_and_resumed(tmp_path: Path) -> None:
    words = [
        "task=digits",
        "study=s",
        f"outputs={tmp_path}",
        "teacher.epochs=4",
        "tracking=none",
        "space.epochs=2",
        "space.student=mlp",
    ]
    words += ["runtime.blocks=5", "runtime.calls=20", "runtime.attempts=1", "engine=ray", "engine.cpus=0.5"]
    command = [sys.executable, "-m", "autoopt", *words, "workers=2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    log = tmp_path / "s" / "search.log"
    with subprocess.Popen([*command, "budget.trials=40"], stderr=subprocess.PIPE, text=True, env=environment) as search:
        wait_until(lambda: log.exists() and "trial   2" in log.read_text(), 90)
        search.terminate()
        _, said = search.communicate(timeout=60)
    assert search.returncode == 143
    assert "\nray: 1 node, " in said
    assert "raylet" not in said
    pids = [int(pid) for pid in re.findall(r"worker \d is process (\d+) on", log.read_text())]
    assert len(pids) == 2
    assert not any(map(runs, pids))
    done = subprocess.run([*command, "budget.trials=3"], capture_output=True, text=True, env=environment, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["stopped_by"], told["failed"] <= 2) == ("trials", True)
    assert told["complete"] >= 3
    trials = read_trials(load_study(tmp_path / "s", "s"))
    assert max(Counter(trial.recipe for trial in trials if trial.state == COMPLETE).values()) == 1


def test_a_lost_head_ends_the_search_and_the_next_one_goes_on(
    machines: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "3")
    study, turns = begin(tmp_path), 0

    def on_turn(left: Left) -> None:
        nonlocal turns
        turns += 1
        if turns == 10:
            machines.end("head")

    with (
        pytest.raises(AutooptError, match="^the Ray cluster does not answer any more, or its head is gone"),
        crew(tmp_path, partial(start, 0.6), machines.address) as workers,
    ):
        run_search(make_search(study, crew=workers, watch=Watch(on_turn=on_turn), budget=Budget(hours=1)))
    again = begin(tmp_path)
    assert not again.get_trials(states=(TrialState.RUNNING,))
    done = sum(trial.state == COMPLETE for trial in read_trials(again))
    run_search(make_search(again, budget=Budget(trials=done + 4)))
    assert sum(trial.state == COMPLETE for trial in read_trials(again)) == done + 4
    assert not any(trial.killed_worker for trial in failed(again)), "nobody blames a recipe"
