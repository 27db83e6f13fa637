"""Contract of every runtime; export and parity."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export, fold_batch_norm
from autoopt.runtimes.parity import check_parity
from autoopt.students import STUDENTS
from autoopt.tasks import Task
from tests.conftest import build_student


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
@pytest.mark.parametrize("student", ["cnn", "mlp"])
def test_a_runtime_says_what_the_module_says(
    runtime: str, student: str, digits: Task, trained: dict[str, nn.Module], exported: dict[str, Path]
) -> None:
    session = RUNTIMES[runtime](exported[student], 1)
    for n in (1, 2, 7):
        inputs = digits.test.inputs[:n]
        with torch.no_grad():
            expected = trained[student].eval()(*inputs).numpy()
        assert session(inputs.numpy()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_sentences_are_served_at_their_own_length(runtime: str, sentences: Task, tmp_path: Path) -> None:
    teacher = sentences.build_teacher().eval()
    export(teacher, sentences.validation.inputs[:2], tmp_path / "m.onnx")
    session = RUNTIMES[runtime](tmp_path / "m.onnx", 1)
    shortest = int(sentences.test.inputs.lengths.argmin())
    for rows in (slice(shortest, shortest + 1), slice(0, 5), slice(0, 1)):
        inputs = sentences.test.inputs[rows]
        with torch.no_grad():
            expected = teacher(*inputs).numpy()
        assert session(inputs.numpy()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_several_threads_may_call_one_session(runtime: str, digits: Task, exported: dict[str, Path]) -> None:
    session, inputs = RUNTIMES[runtime](exported["cnn"], 1), digits.validation.inputs.numpy()
    alone = [session(inputs[i : i + 1]) for i in range(100)]
    with ThreadPoolExecutor(8) as clients:
        together = list(clients.map(lambda i: session(inputs[i % 100 : i % 100 + 1]), range(800)))
    assert all((found == alone[i % 100]).all() for i, found in enumerate(together))
    assert not any(np.shares_memory(first, second) for first, second in pairwise(together[:20]))


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_inputs_that_are_not_contiguous_or_may_not_be_written_are_served(
    runtime: str, digits: Task, exported: dict[str, Path]
) -> None:
    session, images = RUNTIMES[runtime](exported["cnn"], 1), next(iter(digits.validation.inputs.numpy()))
    mirrored, fixed = images[:4, :, :, ::-1], images[:4].copy()
    fixed.flags.writeable = False
    assert session(Inputs({"input": mirrored})) == pytest.approx(session(Inputs({"input": mirrored.copy()})), abs=1e-6)
    assert session(Inputs({"input": fixed})) == pytest.approx(session(Inputs({"input": images[:4]})), abs=1e-6)


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_a_model_that_it_cannot_load_fails_the_trial(runtime: str, exported: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(exported["cnn"])
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "odd.onnx")
    (tmp_path / "half.onnx").write_bytes(exported["cnn"].read_bytes()[:1000])
    for name in ("odd.onnx", "half.onnx"):
        with pytest.raises(TrialError, match=f"^{runtime} cannot load the model: .") as caught:
            RUNTIMES[runtime](tmp_path / name, 1)
        assert "\n" not in str(caught.value)


def test_openvino_computes_in_float32_whatever_the_cpu_offers(digits: Task, exported: dict[str, Path]) -> None:
    """bfloat16, its choice where there is such arithmetic, is off by 1e-2 and more."""
    inputs = digits.validation.inputs.numpy()
    logits = [RUNTIMES[runtime](exported["cnn"], 1)(inputs) for runtime in ("onnxruntime", "openvino")]
    assert np.abs(logits[0] - logits[1]).max() < 1e-4


def test_openvino_is_used_without_what_reports_its_use(tmp_path: Path) -> None:
    code = """
import sys
from autoopt.core.packages import import_unreported
import_unreported("openvino"), import_unreported("nncf")
print([name for name in sys.modules if name.startswith("openvino_telemetry") and sys.modules[name]])
"""
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home, check=True)
    assert done.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_parity_is_measured_on_real_inputs(
    digits: Task, trained: dict[str, nn.Module], exported: dict[str, Path]
) -> None:
    found = check_parity(trained["cnn"], RUNTIMES["onnxruntime"](exported["cnn"], 1), digits.validation.inputs[:64])
    assert 0 < found["parity_max_abs"] < 1e-4
    assert found["parity_argmax"] == 1.0


def test_an_export_that_says_something_else_fails_the_trial(
    digits: Task, trained: dict[str, nn.Module], exported: dict[str, Path]
) -> None:
    session = RUNTIMES["onnxruntime"](exported["cnn"], 1)
    with pytest.raises(TrialError, match="differs from the module: max abs"):
        check_parity(trained["mlp"], session, digits.validation.inputs[:64])
    with pytest.raises(TrialError, match="returns shape"):
        check_parity(trained["cnn"], lambda x: session(x)[:, :3], digits.validation.inputs[:64])
    with pytest.raises(TrialError, match="differs"):
        check_parity(trained["cnn"], lambda x: session(x) * np.nan, digits.validation.inputs[:64])


def test_export_leaves_the_module_as_it_was(digits: Task, trained: dict[str, nn.Module], tmp_path: Path) -> None:
    model = trained["mlp"].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, digits.train.inputs[:4], tmp_path / "m.onnx")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()


def test_no_batch_norm_is_left_in_the_graph(exported: dict[str, Path]) -> None:
    for path in exported.values():
        assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}


def test_folding_batch_norm_changes_no_output(digits: Task, trained: dict[str, nn.Module]) -> None:
    folded = fold_batch_norm(trained["mlp"])
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d)]
    with torch.no_grad():
        assert torch.allclose(
            folded(*digits.test.inputs[:20]), trained["mlp"].eval()(*digits.test.inputs[:20]), atol=1e-4
        )


class Bag(nn.Module):
    """embedding_bag with a padding index: the TorchScript exporter has no rule for it, torch.export's has."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(20, 4, padding_idx=0)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.bag(ids)


def test_what_torchscript_cannot_export_goes_to_torch_export(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (4, 6))
    assert export(Bag(), Inputs({"input": ids}), tmp_path / "bag.onnx") == "dynamo"
    onnx.checker.check_model(onnx.load(tmp_path / "bag.onnx"))
    assert not (tmp_path / "bag.onnx.data").exists()


class Odd(nn.Module):
    """Numpy in the middle: traced, its result is a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.linalg.svd(x.numpy())[1])


def test_what_tracing_freezes_fails_the_parity_check(tmp_path: Path) -> None:
    export(Odd(), Inputs({"input": torch.rand(2, 3, 3)}), tmp_path / "odd.onnx")
    with pytest.raises(TrialError, match="the exported model differs"):
        check_parity(Odd(), RUNTIMES["onnxruntime"](tmp_path / "odd.onnx", 1), Inputs({"input": torch.rand(2, 3, 3)}))


class Stubborn(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not today")


def test_what_nobody_can_export_fails_the_trial(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=r"cannot be exported to ONNX: RuntimeError: not today"):
        export(Stubborn(), Inputs({"input": torch.rand(2, 3, 3)}), tmp_path / "no.onnx")


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
@pytest.mark.parametrize("student", sorted(STUDENTS))
def test_every_student_is_served(runtime: str, student: str, fitting: Callable[[str], Task], tmp_path: Path) -> None:
    task = fitting(student)
    torch.manual_seed(0)
    model = build_student(student, task).eval()
    export(model, task.validation.inputs[:4], tmp_path / "m.onnx")
    session = RUNTIMES[runtime](tmp_path / "m.onnx", 1)
    for rows in (slice(0, 1), slice(0, 16)):
        found = check_parity(model, session, task.validation.inputs[rows])
        assert found["parity_max_abs"] < 1e-4
