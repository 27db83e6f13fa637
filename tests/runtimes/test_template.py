"""A template filled with other weights says what an export of its own says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.pruning import METHODS
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.runtimes.parity import check_parity
from autoopt.runtimes.template import GRAPH, fill, is_template, make_template
from autoopt.students import STUDENTS
from autoopt.tasks import Task
from tests.conftest import build_student

STACKING = ("recurrent", "bigru", "bilstm")  # the exporter stacks the weights of their gates: exported anew each time


class Recurrent(nn.Module):
    """An embedding, a mask, a GRU, a transposed product: what exporters rearrange on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.gru = nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 3)
        self.mix = nn.Parameter(torch.randn(3, 3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out, _ = self.gru(self.embed(ids))
        return self.head(out.mean(1)) @ self.mix.T


class Slopes(nn.Module):
    """A weight of one number, as PReLU and learned scales have."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.PReLU(), nn.Linear(16, 10))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * self.scale


def fresh(name: str, digits: Task, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    if name == "teacher":
        return digits.build_teacher()
    if name == "recurrent":
        return Recurrent()
    if name == "slopes":
        return Slopes()
    return build_student(name, digits)


def example(name: str, digits: Task) -> Inputs:
    if name == "recurrent":
        return Inputs({"ids": torch.randint(0, 20, (16, 5))}, torch.full((16,), 5), ("ids",))
    return digits.validation.inputs[:16]


@pytest.mark.parametrize("name", ["recurrent", "slopes", *sorted(STUDENTS)])
def test_other_weights_are_filled_in(name: str, digits: Task, fitting: Callable[[str], Task], tmp_path: Path) -> None:
    task = fitting(name)
    inputs = example(name, task)
    make_template(fresh(name, task, 0), inputs, tmp_path / "t")
    other = fresh(name, task, 1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1 * torch.randn_like(parameter)  # as if trained: biases and gains, too
    filled = fill(other, inputs, tmp_path / "t", tmp_path / "m.onnx")
    if name not in STACKING:
        assert filled == {"exporter": "torchscript (once for the structure)"}
    session = RUNTIMES["onnxruntime"](tmp_path / "m.onnx", 1)
    assert check_parity(other, session, inputs)["parity_max_abs"] < 1e-4
    export(other, inputs, tmp_path / "own.onnx")
    own = RUNTIMES["onnxruntime"](tmp_path / "own.onnx", 1)
    assert session(inputs.numpy()) == pytest.approx(own(inputs.numpy()), abs=1e-5)


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.knobs])
def test_pruned_modules_have_templates_too(method: str, digits: Task, tmp_path: Path) -> None:
    inputs = digits.validation.inputs[:16]
    for seed in (0, 1):
        student = fresh("cnn", digits, seed)
        pruned = METHODS[method].prune(student, digits.train.inputs[:64], digits.train.targets[:64], 0.5)
        if seed == 0:
            make_template(pruned.model, inputs, tmp_path / "t")
    pruned.advance(0.0)
    pruned.finish()
    fill(pruned.model, inputs, tmp_path / "t", tmp_path / "m.onnx")
    check_parity(pruned.model, RUNTIMES["onnxruntime"](tmp_path / "m.onnx", 1), inputs)


class Doubled(nn.Module):
    """Its graph holds a product of two weights, which the exporter computes beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ torch.softmax(self.a, 1).detach() @ self.b


def test_a_graph_that_cannot_be_filled_is_exported_anew(tmp_path: Path) -> None:
    inputs = Inputs({"input": torch.randn(8, 4)})
    make_template(Doubled(), inputs, tmp_path / "t")
    other = Doubled()
    fill(other, inputs, tmp_path / "t", tmp_path / "m.onnx")
    check_parity(other, RUNTIMES["onnxruntime"](tmp_path / "m.onnx", 1), inputs)


def test_a_template_is_whole_or_not_there(digits: Task, tmp_path: Path) -> None:
    class Stubborn(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not today")

    with pytest.raises(TrialError, match="cannot be exported"):
        make_template(Stubborn(), Inputs({"input": torch.rand(2, 3, 3)}), tmp_path / "odd")
    assert not is_template(tmp_path / "odd")
    make_template(fresh("mlp", digits, 0), digits.validation.inputs[:2], tmp_path / "t")
    assert is_template(tmp_path / "t")
    assert (tmp_path / "t" / GRAPH).is_file()


def test_the_module_itself_is_not_changed(digits: Task, tmp_path: Path) -> None:
    model = fresh("cnn", digits, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    make_template(model, digits.validation.inputs[:2], tmp_path / "t")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
