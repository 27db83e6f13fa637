"""The MLflow store: where it is, and making it ready once."""

import logging
import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from autoopt.core.passwords import masked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

# Before mlflow is imported, which reads some of them once. A retry of its own would make a second run where the answer
# to the first request was lost; ours looks first at what is there.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

LOCKED_S = 60
_opened: dict[str, tuple[str, tuple[int, int] | None]] = {}
"""By address of a local store: as it was spelled when it was opened last, and the file that was there."""


def default_uri(outputs: Path) -> str:
    """One SQLite file for all studies of an outputs folder. `outputs` is absolute."""
    return f"sqlite:///{outputs / 'mlflow.db'}"


def how_to_look(uri: str, page: str) -> str:
    """What to type and open; `page` is one of the UI's, such as '#/experiments/1'."""
    if not uri.startswith("sqlite:///"):
        return f"open {masked(uri).rstrip('/')}/{page}"
    return f"mlflow ui --host 127.0.0.1 --backend-store-uri {uri}, then open http://127.0.0.1:5000/{page}"


def open_client(uri: str) -> "MlflowClient":
    """A client whose store is ready. A fresh SQLite file is set up under a lock: two at once corrupt it for good."""
    from mlflow import MlflowClient  # costs two seconds: whoever only wants to know the address does not pay them

    for name in ("alembic", "mlflow"):  # the import sets them
        logging.getLogger(name).setLevel(logging.WARNING)
    file = database(uri)
    if file is None:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # is it there?
        return client
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock"), timeout=LOCKED_S):
        if not file.is_file():
            _make(file)
        spelled = _spelled(uri, file)
        client = MlflowClient(tracking_uri=spelled, registry_uri=spelled)
        client.search_experiments(max_results=1)  # by now the tables are there
        _opened[uri] = spelled, file_identity(uri)
        with closing(sqlite3.connect(file, timeout=LOCKED_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # the UI reads while the search writes
    return client


def _make(file: Path) -> None:
    """A new store, in its place when it is whole: a kill among its migrations would leave one that nobody can open."""
    from mlflow import MlflowClient

    fresh, whole = (file.with_name(f"{file.name}.{uuid.uuid4().hex}.{ending}") for ending in ("new", "whole"))
    address = f"sqlite:///{fresh}"
    try:
        MlflowClient(tracking_uri=address, registry_uri=address).search_experiments(max_results=1)
        with closing(sqlite3.connect(fresh)) as source, closing(sqlite3.connect(whole)) as target:
            source.backup(target)
        whole.replace(file)
    finally:
        for leftover in file.parent.glob(f"{file.name}.*.new*"):
            leftover.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)


def _spelled(uri: str, file: Path) -> str:
    """MLflow keeps its connections by address, also to a file that was removed, into which it would go on writing: the
    one that has taken its place is opened by another spelling.
    """
    spelled, before = _opened.get(uri, (uri, None))
    if before is None or (file.is_file() and file_identity(uri) == before):
        return spelled
    return f"{spelled.removesuffix(file.name)}./{file.name}"


def database(uri: str) -> Path | None:
    """The file of a local store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def file_identity(uri: str) -> tuple[int, int] | None:
    """Of a local store: another one where the file was removed and made anew, which open connections do not notice.
    Raises FileNotFoundError where it is gone.
    """
    file = database(uri)
    return (file.stat().st_dev, file.stat().st_ino) if file else None


def open_experiment(client: "MlflowClient", name: str, uri: str, outputs: Path) -> "Experiment":
    """The experiment of a task, created where it is new. Artifacts of a local store go to `outputs`/mlartifacts."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (outputs / "mlartifacts" / name).as_uri() if uri.startswith("sqlite:///") else None
        found = client.get_experiment(client.create_experiment(name, artifact_location=location))
    elif found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found
