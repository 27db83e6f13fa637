"""What MLflow serves says what the artifact says, on the task's own inputs."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import Model
from torch import Tensor, nn

from autoopt.api import load_champion
from autoopt.champion import served
from autoopt.champion.serving import LOADER, as_typed, pyfunc, save_model, says_the_same, servable
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.measurements.classes import probabilities
from autoopt.measurements.quality import predict
from autoopt.quantization import SCHEMES, Plan
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import Task
from autoopt.tasks.custom import from_user
from tests.champion.test_card import LeftOnly, card
from tests.conftest import build_student
from tests.tasks.test_custom import PARTS, Keywords, named, user

NAMED = {name: (named(x), y) for name, (x, y) in PARTS.items()}
NUMBERS = {name: (x, x.sum(1)) for name, (x, _) in PARTS.items()}


def content_of(task: Task, model: Path, folder: Path, runtime: str = "onnxruntime") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return servable(model.parent, folder / "champion", BASELINE, card(task, model, runtime), task)


def exported(task: Task, model: nn.Module, folder: Path) -> Path:
    (folder / "source").mkdir(parents=True)
    export(model, task.validation.inputs[:2], folder / "source" / "model.onnx")
    return folder / "source" / "model.onnx"


def saved(task: Task, content: Path, folder: Path) -> Path:
    save_model(content, folder / "model", task, Model())
    return folder / "model"


def untrained(task: Task, student: str, folder: Path) -> Path:
    torch.manual_seed(0)
    return exported(task, build_student(student, task), folder)


class OneNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


TASKS_OF_ONES_OWN: dict[str, Callable[[], Task]] = {
    "two inputs": lambda: from_user(user(model=Keywords(), **NAMED)),
    "an input that the model does not look at": lambda: from_user(user(model=LeftOnly(), **NAMED)),
    "numbers": lambda: from_user(user(model=OneNumber(), kind="regression", **NUMBERS)),
}


def check(task: Task, model: Path, folder: Path) -> Any:
    """The whole validation split through MLflow; returns the loaded model."""
    content = content_of(task, model, folder)
    place = saved(task, content, folder)
    assert says_the_same(place, content, task)
    loaded = pyfunc().load_model(str(place))
    outputs = predict(RUNTIMES["onnxruntime"](model, 1), task.validation.inputs.numpy())
    found = loaded.predict(as_typed(task, np.arange(len(task.validation))))
    if task.goal.kind == "regression":
        assert np.array_equal(found, outputs)
    else:
        assert found["class"].tolist() == outputs.argmax(1).tolist()
        assert found["label"].tolist() == [task.class_names[i] for i in outputs.argmax(1)]
        assert np.allclose(found["probability"], probabilities(outputs).max(1), atol=1e-6)
    return loaded


@pytest.mark.parametrize("name", TASKS_OF_ONES_OWN)
def test_arrays_and_dicts_of_them_are_answered(name: str, tmp_path: Path) -> None:
    task = TASKS_OF_ONES_OWN[name]()
    check(task, exported(task, task.build_teacher(), tmp_path), tmp_path)


def test_images_are_answered_and_other_shapes_and_types_refused(digits: Task, tmp_path: Path) -> None:
    loaded = check(digits, untrained(digits, "cnn", tmp_path), tmp_path)
    assert set(pd.unique(loaded.predict(as_typed(digits, np.arange(300)))["label"])) <= set(digits.class_names)
    for wrong in (np.zeros((1, 8, 8), "float32"), np.zeros((1, 1, 8, 8), "float64"), np.zeros((1, 3, 8, 8), "float32")):
        with pytest.raises(Exception, match="Failed to enforce schema"):
            loaded.predict(wrong)


def test_texts_are_answered_however_they_are_handed_over(sentences: Task, tmp_path: Path) -> None:
    loaded = check(sentences, untrained(sentences, "bag", tmp_path), tmp_path)
    texts = list(sentences.texts[:3])
    answers = loaded.predict(texts)
    assert len(answers) == 3
    for other in (np.array(texts, dtype=object), pd.DataFrame({"text": texts}), pd.Series(texts)):
        assert answers.equals(loaded.predict(other))
    assert len(loaded.predict([""])) == 1


def test_others_in_the_batch_change_no_answer(digits: Task, tmp_path: Path) -> None:
    """int8_dynamic takes its ranges from the whole batch."""
    source = untrained(digits, "mlp", tmp_path)
    plan = Plan(digits.train.inputs[:8].numpy())
    SCHEMES["int8_dynamic"].quantize(source, source.with_name("small.onnx"), plan)
    source.with_name("small.onnx").replace(source)
    content = content_of(digits, source, tmp_path)
    images = as_typed(digits, np.arange(40))
    outputs = RUNTIMES["onnxruntime"](source, 1)(digits.validation.inputs[:40].numpy())
    model = served.Served(content)
    together = model.predict(images)
    assert not served.answers(outputs, model.about).equals(together), "a batch is another model"
    assert pd.concat([model.predict(images[i : i + 1]) for i in range(40)], ignore_index=True).equals(together)


def test_nothing_is_answered_with_nothing(digits: Task, sentences: Task, tmp_path: Path) -> None:
    task = TASKS_OF_ONES_OWN["numbers"]()
    numbers = served.Served(content_of(task, exported(task, task.build_teacher(), tmp_path / "n"), tmp_path / "n"))
    assert numbers.predict(np.zeros((0, 2), "float32")).shape == (0, 1)
    for task, student in ((digits, "mlp"), (sentences, "bag")):
        place = tmp_path / student
        model = served.Served(content_of(task, untrained(task, student, place), place))
        assert list(model.predict([]).columns) == ["label", "class", "probability"]
        assert len(model.predict([])) == 0
    assert len(served.Served(tmp_path / "mlp" / "champion").predict(np.zeros((0, 1, 8, 8), "float32"))) == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_number_is_refused_with_its_place(wrong: float, digits: Task, tmp_path: Path) -> None:
    model = served.Served(content_of(digits, untrained(digits, "mlp", tmp_path), tmp_path))
    images = as_typed(digits, np.arange(15)).astype("float64")
    images[1, 0, 3, 3] = wrong
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="input has NaN or infinity in row 1: finite"):
        model.predict(images)
    images[2:] = wrong
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="in row 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4 more"):
        model.predict(images)


def test_what_the_outputs_are_is_decided_once(digits: Task, tmp_path: Path) -> None:
    """Logits of one row may look like probabilities."""
    source = untrained(digits, "mlp", tmp_path)
    logits = np.array([[0.2, 0.8], [0.2, 0.81]])
    about = json.loads((content_of(digits, source, tmp_path) / served.FILE).read_text())
    assert about["probabilities"] is False
    found = served.answers(logits, {**about, "labels": ["a", "b"]})["probability"]
    assert np.allclose(found, 1 / (1 + np.exp([-0.6, -0.61])))
    torch.manual_seed(0)
    shares = exported(digits, nn.Sequential(build_student("mlp", digits), nn.Softmax(1)), tmp_path / "shares")
    content = content_of(digits, shares, tmp_path / "shares")
    assert json.loads((content / served.FILE).read_text())["probabilities"] is True
    images = as_typed(digits, np.arange(20))
    outputs = predict(RUNTIMES["onnxruntime"](shares, 1), digits.validation.inputs[:20].numpy())
    assert np.allclose(served.Served(content).predict(images)["probability"], outputs.max(1), atol=1e-7)


def test_a_model_that_says_something_else_is_noticed(digits: Task, tmp_path: Path) -> None:
    contents = [
        content_of(digits, untrained(digits, name, tmp_path / name), tmp_path / name) for name in ("cnn", "mlp")
    ]
    place = saved(digits, contents[0], tmp_path)
    assert says_the_same(place, contents[0], digits)
    assert not says_the_same(place, contents[1], digits)


def test_the_loader_stands_alone(sentences: Task, tmp_path: Path) -> None:
    """Where autoopt and torch are not, the model answers all the same, and reads no pickle."""
    content = content_of(sentences, untrained(sentences, "bag", tmp_path), tmp_path)
    place = saved(sentences, content, tmp_path)
    code = f"""
import sys
for name in ("autoopt", "torch", "onnx", "transformers", "cloudpickle"):
    sys.modules[name] = None
sys.path.insert(0, {str(place / "code")!r})
import {LOADER}
print({LOADER}._load_pyfunc({str(place / "data" / "champion")!r}).predict(["hello"])["label"][0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in sentences.class_names


def test_what_it_needs_is_said_exactly(digits: Task, tmp_path: Path) -> None:
    content = content_of(digits, untrained(digits, "mlp", tmp_path), tmp_path)
    needs = (saved(digits, content, tmp_path) / "requirements.txt").read_text().split()
    assert f"onnxruntime=={version('onnxruntime')}" in needs
    assert f"mlflow=={version('mlflow')}" in needs
    assert not any(line.startswith(("torch", "tokenizers", "autoopt")) for line in needs)


def test_a_registered_folder_is_a_champion_without_mlflow(digits: Task, tmp_path: Path) -> None:
    model = untrained(digits, "mlp", tmp_path)
    content = content_of(digits, model, tmp_path)
    champion = load_champion(saved(digits, content, tmp_path) / "data" / "champion")
    assert champion.recipe == Recipe.from_dict(BASELINE.to_dict())
    assert json.loads((content / served.FILE).read_text())["labels"] == digits.class_names


def test_openvino_answers_from_several_threads(digits: Task, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    content = content_of(digits, untrained(digits, "cnn", tmp_path), tmp_path, runtime="openvino")
    model, images = served.Served(content), as_typed(digits, np.arange(60))
    outputs = predict(RUNTIMES["openvino"](content / "model.onnx", 1), digits.validation.inputs[:60].numpy())
    expected = served.answers(outputs, model.about)
    with ThreadPoolExecutor(4) as clients:
        found = list(clients.map(lambda i: model.predict(images[i : i + 1]), range(60)))
    assert pd.concat(found, ignore_index=True).equals(expected)
