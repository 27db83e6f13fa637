"""autoopt from Python: a whole search of a model of one's own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import autoopt
from tests.tasks.test_custom import PARTS, user


def test_importing_autoopt_imports_nothing_heavy() -> None:
    code = "import sys, autoopt; print([m for m in ('torch', 'mlflow', 'optuna', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_is_public_is_there() -> None:
    assert [name for name in autoopt.__all__ if not hasattr(autoopt, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        autoopt.nothing  # noqa: B018


def hidden() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))


def fit(model: nn.Module) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(PARTS["train"][0]), PARTS["train"][1]).backward()
        optimizer.step()


@pytest.mark.slow
def test_optimize_searches_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = {"size_mb": {"objective": True}, "accuracy": {"objective": True, "max_drop": 0.5}}
    words = [f"outputs={tmp_path}", "study=mine", "tracking=none", "budget.trials=3", "space.epochs=2", "threads=1"]
    words += ["space.student=[teacher,mlp]", "space.pruning=[none,unstructured_magnitude]"]
    study = autoopt.optimize(user(model=hidden(), fit=fit), kpis=wide, overrides=words)
    assert study.folder == tmp_path / "mine"
    trials = study.trials()
    assert trials.loc[0, "student"] == "teacher"
    assert trials.loc[0, "accuracy"] > 0.8
    assert set(trials["state"]) <= {"complete", "screened", "failed"}
    assert trials["size_mb_ratio"].min() < 0.5
    assert study.champion is not None
    assert study.champion.model.is_file()
    assert study.champion.card["task"] == "custom"
    again = autoopt.optimize(user(model=hidden(), fit=fit), kpis=wide, overrides=words)
    assert len(again.trials()) > len(trials)
    assert "Traceback" not in capsys.readouterr().err


def test_a_wrong_task_is_an_error_that_can_be_caught(tmp_path: Path) -> None:
    with pytest.raises(autoopt.ConfigError, match="are in the train split, too"):
        autoopt.optimize(user(test=PARTS["train"]), overrides=[f"outputs={tmp_path}"])
    with pytest.raises(
        autoopt.ConfigError, match=r"space.student='cnn' does not fit task custom. Allowed: teacher, mlp"
    ):
        autoopt.optimize(user(), overrides=[f"outputs={tmp_path}", "space.student=cnn"])
    with pytest.raises(autoopt.ConfigError, match=r"kpis.r2: the metric of task custom is accuracy"):
        autoopt.optimize(user(), kpis={"r2": {"objective": True}}, overrides=[f"outputs={tmp_path}"])
