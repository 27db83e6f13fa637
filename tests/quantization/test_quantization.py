"""Contract of every quantization scheme, on trained students."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from autoopt.core import artifact
from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.quantization import (
    CALIBRATIONS,
    GRAPH_OPTIMIZATIONS,
    KEEP_FLOAT,
    OPERATORS,
    SCHEMES,
    Plan,
    offered,
    optimized,
)
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import Task

PAIRS = [
    (scheme, student)
    for scheme in SCHEMES
    for student in ("cnn", "mlp")
    if not (scheme.startswith("weight_only") and student == "cnn")
]
LOW_BIT = {"int8_dynamic", "int8_static", "int8_qat", "nncf_int8", "weight_only_int8", "weight_only_int4"}
MARKS = {
    "int8_dynamic": {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"},
    "int8_static": {"DequantizeLinear", "QuantizeLinear"},
    "int8_qat": {"DequantizeLinear", "QuantizeLinear"},
    "nncf_int8": {"DequantizeLinear", "QuantizeLinear"},
    "weight_only_int8": {"MatMulNBits"},
    "weight_only_int4": {"MatMulNBits"},
}


def quantize(scheme: str, source: Path, target: Path, digits: Task, method: str = "minmax") -> dict:
    return SCHEMES[scheme].quantize(source, target, Plan(digits.train.inputs[:128].numpy(), method))


@pytest.mark.parametrize(("scheme", "student"), PAIRS)
def test_scheme(
    scheme: str,
    student: str,
    digits: Task,
    exported: dict[str, Path],
    accuracy_of: Callable[..., float],
    tmp_path: Path,
) -> None:
    source, target = exported[student], tmp_path / "out.onnx"
    before = artifact.sha256(source)
    facts = quantize(scheme, source, target, digits)

    assert artifact.sha256(source) == before, "the source was changed"
    assert facts["bits"] == SCHEMES[scheme].bits
    onnx.checker.check_model(onnx.load(target))
    assert (artifact.sha256(target) != before) == (scheme != "none")
    size = target.stat().st_size / source.stat().st_size
    assert size < {32: 1.01, 16: 0.65, 8: 0.6, 4: 0.5}[SCHEMES[scheme].bits]
    ops = {node.op_type for node in onnx.load(target).graph.node}
    assert bool(ops & MARKS.get(scheme, set())) == (scheme in LOW_BIT)
    for runs in RUNTIMES.values():
        assert accuracy_of(runs(target, 1)) >= accuracy_of(runs(source, 1)) - 0.03


@pytest.mark.parametrize(("scheme", "student"), PAIRS)
def test_scheme_is_deterministic(
    scheme: str, student: str, digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        quantize(scheme, exported[student], tmp_path / name, digits)
    assert artifact.sha256(tmp_path / "a") == artifact.sha256(tmp_path / "b")


@pytest.mark.parametrize("student", ["cnn", "mlp"])
def test_calibration_methods_give_different_ranges(
    student: str, digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    for method in CALIBRATIONS:
        quantize("int8_static", exported[student], tmp_path / method, digits, method)
    assert len({artifact.sha256(tmp_path / method) for method in CALIBRATIONS}) == len(CALIBRATIONS)


@pytest.mark.parametrize("scheme", ["int8_static", "int8_dynamic", "nncf_int8"])
@pytest.mark.parametrize("saturating", [True, False])
def test_weights_keep_to_seven_bits_where_eight_would_saturate(
    scheme: str,
    saturating: bool,
    digits: Task,
    exported: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys.modules[f"autoopt.quantization.{scheme}"], "saturates", lambda: saturating)
    facts = quantize(scheme, exported["mlp"], tmp_path / "out.onnx", digits)
    assert facts["reduce_range"] is saturating
    weights = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "out.onnx").graph.initializer]
    largest = max(int(np.abs(w.astype(int)).max()) for w in weights if w.dtype == np.int8 and w.ndim == 2)
    assert (largest <= 64) is saturating


def test_convolutions_get_unsigned_weights_under_dynamic_quantization(
    digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    assert quantize("int8_dynamic", exported["cnn"], tmp_path / "c.onnx", digits)["weight_type"] == "QUInt8"
    assert quantize("int8_dynamic", exported["mlp"], tmp_path / "m.onnx", digits)["weight_type"] == "QInt8"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, about the infinities
@pytest.mark.parametrize("method", sorted(CALIBRATIONS))
def test_a_range_that_is_not_finite_fails_the_trial(
    method: str, digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    inputs = Inputs({"input": np.full((32, 1, 8, 8), np.inf, np.float32)})
    with pytest.raises(TrialError, match=f"int8_static with {method} calibration failed"):
        SCHEMES["int8_static"].quantize(exported["cnn"], tmp_path / "x.onnx", Plan(inputs, method))


CONVOLUTIONS = {"none", "fp16", "int8_dynamic", "int8_static", "int8_qat", "nncf_int8"}


def test_schemes_are_offered_only_where_they_change_enough(trained: dict[str, nn.Module], digits: Task) -> None:
    assert set(offered(trained["mlp"])) == set(SCHEMES)
    assert set(offered(trained["cnn"])) == CONVOLUTIONS
    assert set(offered(digits.build_teacher())) == CONVOLUTIONS
    assert set(offered(nn.Sequential(nn.GRU(8, 64), nn.Linear(64, 2)))) == {"none", "fp16"}
    assert "int8_dynamic" in offered(nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 2)))
    assert "int8_dynamic" in offered(ByHand()), "most likely a product of matrices"


def test_a_scheme_is_not_offered_without_its_package(
    trained: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert set(offered(trained["mlp"])) == set(SCHEMES) - {"nncf_int8"}


def test_nncf_says_nothing(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    """It logs to stdout, and draws bars there: the last line of a search's stdout is a document."""
    np.save(tmp_path / "x.npy", next(iter(digits.train.inputs[:8].numpy())))
    code = f"""
import numpy as np
from pathlib import Path
from autoopt.commands.logs import quiet
from autoopt.core.inputs import Inputs
from autoopt.quantization import SCHEMES, Plan
quiet()
plan = Plan(Inputs({{"input": np.load({str(tmp_path / "x.npy")!r})}}))
facts = SCHEMES["nncf_int8"].quantize(Path({str(exported["cnn"])!r}), Path({str(tmp_path / "q.onnx")!r}), plan)
assert facts["calibration_inputs"] == 8
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert low_bit_layers(tmp_path / "q.onnx") > 0


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 2))


def low_bit_layers(path: Path) -> int:
    """Weights of two and more dimensions that are bytes."""
    tensors = onnx.load(path).graph.initializer
    return sum(t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and len(t.dims) > 1 for t in tensors)


@pytest.mark.parametrize("level", [level for level in GRAPH_OPTIMIZATIONS if level != "none"])
def test_a_graph_may_be_optimized_first(level: str, sentences: Task, tmp_path: Path) -> None:
    teacher, inputs = sentences.build_teacher().eval(), sentences.validation.inputs[:8]
    source, target = tmp_path / "model.onnx", tmp_path / "quantized.onnx"
    export(teacher, inputs, source)
    with optimized(source, level) as graph:
        assert len(onnx.load(graph).graph.node) < len(onnx.load(source).graph.node)
        SCHEMES["int8_dynamic"].quantize(graph, target, Plan(inputs.numpy()))
    assert not graph.exists()
    with torch.no_grad():
        wanted = teacher(*inputs).numpy()
    assert np.abs(RUNTIMES["onnxruntime"](target, 1)(inputs.numpy()) - wanted).max() < 0.1 * np.abs(wanted).max()
    for left in (None, "none"):
        with optimized(source, left) as graph:
            assert graph == source


@pytest.mark.parametrize("scheme", [name for name, row in SCHEMES.items() if "keep_float" in row.knobs])
def test_layers_may_stay_in_float(scheme: str, digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    layers = {}
    for kept in KEEP_FLOAT:
        plan = Plan(digits.train.inputs[:64].numpy(), "minmax", keep_float=kept)
        facts = SCHEMES[scheme].quantize(exported["mlp"], tmp_path / kept, plan)
        layers[kept] = low_bit_layers(tmp_path / kept)
        assert len(facts["kept_in_float"]) == {"none": 0, "first": 1, "last": 1, "ends": 2}[kept]
    assert layers == {"none": 3, "first": 2, "last": 2, "ends": 1}


def test_of_attention_only_what_has_weights_is_quantized(sentences: Task, tmp_path: Path) -> None:
    export(sentences.build_teacher(), sentences.train.inputs[:2], tmp_path / "m.onnx")
    calibration = sentences.train.inputs[:64].numpy()
    chosen = {}
    for operators in (None, *OPERATORS):
        plan = Plan(calibration, "minmax", operators=operators)
        facts = SCHEMES["int8_static"].quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", plan)
        nodes = onnx.load(tmp_path / "q.onnx").graph.node
        chosen[operators] = (facts["operators"] == "all", sum(node.op_type == "QuantizeLinear" for node in nodes))
    assert chosen[None] == chosen["with_weights"]
    assert chosen["all"][1] > chosen["with_weights"][1]


@pytest.mark.parametrize("method", sorted(CALIBRATIONS))
def test_sentences_of_any_length_calibrate(method: str, sentences: Task, tmp_path: Path) -> None:
    export(sentences.build_teacher(), sentences.train.inputs[:2], tmp_path / "m.onnx")
    facts = SCHEMES["int8_static"].quantize(
        tmp_path / "m.onnx", tmp_path / "q.onnx", Plan(sentences.train.inputs[:70].numpy(), method)
    )
    assert facts["calibration_inputs"] == 64, "whole batches of one shape"
    session = RUNTIMES["onnxruntime"](tmp_path / "q.onnx", 1)
    assert session(sentences.validation.inputs[:1].numpy()).shape == (1, 8)


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_nncf_keeps_what_an_encoder_says(runtime: str, sentences: Task, tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher, inputs = sentences.build_teacher().eval(), sentences.validation.inputs
    export(teacher, inputs[:2], tmp_path / "m.onnx")
    plan = Plan(sentences.train.inputs[:64].numpy())
    facts = SCHEMES["nncf_int8"].quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", plan)
    assert facts["transformer"]
    onnx.checker.check_model(onnx.load(tmp_path / "q.onnx"))
    session = RUNTIMES[runtime](tmp_path / "q.onnx", 1)
    with torch.no_grad():
        wanted = np.concatenate([teacher(*inputs[i : i + 1]).numpy() for i in range(40)])
    found = np.concatenate([session(inputs[i : i + 1].numpy()) for i in range(40)])
    assert 0 < np.abs(found - wanted).mean() < 0.05 * np.abs(wanted).max()
