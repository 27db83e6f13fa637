"""MLflow's registry: versions of one registered model, and the aliases that say which of them is served.

Versions are written whole before an alias moves, and never change. Several aliases move as one: where they are to go
is noted before the first moves, so that a kill among them is made up for by whoever moves them next.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from autoopt.tracking.store import database, open_client, open_experiment

CHAMPION, PREVIOUS, BACKUP = ALIASES = ("champion", "previous", "backup")
MOVING = "autoopt.moving"
"""A tag of the registered model while its aliases move: from where, and to where."""
STUDY, TRIAL, SHA256, FORCED = NAMING = ("autoopt.study_id", "autoopt.trial", "autoopt.sha256", "autoopt.forced")
"""Tags that together name what was registered: the same is registered once, and once more where it had to be forced."""
GONE = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
Aliases = dict[str, str]
"""Alias -> version."""


@dataclass(frozen=True)
class Registry:
    client: MlflowClient
    uri: str
    name: str
    """Of the registered model, which need not exist yet."""

    def aliases(self) -> Aliases:
        """{} where there is no such model."""
        try:
            found = self.client.get_registered_model(self.name).aliases
        except MlflowException as error:
            if error.error_code == GONE:
                return {}
            raise
        return {alias: str(version) for alias, version in found.items() if alias in ALIASES}

    def find(self, tags: Mapping[str, str]) -> ModelVersion | None:
        """The newest version of what these tags name."""
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=1000)
        same = [version for version in found if all(version.tags.get(key) == tags[key] for key in NAMING)]
        return max(same, key=lambda version: int(version.version), default=None)

    def version(self, number: str) -> ModelVersion:
        return self.client.get_model_version(self.name, number)

    def download(self, number: str, into: Path) -> Path:
        """The files of a version, as whoever serves it gets them."""
        source = self.client.get_model_version_download_uri(self.name, number)
        return Path(download_artifacts(artifact_uri=source, dst_path=str(into), tracking_uri=self.uri))

    def add(
        self,
        experiment: str,
        outputs: Path,
        tags: Mapping[str, str],
        description: str,
        run_id: str | None,
        save: Callable[[Path, Model], None],
    ) -> ModelVersion:
        """A new version of what `save` writes; it is there once all its files are."""
        if not self.client.search_registered_models(f"name = '{self.name}'"):
            self.client.create_registered_model(self.name)
        place = open_experiment(self.client, experiment, self.uri, outputs).experiment_id
        self._clear(place, tags)
        logged = self.client.create_logged_model(place, name=self.name, source_run_id=run_id, tags=dict(tags))
        with TemporaryDirectory() as folder:
            model = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
            save(Path(folder) / "model", model)
            self.client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        self.client.finalize_logged_model(logged.model_id, "READY")
        # Without a run a local store would look the model up in MLflow's default store, wherever that is.
        known = run_id is not None or database(self.uri) is None
        return self.client.create_model_version(
            self.name,
            logged.artifact_location,
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=logged.model_id if known else None,
        )

    def _clear(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """What a kill left of the same model before it had a version."""
        query = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items() if key in NAMING)
        known = {version.source for version in self.client.search_model_versions(f"name = '{self.name}'")}
        for logged in self.client.search_logged_models([experiment_id], query):
            if logged.artifact_location not in known:
                self.client.delete_logged_model(logged.model_id)

    def move(self, to: Aliases) -> None:
        """Set these aliases, the champion's last."""
        note = json.dumps({"from": self.aliases(), "to": to})
        self.client.set_registered_model_tag(self.name, MOVING, note)
        self._set(to)
        self.client.delete_registered_model_tag(self.name, MOVING)

    def settle(self) -> None:
        """Make up for a kill while aliases moved: all have moved once the champion has, else none."""
        now = self.aliases()
        note = self.client.get_registered_model(self.name).tags.get(MOVING) if now else None
        if note is None:
            return
        moving = json.loads(note)
        before, to = moving["from"], moving["to"]
        done = now.get(CHAMPION) == to.get(CHAMPION)
        for alias in now.keys() - before.keys() if not done else ():
            self.client.delete_registered_model_alias(self.name, alias)
        self._set({**before, **to} if done else before)
        self.client.delete_registered_model_tag(self.name, MOVING)

    def _set(self, to: Aliases) -> None:
        for alias in sorted(to, key=lambda alias: alias == CHAMPION):
            self.client.set_registered_model_alias(self.name, alias, to[alias])


@contextmanager
def open_registry(uri: str, name: str, outputs: Path) -> Iterator[Registry]:
    """One at a time on this machine. What a kill has left half done is settled first. Raises TROUBLE of the view."""
    outputs.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs / f"registry.{name}.lock"):
        registry = Registry(open_client(uri), uri, name)
        registry.settle()
        yield registry
