from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, Evaluation, Trial
from autoopt.search.asking import ask
from autoopt.search.record import read_trials
from autoopt.search.telling import constraints, tell
from tests.search.table import KPIS, begin

MEASURED = {"accuracy": Measurement(0.93, 0.95), "latency_p95_ms": Measurement(0.9, 1.5)}


def trial(asked: optuna.Trial, accuracy: float = 0.93) -> Trial:
    measured = {**MEASURED, "accuracy": Measurement(accuracy, 0.95)}
    return Trial(asked.number, COMPLETE, Recipe("teacher", "none", "fp16"), Evaluation(measured), ended_unix_s=1.0)


def test_a_trial_is_told_without_reading_it_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, read = begin(tmp_path), 0
    asked = ask(study)
    original = study._storage.get_trial

    def get_trial(trial_id: int) -> optuna.trial.FrozenTrial:
        nonlocal read
        read += 1
        return original(trial_id)

    monkeypatch.setattr(study._storage, "get_trial", get_trial)
    tell(study, asked, trial(asked), KPIS)
    assert read == 2, "by Optuna, before and after it closes the trial: each is ten round trips to a database"
    (told,) = study.get_trials()
    assert (told.state, told.constraints) == (TrialState.COMPLETE, constraints(KPIS, trial(asked)))


def test_told_twice_is_told_once_and_nobody_changes_what_another_has_told(tmp_path: Path) -> None:
    study = begin(tmp_path)
    asked = ask(study)
    tell(study, asked, trial(asked), KPIS)
    tell(study, asked, trial(asked), KPIS)
    with pytest.raises(UpdateFinishedTrialError):
        tell(study, asked, trial(asked, accuracy=0.9), KPIS)
    assert [found.measurements["accuracy"].value for found in read_trials(study)] == [0.93]
