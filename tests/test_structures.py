import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from autoopt.core.kpi import Measurement
from autoopt.core.quiet import QuietMachine
from autoopt.core.sealed import write_folder
from autoopt.measurements import MEASURES
from autoopt.pruning import METHODS
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.template import GRAPH, PLACES, TEMPLATE, VERSIONS, fill, is_template
from autoopt.structures import export_into, measure_structure, open_structure, ranking, structure_key
from autoopt.tasks import Task
from tests.conftest import build_student
from tests.damage import damages


def cnn(digits: Task, width: float, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_student("cnn", digits, width=width)


def test_weights_do_not_matter_shapes_and_layers_do(digits: Task) -> None:
    assert structure_key(cnn(digits, 1.0, 0)) == structure_key(cnn(digits, 1.0, 1))
    assert structure_key(cnn(digits, 1.0)) != structure_key(cnn(digits, 1.5))
    assert structure_key(nn.Sequential(nn.Linear(3, 3), nn.ReLU())) != structure_key(
        nn.Sequential(nn.Linear(3, 3), nn.GELU())
    )


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_methods_that_remove_as_much_leave_one_structure(digits: Task, ratio: float) -> None:
    batch = digits.train.inputs[:64], digits.train.targets[:64]
    keys = {
        structure_key(METHODS[method].prune(copy.deepcopy(cnn(digits, 2.0)), *batch, ratio).model)
        for method in ("structured_magnitude", "structured_taylor")
    }
    assert len(keys) == 1
    assert keys != {structure_key(cnn(digits, 2.0))}


def test_sparsity_changes_no_structure(digits: Task) -> None:
    batch = digits.train.inputs[:64], digits.train.targets[:64]
    sparse = METHODS["unstructured_magnitude"].prune(cnn(digits, 1.0), *batch, 0.5)
    assert structure_key(sparse.model) == structure_key(cnn(digits, 1.0))


@pytest.mark.parametrize("half", ["before its note", "after its note", "older"])
def test_a_structure_that_is_not_whole_or_not_ours_is_made_again(half: str, digits: Task, tmp_path: Path) -> None:
    inputs = digits.validation.inputs[:4]
    with pytest.MonkeyPatch.context() as patch:
        if half == "older":
            patch.setitem(VERSIONS, "torch", "1.0")
        place = open_structure(cnn(digits, 1.0), inputs, tmp_path)
    if half != "older":
        (place / GRAPH).write_bytes(b"half")
    if half == "before its note":
        (place / PLACES).unlink()
    assert not is_template(place)
    assert open_structure(cnn(digits, 1.0), inputs, tmp_path) == place
    assert is_template(place)
    assert (place / GRAPH).stat().st_size > 1000


def test_a_graph_that_says_something_else_with_the_trained_weights_is_exported_anew(
    digits: Task, tmp_path: Path
) -> None:
    """As one whose exporter decided by the values of the weights."""
    inputs, trained = digits.validation.inputs[:4], cnn(digits, 1.0, 1)
    place = open_structure(cnn(digits, 1.0, 0), inputs, tmp_path)
    note = json.loads((place / PLACES).read_text())
    note["places"].pop(next(name for name, (weight, _) in note["places"].items() if weight.endswith("weight")))
    graph = (place / GRAPH).read_bytes()
    shutil.rmtree(place / TEMPLATE)

    def write(fresh: Path) -> None:
        (fresh / Path(GRAPH).name).write_bytes(graph)
        (fresh / Path(PLACES).name).write_text(json.dumps(note))

    write_folder(place / TEMPLATE, write)
    facts = export_into(place, trained, inputs, tmp_path / "m.onnx", lambda path: RUNTIMES["onnxruntime"](path, 1))
    assert facts["exporter"] == "torchscript"
    assert facts["parity_max_abs"] < 1e-4


def test_a_structure_is_ranked_once(tmp_path: Path) -> None:
    def rank() -> dict[str, float]:
        made.append(1)
        return {"b": 0.2, "a": 0.1}

    made: list[int] = []
    conditions = {"saturates": True, "versions": {"onnxruntime": "1"}, "threads": 1}
    assert ranking(tmp_path, "int8_static", conditions) == {}
    for others in ({}, {"threads": 2}):
        assert list(ranking(tmp_path, "int8_static", {**conditions, **others}, rank)) == ["b", "a"]
    assert list(ranking(tmp_path, "int8_static", conditions)) == ["b", "a"]
    assert len(made) == 1
    assert ranking(tmp_path, "int8_dynamic", conditions) == {}, "each scheme has its own"
    ranking(tmp_path, "int8_static", {**conditions, "saturates": False}, rank)
    assert len(made) == 2, "other arithmetic, another ranking"


def test_damage_of_a_template_is_noticed_and_repaired(digits: Task, tmp_path: Path) -> None:
    inputs, model = digits.validation.inputs[:4], cnn(digits, 0.5)
    place = open_structure(model, inputs, tmp_path)
    fill(model, inputs, place, tmp_path / "before.onnx")
    for path in damages(place):
        assert not is_template(place), path
        fill(model, inputs, place, tmp_path / "m.onnx")
        assert RUNTIMES["onnxruntime"](tmp_path / "m.onnx", 1)(inputs.numpy()).shape == (4, 10), "exported anew"
        open_structure(model, inputs, tmp_path)
        fill(model, inputs, place, tmp_path / "m.onnx")
        assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "before.onnx").read_bytes(), path


def test_damage_of_what_was_measured_or_ranked_is_noticed_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = {"saturates": True, "versions": {"onnxruntime": "1"}}
    taken = {name: Measurement(1.5, 3.0) for name in MEASURES["size"].of_structure}
    monkeypatch.setitem(MEASURES, "size", replace(MEASURES["size"], take=lambda _: taken))

    def kept() -> tuple[object, object]:
        found = measure_structure(tmp_path, "int8", conditions, {"size"}, lambda: None, QuietMachine())
        return list(found), list(ranking(tmp_path, "int8", conditions, lambda: {"b": 0.2, "a": 0.1}).items())

    before, checked = kept(), 0
    for path in damages(tmp_path):
        assert kept() == before, path
        checked += 1
    assert before == ([taken], [("b", 0.2), ("a", 0.1)])
    assert checked == 14, "two files"
