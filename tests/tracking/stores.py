"""Real MLflow stores in folders of their own, and what is in them. Making one takes ten seconds: one is copied."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from autoopt.core.standing import Standing, standing
from autoopt.core.trial import Trial
from autoopt.search.budget import Budget
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.search import Watch
from autoopt.tracking.store import default_uri, open_client
from autoopt.tracking.target import Data, LastWord, Origin, Target
from autoopt.tracking.view import View
from tests.search.table import KPIS, begin, failing, make_search

DATA = Data("toy", "0123456789abcdef", "made up", {"train": 700, "test": 300})
ORIGIN = Origin("ann", {"autoopt.version": "1.2.3", "autoopt.machine": "here"}, DATA)
VOLATILE = {"mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit", "autoopt.study_id"}


def prepare(folder: Path) -> Path:
    """An empty store, to be copied."""
    open_client(default_uri(folder))
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "mlflow.db"


def artifacts(folder: Path, number: int) -> Path:
    """Every trial has an artifact of three small files."""
    made = folder / f"{number:04d}"
    made.mkdir(parents=True, exist_ok=True)
    for name in ("card.json", "recipe.yaml", "model.onnx"):
        (made / name).write_text(f"{name} of {number}")
    return made


def target(outputs: Path, identity: str = "some-id", *, uri: str | None = None) -> Target:
    trials = outputs / "trials"
    return Target(
        uri or default_uri(outputs),
        outputs,
        "toy",
        "table",
        identity,
        KPIS,
        lambda n: artifacts(trials, n),
        ORIGIN,
        lambda now: f"so far {len(now.trials)}, [0]",
    )


def open_view(outputs: Path, identity: str = "some-id") -> View:
    return View.open(target(outputs, identity))


def last_word(outputs: Path) -> LastWord:
    report = outputs / "report.html"
    report.write_text("<html>")
    metrics = {"kpi_score": 0.5, "accuracy": 0.9, "latency_p95_ms_ratio": 0.4}
    return LastWord("# the note", [report], {"autoopt.champion": 3}, "FINISHED", metrics, step=4)


def search_table(folder: Path, trials: int = 20, every: int = 7, **changes: Any) -> list[Trial]:
    """The trials of a search, some of which fail. `watch`: what is told of each."""
    study = begin(folder)
    run_search(make_search(study, evaluate=failing(every), budget=Budget(trials=trials), **changes))
    return read_trials(study)


def stand(trials: list[Trial]) -> Standing:
    return standing(trials, KPIS)


def watched_by(view: View) -> Watch:
    return Watch(on_end=lambda trial, now: view.sync(now))


def client_of(outputs: Path) -> MlflowClient:
    return open_client(default_uri(outputs))  # the file that is there now


def runs(outputs: Path, query: str = "") -> list[Run]:
    client = client_of(outputs)
    experiment = client.get_experiment_by_name("toy")
    return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


def children(outputs: Path, identity: str = "some-id") -> dict[int, Run]:
    """By trial. Fails where one is there twice."""
    found = runs(outputs, f"tags.`autoopt.study_id` = '{identity}' and tags.`autoopt.trial` != 'none'")
    by_trial = {int(run.data.tags["autoopt.trial"]): run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def parent(outputs: Path, identity: str = "some-id") -> Run:
    (found,) = [
        run for run in runs(outputs, f"tags.`autoopt.study_id` = '{identity}'") if "autoopt.trial" not in run.data.tags
    ]
    return found


def content(outputs: Path, identity: str = "some-id") -> dict[str, Any]:
    """All that the runs of a study say, but for ids and who wrote them: equal where two views are."""
    client, top = client_of(outputs), parent(outputs, identity)
    found = children(outputs, identity)
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {top.info.run_id}
    with closing(sqlite3.connect(outputs / "mlflow.db")) as connection:
        return {
            str(run.data.tags.get("autoopt.trial", "parent")): _content(client, connection, run)
            for run in (top, *(found[number] for number in sorted(found)))
        }


def _content(client: MlflowClient, connection: sqlite3.Connection, run: Run) -> dict[str, Any]:
    skipped = {*VOLATILE, "mlflow.parentRunId"}
    points = "SELECT key, step, timestamp, value FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "params": run.data.params,
        "tags": {key: _without_ids(value) for key, value in run.data.tags.items() if key not in skipped},
        "latest": run.data.metrics,
        "inputs": [(found.dataset.name, found.dataset.digest) for found in run.inputs.dataset_inputs],
        "metrics": connection.execute(points, (run.info.run_id,)).fetchall(),
        "files": sorted(item.path for item in client.list_artifacts(run.info.run_id)),
    }


def _without_ids(tag: str) -> str:
    """The note names runs and studies by ids, and its hash depends on them."""
    return "hash" if re.fullmatch("[0-9a-f]{64}", tag) else re.sub(r"[0-9a-f]{32}|autoopt-[\w-]+", "ID", tag)


def copy_store(prepared: Path, outputs: Path) -> Path:
    outputs.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(prepared, outputs / "mlflow.db")
    return outputs
