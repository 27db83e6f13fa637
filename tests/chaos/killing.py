"""Processes killed at random moments, and what is left of their study."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, SCREENED
from autoopt.search.backup import mend
from autoopt.search.record import read_trials
from autoopt.search.study import IDENTITY
from autoopt.tracking.view import View
from tests.chaos.table_search import target_of
from tests.search.table import KPIS, begin

ROOT = Path(__file__).parents[2]


@dataclass
class Told:
    """What a search has said it had on record, over all its lives."""

    trials: dict[int, dict[str, Any]] = field(default_factory=dict)
    workers: list[int] = field(default_factory=list)
    news: int = 0

    def listen(self, search: "subprocess.Popen[str]") -> None:
        assert search.stdout is not None
        with search.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # else it was killed while it spoke
                    self._note(json.loads(line))

    def _note(self, said: dict[str, Any]) -> None:
        self.workers = said.get("workers", self.workers)
        if "trial" in said:
            self.trials[said["trial"]] = said
        self.news += "trial" in said or "begins" in said


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def start_table(folder: Path, trials: int, told: Told, *, workers: int = 2, uri: str = "") -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.chaos.table_search", str(folder), str(trials), str(workers), "0.05", uri]
    with (folder / "stderr.txt").open("a") as errors:
        search = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), cwd=ROOT
        )
    threading.Thread(target=told.listen, args=(search,), daemon=True).start()
    return search


def kill(search: "subprocess.Popen[str]", told: Told, whom: str) -> None:
    """'worker', 'supervisor' or 'both', at once."""
    pids = {"worker": told.workers[:1], "supervisor": [search.pid], "both": [search.pid, *told.workers]}[whom]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_table(folder: Path, kills: int, *, seed: int = 0, uri: str = "") -> dict[str, Any]:
    """A lookup-table study whose processes are killed so often, then left to its end. Returns the figures."""
    dice, told, resumed, faults = random.Random(seed), Told(), [], Counter[str]()
    folder.mkdir(parents=True, exist_ok=True)
    trials = 20 + kills
    search = start_table(folder, trials, told, uri=uri)
    while sum(faults.values()) < kills:
        news, began = told.news, time.monotonic()
        while told.news == news and search.poll() is None and time.monotonic() - began < 60:
            time.sleep(0.01)
        resumed.append(time.monotonic() - began)
        if search.poll() is not None:
            assert search.returncode == 0, (folder / "stderr.txt").read_text()[-2000:]
            trials += 20
            search = start_table(folder, trials, told, uri=uri)
            continue
        time.sleep(dice.uniform(0.0, 0.6))
        whom = dice.choice(["worker", "supervisor", "both"])
        kill(search, told, whom)
        faults[whom] += 1
        if whom != "worker":
            search.wait()
            search = start_table(folder, trials, told, uri=uri)
    assert search.wait(600) == 0, (folder / "stderr.txt").read_text()[-2000:]
    in_mlflow = sync_and_count(folder, uri) if uri else {}
    return {"faults": dict(faults), "seconds_to_resume": sorted(resumed), **audit(folder, told), **in_mlflow}


def sync_and_count(folder: Path, uri: str) -> dict[str, Any]:
    """Trials of the study that MLflow lacks after a sync, and those that it has twice."""
    study = begin(folder)
    view = View.open(target_of(folder, uri, study.user_attrs[IDENTITY]))
    trials = read_trials(study)
    view.sync(standing(trials, KPIS))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("toy")
    found, token = Counter[str](), None
    while True:
        page = client.search_runs([experiment.experiment_id], "tags.`autoopt.trial` != ''", page_token=token)
        found.update(run.data.tags["autoopt.trial"] for run in page if run.info.status != "RUNNING")
        token = page.token
        if not token:
            break
    return {
        "lost_in_mlflow": sum(str(trial.number) not in found for trial in trials),
        "duplicates_in_mlflow": sum(count - 1 for count in found.values()),
    }


def audit(folder: Path, told: Told) -> dict[str, Any]:
    """Trials that were told to be on record and are not as they were told; recipes that are there twice."""
    assert mend(folder) == ""
    study = begin(folder)
    there = {trial.number: trial for trial in read_trials(study)}
    lost = [
        number
        for number, said in told.trials.items()
        if number not in there
        or (there[number].state, there[number].recipe.to_dict()) != (said["state"], said["recipe"])
    ]
    counted = Counter(trial.recipe for trial in there.values() if trial.state in (COMPLETE, SCREENED))
    return {
        "trials": len(there),
        "told": len(told.trials),
        "lost": len(lost),
        "duplicates": sum(count - 1 for count in counted.values()),
    }
