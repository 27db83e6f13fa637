"""Contract of every runtime; export and parity."""

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
from autoopt.tasks import Task


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
