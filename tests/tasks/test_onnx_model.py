"""A model that scikit-learn made, not PyTorch: read, checked, quantized."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from autoopt.core.errors import ConfigError
from autoopt.measurements.quality import predict
from autoopt.quantization import SCHEMES, Plan, offered
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import TASKS, Task
from autoopt.tasks.checks import check_task, check_teacher
from autoopt.training.teacher import module_fingerprint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from skl2onnx import to_onnx

    folder = tmp_path_factory.mktemp("onnx")
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    classifier = MLPClassifier((64,), max_iter=40, random_state=0)
    with pytest.warns():  # it could train longer
        classifier.fit(images[:1100], labels[:1100])
    (folder / "model.onnx").write_bytes(to_onnx(classifier, images[:1], options={"zipmap": False}).SerializeToString())
    np.savez(folder / "calibration.npz", X=images[:200])
    np.savez(folder / "validation.npz", X=images[1100:1400], targets=labels[1100:1400])
    np.savez(folder / "test.npz", X=images[1400:], y=labels[1400:])
    return {path.stem: str(path) for path in folder.iterdir()}


def load(files: dict[str, str], **changes: Any) -> Task:
    return TASKS["onnx"](**{**files, **changes})


def test_a_classifier_of_scikit_learn_becomes_a_task(files: dict[str, str], tmp_path: Path) -> None:
    task = load(files)
    assert (len(task.train), len(task.validation), len(task.test), task.classes) == (200, 300, 397, 10)
    check_task(task)
    check_teacher(task, task.build_teacher())
    assert task.build_teacher()(*task.validation.inputs[:7]).shape == (7, 10), "the probabilities, not the labels"
    assert export(task.build_teacher(), task.validation.inputs[:2], tmp_path / "m.onnx") == "given"
    assert [found.name for found in onnx.load(tmp_path / "m.onnx").graph.output] == ["probabilities"]
    assert set(offered(task.build_teacher())) >= {"int8_static", "int8_dynamic", "none"}
    assert "int8_qat" not in offered(task.build_teacher()), "a file cannot be trained"


@pytest.mark.parametrize("scheme", ["int8_static", "int8_dynamic", "fp16"])
def test_a_model_of_keras_is_quantized(scheme: str, tmp_path: Path) -> None:
    """By way of TensorFlow and tf2onnx: channels last, transposed where the runtime wants them first."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    parts = {"calibration": slice(0, 200), "validation": slice(1100, 1400), "test": slice(1400, None)}
    for name, rows in parts.items():
        np.savez(tmp_path / f"{name}.npz", keras_tensor=images[rows], targets=labels[rows])
    files = {name: str(tmp_path / f"{name}.npz") for name in parts}
    task = load({"model": str(Path(__file__).parents[1] / "data" / "keras_digits.onnx"), **files})
    check_task(task)
    check_teacher(task, task.build_teacher())
    assert scheme in offered(task.build_teacher())
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    export(task.build_teacher(), task.validation.inputs[:2], source)
    SCHEMES[scheme].quantize(source, target, Plan(task.train.inputs.numpy()))
    assert target.stat().st_size < 0.6 * source.stat().st_size
    inputs, targets = task.validation.inputs.numpy(), task.validation.targets.numpy()
    before, after = (
        (predict(RUNTIMES["onnxruntime"](path, 1), inputs).argmax(1) == targets).mean() for path in (source, target)
    )
    assert before > 0.9
    assert after > before - 0.02


def test_another_model_is_another_teacher(files: dict[str, str], tmp_path: Path) -> None:
    model = onnx.load(files["model"])
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(model, tmp_path / "other.onnx")
    one, other = (load(files, model=path).build_teacher() for path in (files["model"], str(tmp_path / "other.onnx")))
    assert module_fingerprint(one) == module_fingerprint(load(files).build_teacher()) != module_fingerprint(other)


def test_data_that_differs_between_splits_is_told_before_the_night(files: dict[str, str], tmp_path: Path) -> None:
    with np.load(files["test"]) as arrays:
        np.savez(tmp_path / "wide.npz", X=arrays["X"].astype(np.float64), y=arrays["y"])
    with pytest.raises(ConfigError, match=r"X of the test split is float64 \(rows, 64\), train has float32"):
        check_task(load(files, test=str(tmp_path / "wide.npz")))
    np.savez(tmp_path / "text.npz", X=np.array([["a"]]), y=np.array([1]))
    with pytest.raises(ConfigError, match=r"text.npz holds arrays that are no numbers"):
        load(files, test=str(tmp_path / "text.npz"))


def test_another_output_may_count(files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"task.output has the shape \(2,\) for two rows"):
        load(files, output="label")
    with pytest.raises(ConfigError, match=r"task.output=logits: .* has label, probabilities"):
        load(files, output="logits")


def test_data_may_come_from_a_function(files: dict[str, str]) -> None:
    task = load(files, validation="tests.tasks.test_onnx_model:some")
    assert torch.equal(task.validation.targets, torch.tensor([3, 4]))


def some() -> dict[str, Any]:
    return {"X": np.zeros((2, 64), np.float32), "labels": [3, 4]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "task.model=None: there is no such file"),
        ({"model": __file__}, "is no ONNX file"),
        (
            {"calibration": None},
            r"type task.calibration=FILE.npz or MODULE:FUNCTION, with some hundred training inputs",
        ),
        ({"validation": "nowhere.npz"}, "task.validation=nowhere.npz: type task.validation=FILE.npz"),
        ({"validation": "tests.tasks.test_onnx_model:nothing"}, "has no 'nothing'"),
        ({"kind": "ranking"}, "classification or regression is allowed"),
    ],
)
def test_wrong_options_say_what_to_type(changes: dict[str, Any], message: str, files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=message):
        load(files, **changes)


def test_arrays_that_are_missing_are_named(files: dict[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", Z=np.zeros((2, 64)))
    with pytest.raises(ConfigError, match=r"bad.npz holds Z: the arrays X, targets are needed"):
        load(files, test=str(tmp_path / "bad.npz"))
    np.savez(tmp_path / "bad.npz", X=np.zeros((2, 64), np.float32), y=[1])
    with pytest.raises(ConfigError, match="has not as many rows everywhere"):
        load(files, test=str(tmp_path / "bad.npz"))
    np.savez(tmp_path / "bad.npz", X=np.zeros((2, 63), np.float32), y=[1, 2])
    with pytest.raises(ConfigError, match="does not take two rows of the validation split"):
        load(files, validation=str(tmp_path / "bad.npz"))
