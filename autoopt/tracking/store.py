"""The MLflow store: where it is, and making it ready once."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

# Before mlflow is imported, which reads some of them once. Its seven retries would hold a search up for minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.entities import Experiment

from autoopt.core.passwords import masked

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)


def default_uri(outputs: Path) -> str:
    """One SQLite file for all studies of an outputs folder. `outputs` is absolute."""
    return f"sqlite:///{outputs / 'mlflow.db'}"


def how_to_look(uri: str, experiment_id: str) -> str:
    """What to type and open. MLflow 3's UI opens on traces of language models unless the address says otherwise."""
    page = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    if not uri.startswith("sqlite:///"):
        return f"open {masked(uri).rstrip('/')}{page}"
    return f"mlflow ui --host 127.0.0.1 --backend-store-uri {uri}, then open http://127.0.0.1:5000{page}"


def open_client(uri: str) -> MlflowClient:
    """A client whose store is ready. A fresh SQLite file is set up under a lock: two at once corrupt it for good."""
    if not uri.startswith("sqlite:///"):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # is it there?
        return client
    file = Path(uri.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock")):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # by now the tables are there
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # the UI reads while the search writes
    return client


def open_experiment(client: MlflowClient, name: str, uri: str, outputs: Path) -> Experiment:
    """The experiment of a task, created where it is new. Artifacts of a local store go to `outputs`/mlartifacts."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (outputs / "mlartifacts" / name).as_uri() if uri.startswith("sqlite:///") else None
        found = client.get_experiment(client.create_experiment(name, artifact_location=location))
    elif found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found
