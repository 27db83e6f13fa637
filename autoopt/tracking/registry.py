"""MLflow's registry: versions of one registered model, and the aliases that say which of them is served.

Versions are written whole before an alias moves, and never change, but for what is told of them. Several aliases move
as one: who moves them, and where to, is noted before the first moves, so that a kill among them is made up for by
whoever comes next.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from autoopt.core.errors import AutooptError
from autoopt.core.user import user_at_host
from autoopt.tracking.store import database, open_client, open_experiment
from autoopt.tracking.view import TROUBLE

CHAMPION, PREVIOUS, BACKUP = ALIASES = ("champion", "previous", "backup")
MOVING = "autoopt.moving"
"""A tag of the registered model while its aliases move: from where, and to where, by whom, since when, for what."""
YOUNG_S = 60
"""So long whoever began to move them may still be at it: each call to MLflow is given up after ten seconds."""
STUDY, TRIAL, SHA256, FORCED = NAMING = ("autoopt.study_id", "autoopt.trial", "autoopt.sha256", "autoopt.forced")
"""Tags that together name what was registered: the same is registered once, and once more where it had to be forced."""
GONE = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
Aliases = dict[str, str]
"""Alias -> version."""


class Busy(AutooptError):
    """Somebody else moves the aliases, or has moved them since they were looked at: nothing was touched."""


@dataclass(frozen=True)
class Registry:
    client: MlflowClient
    uri: str
    name: str
    """Of the registered model, which need not exist yet."""
    lock: str = ""
    """The file that lets one at a time in: another's note under the same one is of a process that is dead."""
    settled: Mapping[str, Any] | None = None
    """The note of a move that a kill cut short, and that was completed when this was opened."""

    def aliases(self) -> Aliases:
        """{} where there is no such model."""
        return self._state()[0]

    def _state(self) -> tuple[Aliases, dict[str, Any] | None]:
        """The aliases, and the note of a move, read at once."""
        try:
            found = self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code == GONE:
                return {}, None
            raise
        note = found.tags.get(MOVING)
        now = {alias: str(version) for alias, version in found.aliases.items() if alias in ALIASES}
        return now, json.loads(note) if note else None

    def find(self, tags: Mapping[str, str]) -> ModelVersion | None:
        """The newest version of what these tags name."""
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=1000)
        same = [version for version in found if all(version.tags.get(key) == tags[key] for key in NAMING)]
        return max(same, key=lambda version: int(version.version), default=None)

    def baseline_of(self, number: str) -> str | None:
        """The version of the baseline of the study that this one is of; None where there is none."""
        study = self.version(number).tags.get(STUDY)
        found = self.client.search_model_versions(f"name = '{self.name}'", max_results=1000)
        same = [v for v in found if study and v.tags.get(STUDY) == study and v.tags.get(TRIAL) == "0"]
        return max((str(v.version) for v in same), key=int, default=None)

    def version(self, number: str) -> ModelVersion:
        return self.client.get_model_version(self.name, number)

    def retell(self, number: str, tags: Mapping[str, str], description: str) -> None:
        """What is told of a version; its files stay."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, number, key, value)
        self.client.update_model_version(self.name, number, description)

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
        """What a kill left of the same model before it had a version, of whatever name."""
        query = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items() if key in NAMING)
        for logged in self.client.search_logged_models([experiment_id], query):
            source = f"source_path = '{logged.artifact_location}'"
            if logged.name == self.name and not self.client.search_model_versions(source, max_results=1):
                self.client.delete_logged_model(logged.model_id)

    def move(self, to: Aliases, seen: Aliases, what: str = "") -> None:
        """Set these aliases, the champion's last. `seen`: those that this was decided on; `what`: the verb. Raises
        Busy where they are others by now, or somebody else is at it.
        """
        now, other = self._state()
        if other is not None:
            raise Busy(self._busy(other))
        if now != seen:
            raise Busy(f"the aliases of {self.name} were {seen} and are {now} by now: look, then type the same again")
        ours = {"from": now, "to": to, "by": user_at_host(), "lock": self.lock, "at": time.time(), "what": what}
        self.client.set_registered_model_tag(self.name, MOVING, json.dumps(ours))
        now, note = self._state()
        if note != ours:  # two began at once: the note is the last one's
            raise Busy(self._busy(note) if note else f"somebody else moved the aliases of {self.name} just now: look")
        if now != seen:
            self.client.delete_registered_model_tag(self.name, MOVING)
            raise Busy(f"the aliases of {self.name} were {seen} and are {now} by now: look, then type the same again")
        self._set(to)
        self.client.delete_registered_model_tag(self.name, MOVING)

    def _busy(self, note: Mapping[str, Any]) -> str:
        ago = round(time.time() - note.get("at", 0))
        return (
            f"{note.get('by', 'somebody')} moves the aliases of {self.name} ({note.get('what') or 'to'} {note['to']}, "
            f"begun {ago} s ago): try again in a minute"
        )

    def settle(self) -> dict[str, Any] | None:
        """Make up for a kill while aliases moved: all have moved once the champion has, else none. The note of what has
        moved now, or has before and was not known to; else None. Raises Busy where another may still be at it.

        Where an alias is neither where it was nor where it should go, a person has set it meanwhile: all stay.
        """
        now, note = self._state()
        if note is None:
            return None
        ours = note.get("by") == user_at_host() and note.get("lock") == self.lock
        if not ours and abs(time.time() - note.get("at", 0)) < YOUNG_S:
            raise Busy(self._busy(note))
        before, after = note["from"], {**note["from"], **note["to"]}
        untouched = all(now.get(alias) in (before.get(alias), after.get(alias)) for alias in ALIASES)
        done = now.get(CHAMPION) == after.get(CHAMPION)
        if untouched:
            for alias in now.keys() - before.keys() if not done else ():
                self.client.delete_registered_model_alias(self.name, alias)
            self._set({alias: v for alias, v in (after if done else before).items() if now.get(alias) != v})
        with suppress(*TROUBLE):  # all is where it should be: a note that stays is settled another time
            self.client.delete_registered_model_tag(self.name, MOVING)
        return note if done and untouched else None

    def after_trouble(self) -> Aliases | None:
        """What the aliases are, once a move of ours was cut short; None where MLflow does not tell."""
        with suppress(*TROUBLE, Busy):
            self.settle()
        with suppress(*TROUBLE):
            return self.aliases()
        return None

    def _set(self, to: Aliases) -> None:
        for alias in sorted(to, key=lambda alias: alias == CHAMPION):
            self.client.set_registered_model_alias(self.name, alias, to[alias])


@contextmanager
def open_registry(uri: str, name: str, outputs: Path) -> Iterator[Registry]:
    """One at a time on this machine. What a kill has left half done is settled first. Raises TROUBLE of the view, and
    Busy.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    lock = outputs / f"registry.{name}.lock"
    with FileLock(lock):
        registry = Registry(open_client(uri), uri, name, str(lock))
        yield replace(registry, settled=registry.settle())
