"""autoopt from Python: a whole search of a model of one's own."""

import subprocess
import sys
from pathlib import Path

import pytest

import autoopt
from tests.tasks.test_custom import PARTS, right, user


def test_importing_autoopt_imports_nothing_heavy() -> None:
    code = "import sys, autoopt; print([m for m in ('torch', 'mlflow', 'optuna', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_is_public_is_there() -> None:
    assert [name for name in autoopt.__all__ if not hasattr(autoopt, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        autoopt.nothing  # noqa: B018


def test_optimize_searches_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = {"latency_p95_ms": {"objective": True, "max_ratio": 100}, "accuracy": {"objective": True, "max_drop": 0.5}}
    words = [f"outputs={tmp_path}", "study=mine", "tracking=none", "budget.trials=3", "space.epochs=2", "threads=1"]
    words += ["space.student=[teacher,mlp]", "space.pruning=[none,unstructured_magnitude]"]
    study = autoopt.optimize(autoopt.Task(model=right(), **PARTS), kpis=wide, overrides=words)
    assert study.folder == tmp_path / "mine"
    trials = study.trials()
    assert trials.loc[0, "student"] == "teacher"
    assert trials.loc[0, "accuracy"] == 1.0
    assert set(trials["state"]) <= {"complete", "screened", "failed"}
    assert "latency_p95_ms_ratio" in trials
    assert study.champion is not None
    assert study.champion.model.is_file()
    assert study.champion.card["task"] == "custom"
    again = autoopt.optimize(user(), kpis=wide, overrides=words)
    assert len(again.trials()) > len(trials)
    assert "Traceback" not in capsys.readouterr().err


def test_a_wrong_task_is_an_error_that_can_be_caught(tmp_path: Path) -> None:
    with pytest.raises(autoopt.ConfigError, match="are in the train split, too"):
        autoopt.optimize(user(test=PARTS["train"]), overrides=[f"outputs={tmp_path}"])
    with pytest.raises(autoopt.ConfigError, match=r"space.student='cnn' does not fit task custom: teacher, mlp do"):
        autoopt.optimize(user(), overrides=[f"outputs={tmp_path}", "space.student=cnn"])
    with pytest.raises(autoopt.ConfigError, match=r"kpis.r2: the metric of task custom is accuracy"):
        autoopt.optimize(user(), kpis={"r2": {"objective": True}}, overrides=[f"outputs={tmp_path}"])
