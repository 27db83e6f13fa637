"""One parent run a study, one child run a trial: written as the search goes, completed at its end."""

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from autoopt.core.kpi import Kpi
from autoopt.core.slower import slower_than_float
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.tracking.store import how_to_look, open_client, open_experiment

log = logging.getLogger(__name__)

TROUBLE = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
STATUS = {COMPLETE: "FINISHED", SCREENED: "KILLED", FAILED: "FAILED"}


class View:
    """The study's runs in MLflow. Every method that writes survives an MLflow in trouble: what is missing is written
    by `finish`.
    """

    def __init__(
        self,
        uri: str,
        client: MlflowClient,
        experiment_id: str,
        parent_id: str,
        kpis: tuple[Kpi, ...],
        artifacts: Callable[[int], Path],
    ) -> None:
        self._client, self._experiment_id, self.parent_id = client, experiment_id, parent_id
        self.how_to_look = how_to_look(uri, experiment_id)
        self._kpis, self._artifacts = kpis, artifacts
        self._runs, self._whole = self._existing_runs()
        self._tags: dict[int, dict[str, str]] = {}

    @classmethod
    def open(
        cls,
        uri: str,
        outputs: Path,
        task: str,
        study: str,
        identity: str,
        kpis: tuple[Kpi, ...],
        artifacts: Callable[[int], Path],
    ) -> "View":
        """The runs of the study `identity` (a random id: names repeat) in the experiment `task`.

        `artifacts(number)` is the folder of a trial's artifact, which need not exist. Raises one of TROUBLE.
        """
        client = open_client(uri)
        experiment = open_experiment(client, task, uri, outputs)
        found = client.search_runs([experiment.experiment_id], f"tags.`autoopt.study_id` = '{identity}'", max_results=1)
        tags = {"autoopt.study": study, "autoopt.study_id": identity}
        parent = found[0] if found else client.create_run(experiment.experiment_id, run_name=study, tags=tags)
        client.update_run(parent.info.run_id, status="RUNNING")
        return cls(uri, client, experiment.experiment_id, parent.info.run_id, kpis, artifacts)

    def add(self, trial: Trial, standing: Standing) -> None:
        """Write a trial that has just ended, and what it changes for the others."""
        try:
            self._write(trial)
            self._tag(standing)
            self._note_progress(trial, standing)
        except TROUBLE as error:
            log.warning("MLflow did not take trial %d (%s): written later", trial.number, error)

    def finish(
        self, standing: Standing, note: str, files: Sequence[Path], facts: Mapping[str, Any], status: str
    ) -> bool:
        """Write what is missing, the models of the front, the note and files of the parent. False where MLflow is in
        trouble.
        """
        try:
            for trial in standing.trials:
                self._write(trial)
            self._tag(standing)
            for trial in standing.front:
                self._log_file(self._runs[trial.number], self._artifacts(trial.number) / "model.onnx")
            for file in files:
                self._log_file(self.parent_id, file)
            self._client.log_batch(self.parent_id, tags=[RunTag(key, str(value)) for key, value in facts.items()])
            self._client.set_tag(self.parent_id, "mlflow.note.content", note[:8000])
            self._client.set_terminated(self.parent_id, status)
        except TROUBLE as error:
            log.warning("MLflow is not complete (%s): the study is, and the next search on it writes the rest", error)
            return False
        return True

    def _existing_runs(self) -> tuple[dict[int, str], set[int]]:
        """Trial number -> run id of all children, and the numbers of those that were written to their end."""
        runs: dict[int, str] = {}
        whole: set[int] = set()
        token = None
        while True:
            query = f"tags.`mlflow.parentRunId` = '{self.parent_id}'"
            page = self._client.search_runs([self._experiment_id], query, max_results=1000, page_token=token)
            for run in page:
                number = int(run.data.tags["autoopt.trial"])
                runs[number] = run.info.run_id
                if run.info.status != "RUNNING":
                    whole.add(number)
            token = page.token
            if not token:
                return runs, whole

    def _write(self, trial: Trial) -> None:
        if trial.number in self._whole:
            return
        now = int(time.time() * 1000)
        spent = int(sum(trial.evaluation.seconds.values()) * 1000) if trial.evaluation else 0
        tags = {"mlflow.parentRunId": self.parent_id, "autoopt.trial": str(trial.number), "autoopt.state": trial.state}
        if trial.sibling_of is not None:
            tags["autoopt.sibling_of"] = str(trial.sibling_of)
        unstable = [name for name, measured in trial.measurements.items() if measured.unstable]
        if unstable:
            tags["autoopt.unstable"] = ", ".join(unstable)
        if trial.reason:
            tags |= {
                "autoopt.reason": trial.reason[:4000],
                "mlflow.note.content": f"**{trial.state}**: {trial.reason[:4000]}",
            }
        if trial.number not in self._runs:  # else it was begun before a hiccup or a kill, and is finished now
            name, start = run_name(trial), now - spent
            run = self._client.create_run(self._experiment_id, start_time=start, tags=tags, run_name=name)
            self._runs[trial.number] = run.info.run_id
        run_id = self._runs[trial.number]
        params = [Param(name, str(value)) for name, value in trial.recipe.to_dict().items()]
        self._client.log_batch(run_id, metrics=metrics(trial, self._kpis, now), params=params)
        self._client.log_text(run_id, trial.recipe.to_yaml(), "recipe.yaml")
        self._log_file(run_id, self._artifacts(trial.number) / "card.json")
        self._client.set_terminated(run_id, STATUS[trial.state], end_time=now)
        self._whole.add(trial.number)

    def _tag(self, standing: Standing) -> None:
        """Bring feasible, pareto and rank up to date, touching only what has changed."""
        feasible = {trial.number for trial in standing.feasible}
        slower = slower_than_float(standing.trials)
        rank = {trial.number: place for place, trial in enumerate(standing.front, start=1)}
        for trial in standing.trials:
            number = trial.number
            tags = {
                "autoopt.feasible": _yes(number in feasible),
                "autoopt.pareto": _yes(number in rank),
                "autoopt.rank": str(rank.get(number, "")),
                **({"autoopt.slower_than_fp32": f"{slower[number]:.2f}x"} if number in slower else {}),
            }
            known = self._tags.get(number, {})
            changed = [RunTag(key, value) for key, value in tags.items() if known.get(key) != value]
            if changed and number in self._runs:
                self._client.log_batch(self._runs[number], tags=changed)
                self._tags[number] = tags

    def _note_progress(self, trial: Trial, standing: Standing) -> None:
        now = int(time.time() * 1000)
        values = {
            "hypervolume": standing.hypervolume,
            "feasible": len(standing.feasible),
            "trials": len(standing.trials),
        }
        self._client.log_batch(
            self.parent_id, metrics=[Metric(name, value, now, trial.number) for name, value in values.items()]
        )

    def _log_file(self, run_id: str, path: Path) -> None:
        if path.is_file():
            self._client.log_artifact(run_id, str(path))


def run_name(trial: Trial) -> str:
    """Reads well in a list: number, student, scheme."""
    recipe = trial.recipe
    return f"{trial.number:04d} {recipe.student} {recipe.pruning} {recipe.quantization}".replace(
        " none none", " fp32"
    ).replace(" none", "")


def metrics(trial: Trial, kpis: tuple[Kpi, ...], now_ms: int) -> list[Metric]:
    """Measurements, their ratios to the baseline, kpi_score, the learning curve and seconds by stage; of a screened
    or failed trial what was known by then."""
    if trial.evaluation is None:
        return []
    values = {name: measured.value for name, measured in trial.measurements.items()}
    values |= {f"{name}_ratio": m.ratio for name, m in trial.measurements.items() if m.ratio is not None}
    values |= {f"seconds_{stage}": seconds for stage, seconds in trial.evaluation.seconds.items()}
    if trial.state == COMPLETE:
        values["kpi_score"] = trial.score(kpis)
    curve = [
        Metric("epoch_quality", quality, now_ms, epoch) for epoch, quality in enumerate(trial.evaluation.curve, start=1)
    ]
    return [Metric(name, value, now_ms, 0) for name, value in values.items()] + curve


def _yes(condition: bool) -> str:
    return "true" if condition else "false"
