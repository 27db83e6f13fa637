"""autoopt worker: another machine's part in a search, played by another folder and another host name."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient

from autoopt.commands.unlike import check_machine, machine_bounds
from autoopt.commands.worker import in_own_folder
from autoopt.config import load_settings
from autoopt.core import artifact
from autoopt.core.errors import ConfigError
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, FAILED, HOST, MADE_ON, SCREENED, Trial
from autoopt.search.record import read_trials
from autoopt.search.storage import has_begun
from autoopt.search.study import load_study
from tests.search.fake_slurm import install
from tests.services import Postgres, has_postgres, mlflow_server, postgres, ray_head

STUDY = "many"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if not has_postgres():
        pytest.skip("PostgreSQL is not installed")
    with postgres(Path(f"/tmp/autoopt-pgw-{os.getpid()}")) as found:
        yield found


@pytest.fixture
def begin(server: Postgres, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    begun: list[subprocess.Popen[str]] = []

    def run(verb: str, host: str, *words: str) -> subprocess.Popen[str]:
        own = [f"study={tmp_path.name}", f"outputs={tmp_path / host}", *words]
        own += [] if verb == "promote" else [f"host={host}", "threads=1"]
        with (tmp_path / f"{host}.err").open("a") as errors:
            begun.append(
                subprocess.Popen(
                    [sys.executable, "-m", "autoopt", verb, *own],
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, "AUTOOPT_STORAGE": server.uri},
                    text=True,
                    start_new_session=True,
                )
            )
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def document(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return dict(json.loads(out.splitlines()[-1]))


def trials_of(server: Postgres, name: str) -> list[Trial]:
    return read_trials(load_study(Path(), name, server.uri)) if has_begun(Path(), name, server.uri) else []


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def commands() -> Iterator[str]:
    """Of all processes of this machine but this one."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        if file.parent.name != str(os.getpid()):
            with suppress(OSError):
                yield file.read_text()


def facts(trial: Trial) -> dict[str, Any]:
    return dict(trial.evaluation.facts) if trial.evaluation else {}


@pytest.mark.slow
def test_a_killed_search_is_carried_on_by_a_worker_and_concluded_by_the_same_command(
    server: Postgres, begin: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with mlflow_server(tmp_path) as address:
        words = ["task=digits", "budget.trials=14", f"artifacts.uri={tmp_path / 'shared'}", f"tracking.uri={address}"]
        worker = begin("worker", "second")  # before there is anything to join
        search = begin("search", "first", *words)
        until(lambda: {facts(t).get(HOST) for t in trials_of(server, tmp_path.name)} >= {"first", "second"})
        os.killpg(search.pid, signal.SIGKILL)
        search.communicate()
        before = len(trials_of(server, tmp_path.name))
        until(lambda: len(trials_of(server, tmp_path.name)) > before)
        told = document(begin("search", "first", *words))
        assert document(worker)["host"] == "second"
        trials = trials_of(server, tmp_path.name)
        counted = [trial for trial in trials if trial.state != FAILED and trial.sibling_of is None]
        assert len(counted) == 14
        recipes = [trial.recipe for trial in trials if not trial.again]
        assert len(recipes) == len(set(recipes))
        now = standing(trials, load_settings(words).kpis)
        assert {facts(trial)[HOST] for trial in trials if trial.state == COMPLETE} == {"first", "second"}
        for trial in now.front:  # also those that the other machine has made
            assert artifact.is_whole(artifact.trial_folder(tmp_path / "first" / tmp_path.name, trial.number))
        assert told["champion"] is not None
        client = MlflowClient(address)
        (experiment,) = [each for each in client.search_experiments() if each.name == "digits"]
        runs = client.search_runs([experiment.experiment_id], "tags.`autoopt.trial` != ''", max_results=1000)
        assert {int(run.data.tags["autoopt.trial"]) for run in runs} == {trial.number for trial in trials}
        assert "is trained once" not in (tmp_path / "second.err").read_text()
        promoted = document(begin("promote", "laptop", f"tracking.uri={address}"))  # out of the store
        assert (promoted["trial"], promoted["changed"]) == (told["champion"]["trial"], True)
        models = [tmp_path / host / tmp_path.name / "champion" / "model.onnx" for host in ("first", "laptop")]
        assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.slow
def test_one_machine_measures_what_the_others_make(
    server: Postgres, begin: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    words = ["task=digits", "budget.trials=12", "tracking=none", f"artifacts.uri={tmp_path / 'shared'}"]
    search = begin("search", "reference", *words, "measure.host=reference", "kpis.latency_p95_ms.max=1000")
    worker = begin("worker", "other")
    told = document(search)
    made = document(worker)["trials"]
    trials = trials_of(server, tmp_path.name)
    assert {facts(trial)[HOST] for trial in trials if trial.state == COMPLETE} == {"reference"}
    elsewhere = [trial for trial in trials if facts(trial).get(MADE_ON) == "other"]
    assert len(elsewhere) > 0
    assert made >= len(elsewhere)
    for trial in elsewhere:
        assert "size_mb" in trial.measurements  # which screens before anything is timed
        assert trial.state != COMPLETE or {"latency_p95_ms", "accuracy"} <= trial.measurements.keys()
        assert artifact.is_whole(artifact.trial_folder(tmp_path / "reference" / tmp_path.name, trial.number)) or (
            trial.state == SCREENED
        )
    assert told["failed"] == 0


@pytest.mark.slow
def test_jobs_of_slurm_do_the_trials_of_a_search(
    server: Postgres, begin: Callable[..., subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    words = ["task=digits", "budget.trials=8", "tracking=none", f"artifacts.uri={tmp_path / 'shared'}"]
    told = document(begin("search", "login", *words, "engine=slurm", "engine.hours=1", "workers=2"))
    trials = trials_of(server, tmp_path.name)
    assert told["failed"] == 0
    assert len([trial for trial in trials if trial.sibling_of is None]) == 8
    assert [trial.number for trial in trials if facts(trial)[HOST] == "login"] == [0]
    assert list((tmp_path / "login" / "workers").iterdir())
    until(lambda: not any(str(tmp_path) in command for command in commands()))  # each finds that the search has ended


@pytest.mark.slow
def test_actors_of_a_cluster_do_the_trials_of_a_study_in_a_database(
    server: Postgres, begin: Callable[..., subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "3b1f" * 8)  # the cluster demands it, then; that of test_ray.py has none
    with ray_head(Path(f"/tmp/autoopt-ray-{os.getpid()}")) as address:
        words = ["task=digits", "budget.trials=8", "tracking=none", f"artifacts.uri={tmp_path / 'shared'}"]
        told = document(begin("search", "driver", *words, "engine=ray", f"engine.address={address}", "workers=2"))
    trials = trials_of(server, tmp_path.name)
    assert told["failed"] == 0
    assert len([trial for trial in trials if trial.sibling_of is None]) == 8
    assert "ray: 1 node, 4 CPUs, 2 workers" in (tmp_path / "driver.err").read_text()


def test_a_bound_in_milliseconds_is_of_one_kind_of_machine() -> None:
    bench: Any = SimpleNamespace(conditions={"cpu": "a new CPU", "threads": 1})
    older = {"cpu": "an older CPU"}
    relative, absolute = load_settings([]), load_settings(["kpis.latency_p95_ms.max=5"])
    assert machine_bounds(relative.kpis) == []
    check_machine(relative, older, bench)
    with pytest.raises(ConfigError, match=r"kpis.latency_p95_ms.max=5 is of one kind of machine: .* an older CPU, and"):
        check_machine(absolute, older, bench)
    check_machine(load_settings(["kpis.latency_p95_ms.max=5", "measure.host=big"]), older, bench)
    check_machine(absolute, {"cpu": "a new CPU"}, bench)
    bench.conditions["gpu"] = "a GPU"
    with pytest.raises(ConfigError, match="this is a new CPU, a GPU: go on from"):
        check_machine(absolute, {"cpu": "a new CPU"}, bench)


def test_each_process_has_a_folder_of_its_own_and_finds_it_again(tmp_path: Path) -> None:
    settings = load_settings([f"outputs={tmp_path}", "host=here", "study=s"])
    with in_own_folder(settings) as first, in_own_folder(settings) as second:
        assert first.folder == tmp_path / "workers" / "here-1" / "s"
        assert second.folder == tmp_path / "workers" / "here-2" / "s"
        assert second.raw["outputs"] == str(second.outputs)
    with in_own_folder(settings) as again:
        assert again.folder == first.folder
