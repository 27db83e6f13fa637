"""autoopt from Python: a whole search of a model of one's own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import autoopt
from autoopt.core import artifact
from autoopt.core.recipe import Recipe
from tests.tasks.test_custom import PARTS, user

RECIPE = Recipe("cnn", "none", "fp16", learning_rate=1e-5)


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


@pytest.fixture
def champion(tmp_path: Path) -> Path:
    model = tmp_path / "some.onnx"
    model.write_bytes(b"weights")
    return artifact.write(tmp_path / "mine" / "champion", model, RECIPE, {"task": "custom"}, {"labels.json": b"[]"})


def test_a_champion_is_loaded_from_its_folder_or_a_copy(champion: Path, tmp_path: Path) -> None:
    shutil.copytree(champion, tmp_path / "copy")
    for folder in (champion, str(tmp_path / "copy")):
        found = autoopt.load_champion(folder)
        assert found == autoopt.Champion(Path(folder) / "model.onnx", {"task": "custom"}, RECIPE)
    assert autoopt.Study("mine", champion.parent).champion == autoopt.load_champion(champion)
    shutil.rmtree(champion)
    assert autoopt.Study("mine", champion.parent).champion is None


def test_a_champion_that_was_changed_is_refused_and_says_what_to_do(champion: Path) -> None:
    for name in ("model.onnx", "card.json", "recipe.yaml", "labels.json", "manifest.json", "added.txt"):
        whole = (champion / name).read_bytes() if name != "added.txt" else b""
        (champion / name).write_bytes(whole[:-2] + b"x")
        for load in (lambda: autoopt.load_champion(champion), lambda: autoopt.Study("mine", champion.parent).champion):
            with pytest.raises(
                autoopt.ArtifactError, match=rf"{name} .*: do not serve it; copy the whole folder again"
            ):
                load()
        (champion / name).write_bytes(whole)
        if name == "added.txt":
            (champion / name).unlink()
    autoopt.load_champion(champion)


def test_a_recipe_that_is_none_is_refused(champion: Path) -> None:
    (champion / "recipe.yaml").write_text("- 1")
    sums = {path.name: artifact.sha256(path) for path in champion.iterdir() if path.name != "manifest.json"}
    (champion / "manifest.json").write_text(json.dumps({"sha256": sums}))
    with pytest.raises(autoopt.ArtifactError, match=r"recipe.yaml holds no recipe: do not serve it"):
        autoopt.load_champion(champion)


def test_no_champion_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(autoopt.ArtifactError, match="there is no folder .*nothing: give outputs"):
        autoopt.load_champion(tmp_path / "nothing")


def test_a_wrong_task_is_an_error_that_can_be_caught(tmp_path: Path) -> None:
    with pytest.raises(autoopt.ConfigError, match="are in the train split, too"):
        autoopt.optimize(user(test=PARTS["train"]), overrides=[f"outputs={tmp_path}"])
    with pytest.raises(
        autoopt.ConfigError, match=r"space.student='cnn' does not fit task custom. Allowed: teacher, mlp"
    ):
        autoopt.optimize(user(), overrides=[f"outputs={tmp_path}", "space.student=cnn"])
    with pytest.raises(autoopt.ConfigError, match=r"kpis.r2: the metric of task custom is accuracy"):
        autoopt.optimize(user(), kpis={"r2": {"objective": True}}, overrides=[f"outputs={tmp_path}"])


def test_a_task_from_python_stays_in_its_process(tmp_path: Path) -> None:
    with pytest.raises(autoopt.ConfigError, match=r"^workers=3: other processes cannot make .*: leave it out, or type"):
        autoopt.optimize(user(), overrides=["workers=3", f"outputs={tmp_path}"])
