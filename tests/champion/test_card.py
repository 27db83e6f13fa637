"""What the card says of the model file is what the file says."""

from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from autoopt.champion.card import make_card
from autoopt.core.recipe import BASELINE
from autoopt.core.trial import Evaluation
from autoopt.measurements import FACTS
from autoopt.runtimes.export import export
from autoopt.tasks import Task
from autoopt.tasks.custom import from_user
from tests.tasks.test_custom import PARTS, named, user


def card(task: Task, model: Path, runtime: str = "onnxruntime") -> dict:
    return make_card(
        task=task,
        recipe=BASELINE,
        model=model,
        evaluation=Evaluation({}, {}),
        kpis=(),
        facts=FACTS,
        runtime=runtime,
        baseline_runtime="onnxruntime",
        threads=1,
        seed=0,
        study="s",
        trial=0,
    )


class LeftOnly(nn.Module):
    """Does not look at the other input: the exporter leaves it out."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.cat([-left, left], 1)


def test_inputs_and_output_are_those_of_the_file(tmp_path: Path) -> None:
    parts = {name: (named(x), y) for name, (x, y) in PARTS.items()}
    task = from_user(user(model=LeftOnly(), **parts))
    export(task.build_teacher(), task.train.inputs[:2], tmp_path / "m.onnx")
    found = card(task, tmp_path / "m.onnx")
    assert found["inputs"] == [{"name": "left", "shape": ["batch", 1], "dtype": "float32"}]
    assert found["output"]["name"] == "logits"
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, tmp_path / "m.onnx")
    assert card(task, tmp_path / "m.onnx")["output"]["dtype"] == "float64"


def test_sentences_have_a_free_length(sentences: Task, tmp_path: Path) -> None:
    export(sentences.build_teacher().eval(), sentences.train.inputs[:2], tmp_path / "m.onnx")
    found = card(sentences, tmp_path / "m.onnx")
    assert found["inputs"] == [{"name": "input_ids", "shape": ["batch", "length"], "dtype": "int64"}]


def test_the_version_of_the_runtime_is_told(digits: Task, exported: dict[str, Path]) -> None:
    found = card(digits, exported["cnn"], "openvino")
    assert found["measured_on"]["runtime"] == "openvino"
    assert found["versions"]["openvino"] == version("openvino")
    assert "openvino" not in card(digits, exported["cnn"])["versions"]
