"""One parent run a study, one child run a trial: brought to what the study says, whatever MLflow holds by then."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, INVALID_PARAMETER_VALUE, ErrorCode
from sqlalchemy.exc import SQLAlchemyError

from autoopt.core.standing import Standing
from autoopt.core.trial import Trial
from autoopt.tracking.board import TAG, filtered, page, pages
from autoopt.tracking.content import STATUS, metrics, own_tags, place_tags, run_name, span_ms
from autoopt.tracking.parent import (
    LEADERBOARD,
    data_inputs,
    links,
    note_tags,
    owner_tags,
    parent_params,
    parent_tags,
    with_links,
    without_links,
)
from autoopt.tracking.progress import PROGRESS, progress
from autoopt.tracking.runs import IDENTITY, PARENT, find_runs, is_whole
from autoopt.tracking.store import file_identity, how_to_look, open_client, open_experiment
from autoopt.tracking.target import LastWord, Target

TROUBLE = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
REFUSED, UNKNOWN = ErrorCode.Name(INVALID_PARAMETER_VALUE), ErrorCode.Name(ENDPOINT_NOT_FOUND)
METRICS_A_CALL = 900  # a server takes 1000

CALL_S, LONG_S = 2.0, 60.0
SMALL_BYTES = 1_000_000
NOTE_S = 60.0  # from one note of a study that is searched to the next
Pace = Callable[[float], None]
"""Told before each call how many seconds it may take where all is well."""


class View:
    """The study's runs. What a call that failed has left is known to MLflow alone: after one, open another view."""

    def __init__(self, client: MlflowClient, experiment: Experiment, target: Target, pace: Pace) -> None:
        self._mlflow, self._target, self._pace = client, target, pace
        self._experiment_id, self._experiment_tags = experiment.experiment_id, dict(experiment.tags)
        self._pages = pages(target.identity, target.kpis)
        self._file = file_identity(target.uri)
        self._parent: str | None = None
        self._described = False
        self._note_at = 0.0
        self.how_to_look = how_to_look(target.uri, page(self._experiment_id, self._pages["trials"][0]))
        self.written: set[int] = set()
        self.removed = 0
        self.refresh()

    @classmethod
    def open(cls, target: Target, pace: Pace = lambda seconds: None) -> "View":
        """Raises one of TROUBLE, as all that follows does. May take LONG_S: a fresh SQLite file takes ten seconds."""
        client = open_client(target.uri)
        pace(CALL_S)
        experiment = open_experiment(client, target.task, target.uri, target.outputs)
        return cls(client, experiment, target, pace)

    def refresh(self) -> None:
        """Read again what is there; of a run that is there twice the younger or unfinished one is removed."""
        parents, children = self._find()
        before, self._parent = self._parent, parents[0].info.run_id if parents else None
        self._parent_status = parents[0].info.status if parents else "RUNNING"
        self._parent_tags = dict(parents[0].data.tags) if parents else {}
        self._described = self._described and self._parent == before
        self._runs = {number: same[0].info.run_id for number, same in children.items()}
        self._tags = {number: dict(same[0].data.tags) for number, same in children.items()}
        self.whole = {number for number, same in children.items() if is_whole(same[0])}
        self._steps: set[int] | None = None
        self._remove([*parents[1:], *(run for same in children.values() for run in same[1:])])

    def clear(self) -> None:
        """Remove all runs of the study."""
        parents, children = self._find()
        self._remove([*(run for same in children.values() for run in same), *parents])
        self.refresh()

    def sync(self, now: Standing, word: LastWord | None = None) -> None:
        """Write what is missing, and nothing that is there. With the last word the search is over: then MLflow is read
        once more, since a run whose answer was lost may have been made after all.
        """
        self._check_file()
        self._bring_up(now)
        if word is None:
            self._note_so_far(now)
        if word is not None:
            self.refresh()
            self._bring_up(now)
            self._conclude(now, word)
            self._check_file()
        elif self._parent_status != "RUNNING":  # it is searched on
            self._call().update_run(self._parent_id(now), status="RUNNING")
            self._parent_status = "RUNNING"

    def missing(self, now: Standing) -> list[int]:
        """The trials that MLflow has not, or not to their end."""
        return [trial.number for trial in now.trials if trial.number not in self.whole]

    def _check_file(self) -> None:
        if file_identity(self._target.uri) != self._file:
            raise FileNotFoundError(f"{self._target.uri} was removed or replaced")

    def _call(self) -> MlflowClient:
        """For one call."""
        self._pace(CALL_S)
        return self._mlflow

    def _find(self) -> tuple[list[Run], dict[int, list[Run]]]:
        self._pace(LONG_S)  # a thousand runs take seconds
        return find_runs(self._mlflow, self._experiment_id, self._target.identity)

    def _bring_up(self, now: Standing) -> None:
        parent_id = self._parent_id(now)
        self._describe(parent_id)
        places = place_tags(now)
        refused: MlflowException | None = None
        for trial in now.trials:
            try:
                self._write(trial, parent_id)
                self._place(trial.number, {PARENT: parent_id, IDENTITY: self._target.identity, **places[trial.number]})
            except MlflowException as error:
                if error.error_code != REFUSED:
                    raise
                refused = error  # this trial's affair: the others are written all the same
        self._note_progress(now, parent_id)
        if refused:
            raise refused

    def _parent_id(self, now: Standing) -> str:
        if self._parent is None:
            began = min((span_ms(trial)[0] for trial in now.trials), default=int(time.time() * 1000))
            tags, name = parent_tags(self._target), self._target.study
            run = self._call().create_run(self._experiment_id, start_time=began, tags=tags, run_name=name)
            self._parent, self._parent_tags = run.info.run_id, tags
        return self._parent

    def _describe(self, parent_id: str) -> None:
        """What does not change while the study goes on, and the pages of the UI that show it."""
        if self._described:
            return
        self._log_parent(parent_id, parent_tags(self._target), params=parent_params(self._target.kpis))
        try:
            self._dress(parent_id)
        except MlflowException as error:
            if error.error_code not in (REFUSED, UNKNOWN):
                raise  # else the server is too old for what is a comfort: the trials are written all the same
        self._described = True

    def _dress(self, parent_id: str) -> None:
        if inputs := data_inputs(self._target.origin.data):
            self._call().log_inputs(parent_id, inputs)
        for key, state in self._pages.values():
            if self._experiment_tags.get(TAG + key) != state:
                self._call().set_experiment_tag(self._experiment_id, TAG + key, state)
                self._experiment_tags[TAG + key] = state

    def _log_parent(
        self, parent_id: str, tags: dict[str, str], params: Sequence[Param] = (), metrics: Sequence[Metric] = ()
    ) -> None:
        """Touches only tags that have changed; of equal params and metrics MLflow itself keeps one."""
        changed = {key: value for key, value in tags.items() if self._parent_tags.get(key) != value}
        if changed or params or metrics:
            new = [RunTag(key, value) for key, value in changed.items()]
            self._call().log_batch(parent_id, tags=new, params=params, metrics=metrics)
            self._parent_tags |= changed

    def _note_so_far(self, now: Standing) -> None:
        if self._target.note is not None and time.monotonic() >= self._note_at:
            parent_id = self._parent_id(now)
            self._parent_tags = dict(self._call().get_run(parent_id).data.tags)
            self._log_parent(parent_id, self._note_tags(parent_id, self._target.note(now)))
            self._note_at = time.monotonic() + NOTE_S

    def _note_tags(self, parent_id: str, text: str) -> dict[str, str]:
        """None where a person has edited the note since it was written: theirs stays, ours is the artifact alone."""
        at = {name: page(self._experiment_id, key) for name, (key, _) in self._pages.items()}
        at |= filtered(self._experiment_id, self._target.identity)
        linked = with_links(text, {**at, **links(self._experiment_id, parent_id, self._runs)})
        return note_tags(linked, self._parent_tags)

    def _write(self, trial: Trial, parent_id: str) -> None:
        number = trial.number
        if number in self.whole:
            return
        began, ended = span_ms(trial)
        if number not in self._runs:  # else it was begun before a hiccup or a kill, and is finished now
            fixed = {PARENT: parent_id, IDENTITY: self._target.identity, **owner_tags(self._target)}
            tags = {**fixed, **own_tags(trial)}
            run = self._call().create_run(self._experiment_id, start_time=began, tags=tags, run_name=run_name(trial))
            self._runs[number], self._tags[number] = run.info.run_id, tags
        run_id = self._runs[number]
        params = [Param(name, str(value)) for name, value in trial.recipe.to_dict().items()]
        self._call().log_batch(run_id, metrics=metrics(trial, self._target.kpis), params=params)
        self._call().log_text(run_id, trial.recipe.to_yaml(), "recipe.yaml")
        self._log_file(run_id, self._target.artifacts(number) / "card.json")
        self._call().set_terminated(run_id, STATUS[trial.state], end_time=ended)
        self.whole.add(number)
        self.written.add(number)

    def _place(self, number: int, tags: dict[str, str | None]) -> None:
        """Touches only what has changed."""
        run_id, known = self._runs[number], self._tags[number]
        changed = {key: value for key, value in tags.items() if known.get(key) != value}
        if changed:
            there = {key: value for key, value in changed.items() if value is not None}
            self._call().log_batch(run_id, tags=[RunTag(key, value) for key, value in there.items()])
            for key in changed.keys() - there.keys():
                self._call().delete_tag(run_id, key)
            self._tags[number] = {key: value for key, value in {**known, **tags}.items() if value is not None}

    def _note_progress(self, now: Standing, parent_id: str) -> None:
        if self._steps is None:
            histories = [self._call().get_metric_history(parent_id, name) for name in PROGRESS]
            self._steps = set.intersection(*({point.step for point in history} for history in histories))
        points = [point for step in progress(now.trials, self._target.kpis, self._steps) for point in step]
        for first in range(0, len(points), METRICS_A_CALL):
            self._call().log_batch(parent_id, metrics=points[first : first + METRICS_A_CALL])
        self._steps |= set(range(1, len(now.trials) + 1))

    def _conclude(self, now: Standing, word: LastWord) -> None:
        """The models of the front; then the parent's note, files and, last, its status: it says that all is there."""
        for trial in now.front:
            for name in ("card.json", "model.onnx"):
                self._log_file(self._runs[trial.number], self._target.artifacts(trial.number) / name)
        parent_id = self._parent_id(now)
        for file in word.files:
            self._log_file(parent_id, file)
        self._call().log_text(parent_id, without_links(word.note), LEADERBOARD)
        ended = max((span_ms(trial)[1] for trial in now.trials), default=int(time.time() * 1000))
        champion = [Metric(name, value, ended, word.step) for name, value in word.metrics.items()]
        facts = {key: str(value) for key, value in word.facts.items()}
        self._parent_tags = dict(self._call().get_run(parent_id).data.tags)  # uploads take minutes: it may be edited
        self._log_parent(parent_id, {**facts, **self._note_tags(parent_id, word.note)}, metrics=champion)
        self._call().set_terminated(parent_id, word.status, end_time=ended)

    def _log_file(self, run_id: str, path: Path) -> None:
        """A model that is there is not sent again: it never changes, and may be big."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        if path.suffix == ".onnx":
            there = {item.path: item.file_size for item in self._call().list_artifacts(run_id)}
            if there.get(path.name) == size:
                return
        self._pace(CALL_S if size < SMALL_BYTES else LONG_S)
        try:
            self._mlflow.log_artifact(run_id, str(path))
        except TROUBLE:
            if path.is_file():  # else the search has removed it meanwhile: it left the front
                raise

    def _remove(self, runs: list[Run]) -> None:
        for run in runs:
            self._call().delete_run(run.info.run_id)
            self.removed += 1
