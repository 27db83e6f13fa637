"""Quantization-aware training, on trained students."""

import copy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from autoopt.core.errors import Interrupted, TrialError
from autoopt.core.recipe import Recipe
from autoopt.quantization import SCHEMES, Plan
from autoopt.quantization.fake import KINDS
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export, fold_batch_norm
from autoopt.tasks import Task
from autoopt.training.quantized import Tuned, fine_tuning, train_quantized
from tests.conftest import build_student, lessons_of, make_recipe

QAT = {"quantization": "int8_qat", "qat_epochs": 1}


def tune(model: nn.Module, task: Task, **fields: object) -> Tuned:
    recipe = make_recipe(**{**QAT, **fields})
    return train_quantized(model, lessons_of(task), task.validation, recipe, seed=0)


@pytest.fixture(scope="module")
def tuned(digits: Task, trained: dict[str, nn.Module]) -> dict[str, Tuned]:
    return {name: tune(trained[name], digits, qat_epochs=2) for name in ("cnn", "mlp")}


def written(tuned: Tuned, task: Task, folder: Path) -> dict:
    export(tuned.model, task.validation.inputs[:2], folder / "float.onnx")
    plan = Plan(task.train.inputs[:128].numpy(), learned=tuned.learned)
    return SCHEMES["int8_qat"].quantize(folder / "float.onnx", folder / "int8.onnx", plan)


@pytest.mark.parametrize("student", ["cnn", "mlp"])
def test_accuracy_stays_and_the_graph_is_int8(
    student: str,
    digits: Task,
    tuned: dict[str, Tuned],
    exported: dict[str, Path],
    accuracy_of: Callable[..., float],
    tmp_path: Path,
) -> None:
    facts = written(tuned[student], digits, tmp_path)
    layers = {"cnn": 5, "mlp": 3}[student]
    assert facts["learned_layers"] == len(tuned[student].learned) == layers
    before = accuracy_of(RUNTIMES["onnxruntime"](exported[student], 1))
    assert accuracy_of(RUNTIMES["onnxruntime"](tmp_path / "int8.onnx", 1)) >= before - 0.02
    assert len(tuned[student].curve) == 2

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "served.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    served = Counter(node.op_type for node in onnx.load(tmp_path / "served.onnx").graph.node)
    assert sum(served[kind] for kind in ("QLinearConv", "QGemm", "QLinearMatMul")) == layers
    assert not {"Conv", "Gemm", "MatMul", "BatchNormalization"} & set(served)


@pytest.mark.parametrize("saturating", [True, False])
def test_the_file_holds_the_weights_and_ranges_that_were_learned(
    saturating: bool,
    digits: Task,
    trained: dict[str, nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for module in ("autoopt.training.quantized", "autoopt.quantization.int8_static"):
        monkeypatch.setattr(sys.modules[module], "saturates", lambda: saturating)
    found = tune(trained["cnn"], digits)
    written(found, digits, tmp_path)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights, scales = [], []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and arrays.get(node.input[0], np.zeros(0)).dtype == np.int8:
            stored, scale = arrays[node.input[0]], arrays[node.input[1]]
            axis = next(a.i for a in node.attribute if a.name == "axis")
            weights.append(stored * scale.reshape([-1 if i == axis else 1 for i in range(stored.ndim)]))
            assert np.abs(stored.astype(int)).max() == (64 if saturating else 127)
        if node.op_type == "QuantizeLinear":
            scales.append((float(arrays[node.input[1]]), int(arrays[node.input[2]])))
    for layer in found.learned:
        ways = (layer.weight, layer.weight.T)
        assert any(w.shape == way.shape and np.allclose(w, way, rtol=1e-5, atol=1e-7) for w in weights for way in ways)
        scale = np.float32((layer.high - layer.low) / 255)
        assert any(s == pytest.approx(scale) and z == round(-layer.low / scale) for s, z in scales)


def test_the_module_rounds_as_the_file_does(digits: Task, tuned: dict[str, Tuned], tmp_path: Path) -> None:
    """What training sees is what is served, up to what only the file rounds: sums, and outputs of other operators."""
    written(tuned["mlp"], digits, tmp_path)
    inputs = digits.validation.inputs
    served = RUNTIMES["onnxruntime"](tmp_path / "int8.onnx", 1)(inputs.numpy())
    with torch.no_grad():
        plain = tuned["mlp"].model(*inputs).numpy()
    assert np.abs(served - plain).max() < 0.1 * np.abs(plain).max()


@pytest.mark.parametrize("student", ["text_cnn", "bag", "teacher"])
def test_students_of_text_can_be_tuned(student: str, sentences: Task, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_student(student, sentences).eval()
    found = tune(model, sentences)
    facts = written(found, sentences, tmp_path)
    layers = sum(type(module) in KINDS for module in model.modules())
    assert facts["learned_layers"] == len(found.learned) == layers
    logits = RUNTIMES["onnxruntime"](tmp_path / "int8.onnx", 1)(sentences.validation.inputs[:1].numpy())
    assert logits.shape == (1, sentences.classes)


def test_what_comes_back_is_plain_and_what_went_in_is_unchanged(digits: Task, trained: dict[str, nn.Module]) -> None:
    before = copy.deepcopy(trained["cnn"].state_dict())
    found = tune(trained["cnn"], digits)
    assert all(torch.equal(value, before[name]) for name, value in trained["cnn"].state_dict().items())
    assert set(found.model.state_dict()) == set(fold_batch_norm(trained["cnn"]).state_dict())
    assert not found.model.training
    assert all(type(module) in KINDS for module in found.model.modules() if hasattr(module, "weight"))


def test_tuning_is_deterministic(digits: Task, trained: dict[str, nn.Module]) -> None:
    a, b = (tune(trained["mlp"], digits) for _ in range(2))
    assert all(torch.equal(value, b.model.state_dict()[name]) for name, value in a.model.state_dict().items())
    assert [(one.low, one.high) for one in a.learned] == [(other.low, other.high) for other in b.learned]


@pytest.mark.parametrize("optimizer", ["muon", "schedule_free_adamw"])
def test_optimizers_with_ways_of_their_own_tune_too(
    optimizer: str, digits: Task, trained: dict[str, nn.Module], tmp_path: Path
) -> None:
    found = tune(trained["mlp"], digits, optimizer=optimizer)
    assert written(found, digits, tmp_path)["learned_layers"] == 3
    assert found.curve[0] > 0.9


def test_zeros_of_a_sparse_model_stay(digits: Task, trained: dict[str, nn.Module]) -> None:
    sparse = copy.deepcopy(trained["mlp"])
    with torch.no_grad():
        sparse[1].weight[:, ::2] = 0.0
    found = tune(sparse, digits, pruning="unstructured_magnitude", sparsity=0.5)
    layer = found.model.get_submodule("1")
    assert (layer.weight[:, ::2] == 0).all()
    assert not torch.equal(layer.weight, fold_batch_norm(sparse).get_submodule("1").weight)
    free = tune(sparse, digits).model.get_submodule("1")
    assert (free.weight[:, ::2] != 0).any()


def test_nothing_to_round_is_a_failed_trial(sentences: Task) -> None:
    model = nn.Sequential(nn.Embedding(2000, 4), nn.GRU(4, 8))
    with pytest.raises(TrialError, match="this model has none: leave it out of space.quantization"):
        tune(model, sentences)
    with pytest.raises(TrialError, match="int8_qat is trained: type space.qat_epochs=2"):
        tune(model, sentences, qat_epochs=None)


def test_weights_that_are_not_in_the_graph_are_told(
    digits: Task, tuned: dict[str, Tuned], exported: dict[str, Path], tmp_path: Path
) -> None:
    plan = Plan(digits.train.inputs[:32].numpy(), learned=tuned["mlp"].learned)
    with pytest.raises(TrialError, match="the graph has the weights of none of the 3 layers"):
        SCHEMES["int8_qat"].quantize(exported["mlp"], tmp_path / "q.onnx", plan)


def test_a_stop_ends_it(digits: Task, trained: dict[str, nn.Module]) -> None:
    with pytest.raises(Interrupted):
        train_quantized(
            trained["mlp"], lessons_of(digits), digits.validation, make_recipe(**QAT), seed=0, should_stop=lambda: True
        )


def test_the_learning_rate_is_a_tenth_and_the_teacher_as_it_is_imitates_itself() -> None:
    whole = make_recipe(optimizer="sgd", learning_rate=0.2, epochs=9, **QAT)
    found = fine_tuning(whole)
    assert (found.optimizer, found.learning_rate, found.epochs) == ("sgd", pytest.approx(0.02), 1)
    own = fine_tuning(Recipe("teacher", "none", "int8_qat", qat_epochs=3))
    assert (own.epochs, own.optimizer, own.distill_weight) == (3, "adamw", 1.0)
    assert own.learning_rate == pytest.approx(1e-4)
