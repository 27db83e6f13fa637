"""Several processes on one study in PostgreSQL: nothing twice, nothing lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from filelock import Timeout
from optuna.trial import TrialState

from autoopt.core.errors import ConfigError
from autoopt.core.recipe import Recipe
from autoopt.core.trial import Trial
from autoopt.search.asking import ask
from autoopt.search.lock import DatabaseLock, lock_study
from autoopt.search.peers import Peers
from autoopt.search.record import RECORD, read_trials, running
from autoopt.search.session import last_ended
from autoopt.search.storage import has_begun, open_storage
from autoopt.search.study import CONFIGURATION, load_study, open_study
from tests.search.table import KPIS, SPACE
from tests.services import Postgres, has_postgres, postgres

pytestmark = pytest.mark.skipif(not has_postgres(), reason="PostgreSQL is not installed")
FINGERPRINT = {"space": {"a": 1}, "teacher": {"weights": "none"}}
RECIPE = Recipe("teacher", "none", "fp16")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres(Path(f"/tmp/autoopt-pg-{os.getpid()}")) as found:
        yield found


@pytest.fixture
def run(server: Postgres, request: pytest.FixtureRequest) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begin a process that searches: see joint.py."""
    begun: list[subprocess.Popen[str]] = []

    def begin(leads: bool, *, trials: int = 12, delay_s: float = 0.05, seed: int = 0) -> subprocess.Popen[str]:
        order = json.dumps([server.uri, request.node.name, leads, trials, delay_s, seed])
        command = [sys.executable, "-m", "tests.search.joint", order]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def begin_study(server: Postgres, name: str) -> optuna.Study:
    return open_study(Path(), name, KPIS, FINGERPRINT, storage=server.uri)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> str:
    """Why it stopped."""
    try:
        out, err = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it says where it is
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out.strip()


def study_of(server: Postgres, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage(Path(), server.uri))


def trials_of(server: Postgres, name: str) -> list[Trial]:
    return read_trials(study_of(server, name))


def begun(study: optuna.Study) -> list[int]:
    """Numbers of trials that run, siblings not among them."""
    found = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    records = {trial.number: trial.user_attrs.get(RECORD) for trial in found}
    return [number for number, record in records.items() if record is not None and record["sibling_of"] is None]


def counted(trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state != "failed" and trial.sibling_of is None]


def doubled(trials: list[Trial]) -> list[Recipe]:
    return [recipe for recipe, times in Counter(t.recipe for t in trials if not t.again).items() if times > 1]


def test_two_processes_share_the_trials_and_end_together(
    server: Postgres, run: Callable[..., subprocess.Popen[str]], request: pytest.FixtureRequest
) -> None:
    processes = [run(True), run(False, seed=1)]
    assert next(ended(process) for process in processes) == "trials"
    trials = trials_of(server, request.node.name)
    assert len(counted(trials)) == 12
    assert doubled(trials) == []
    assert next(t for t in trials if t.number == 0).recipe.quantization == "none"
    study = study_of(server, request.node.name)
    assert last_ended(study).stopped_by == "trials"
    assert all(trial.state.is_finished() for trial in study.trials)


@pytest.mark.slow
def test_what_a_killed_process_had_is_done_by_the_others(
    server: Postgres, run: Callable[..., subprocess.Popen[str]], request: pytest.FixtureRequest
) -> None:
    leader = run(True, trials=15, delay_s=0.4)
    until(lambda: has_begun(Path(), request.node.name, server.uri) and bool(trials_of(server, request.node.name)))
    killed = run(False, trials=15, delay_s=0.4, seed=1)
    study = study_of(server, request.node.name)
    until(lambda: len(begun(study)) > 1)
    killed.send_signal(signal.SIGKILL)
    assert ended(leader) == "trials"
    trials = trials_of(server, request.node.name)
    lost = [trial for trial in trials if trial.again]
    assert len(counted(trials)) == 15
    assert doubled(trials) == []
    assert lost
    assert {trial.recipe for trial in lost} <= {trial.recipe for trial in trials if not trial.again}
    assert all("queued again" in trial.reason for trial in lost)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_the_database_loses_nothing(
    server: Postgres, run: Callable[..., subprocess.Popen[str]], request: pytest.FixtureRequest, mode: str
) -> None:
    processes = [run(True, trials=20, delay_s=0.3), run(False, trials=20, delay_s=0.3, seed=1)]
    until(lambda: has_begun(Path(), request.node.name, server.uri) and len(trials_of(server, request.node.name)) > 3)
    before = {trial.number for trial in trials_of(server, request.node.name)}
    server.stop(mode)
    time.sleep(2)
    assert all(process.poll() is None for process in processes)
    server.start()
    assert next(ended(process) for process in processes) == "trials"
    trials = trials_of(server, request.node.name)
    assert len(counted(trials)) == 20
    assert doubled(trials) == []
    assert before <= {trial.number for trial in trials}


def test_a_recipe_that_runs_elsewhere_is_not_begun(server: Postgres) -> None:
    mine, theirs = (Peers(begin_study(server, "claims"), SPACE) for _ in range(2))
    asked = ask(theirs.study)
    theirs.begin(asked)
    other = ask(mine.study)
    mine.begin(other)
    sibling = Recipe("teacher", "none", "int8_static")
    assert theirs.claims(asked, RECIPE, [sibling])
    assert not mine.claims(other, RECIPE, [])
    assert mine.has(sibling)
    assert mine.count() == 1
    theirs.reserve([sibling], asked.number)
    theirs.study.tell(asked, state=TrialState.FAIL)
    mine.news(now=True)
    assert mine.has(sibling)
    assert (mine.count(), mine.any()) == (0, True)
    theirs.release([sibling])
    mine.news(now=True)
    assert not mine.any()


def test_nothing_is_known_twice_and_nothing_missed(server: Postgres) -> None:
    mine, theirs = (Peers(begin_study(server, "news"), SPACE) for _ in range(2))
    asked = ask(theirs.study)
    theirs.begin(asked)
    asked.set_user_attr(RECORD, running(RECIPE))
    theirs.study.tell(asked, state=TrialState.FAIL)
    other = ask(mine.study)
    mine.begin(other)
    assert mine.claims(other, Recipe("cnn", "none", "none"), [])  # which looks, too
    assert [trial.number for trial in mine.news(now=True)] == [asked.number]
    assert mine.news(now=True) == []


def test_a_second_search_is_refused_until_the_first_has_died(server: Postgres, tmp_path: Path) -> None:
    held = lock_study(tmp_path, "one", server.uri)
    with pytest.raises(ConfigError, match="autoopt worker study=one"):
        lock_study(tmp_path, "one", server.uri)
    lock_study(tmp_path, "two", server.uri).release()
    held.release()
    lock_study(tmp_path, "one", server.uri).release()


def test_a_lock_that_another_holds_times_out(server: Postgres) -> None:
    with DatabaseLock(server.uri, "x").acquire(), pytest.raises(Timeout):
        DatabaseLock(server.uri, "x").acquire(timeout=0.1)


def test_studies_of_one_database_are_apart(server: Postgres, tmp_path: Path) -> None:
    first, second = (begin_study(server, name) for name in ("apart", "aside"))
    assert first.study_name != second.study_name
    first.set_user_attr(CONFIGURATION, {})
    assert load_study(tmp_path, "apart", server.uri).study_name == "apart"
    with pytest.raises(ConfigError, match="no study 'apar' in storage=.*Did you mean 'apart'"):
        load_study(tmp_path, "apar", server.uri)
    with pytest.raises(ConfigError, match="was begun with space.a=1, not 2"):
        open_study(tmp_path, "apart", KPIS, {**FINGERPRINT, "space": {"a": 2}}, storage=server.uri)


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    uri = "postgresql+psycopg://me:secret@127.0.0.1:9/x"
    with pytest.raises(ConfigError, match=r"storage=postgresql\+psycopg://me:\*\*\*@127.0.0.1:9/x cannot be used"):
        has_begun(tmp_path, "x", uri)
