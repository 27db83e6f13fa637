"""ONNX files that somebody else made, badly or with intent."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from autoopt.core.errors import ConfigError
from autoopt.tasks import TASKS, onnx_file
from autoopt.tasks.onnx_file import read_onnx
from autoopt.tasks.onnx_model import OnnxModule
from tests.damage import ways

WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)
KERAS = Path(__file__).parents[1] / "data" / "keras_digits.onnx"


def external(location: str, **more: str) -> TensorProto:
    """A tensor whose data lies at that place."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(*weights: TensorProto) -> onnx.ModelProto:
    """x @ w"""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in (("x", 3), ("y", 4))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the data of `WEIGHTS` in it, beside it and linked to."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "w.bin", folder / "sub" / "w.bin", tmp_path / "secret.bin", tmp_path / "other.bin"):
        path.write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "up").symlink_to(tmp_path)
    return folder


def write(folder: Path, made: onnx.ModelProto) -> Path:
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "./w.bin"])
def test_data_beside_the_model_is_read(location: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    found = read_onnx(write(folder, model(external(location))).relative_to(folder.parent))
    assert np.array_equal(numpy_helper.to_array(found.graph.initializer[0]), WEIGHTS)
    assert torch.equal(OnnxModule(found.SerializeToString())(torch.ones(1, 3))[0], torch.from_numpy(WEIGHTS.sum(0)))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../secret.bin", "a file in the model's folder is allowed, without links and"),
        ("sub/../../secret.bin", "a file in the model's folder is allowed"),
        ("{tmp}/secret.bin", "a file in the model's folder is allowed"),
        ("..\\secret.bin", "a file in the model's folder is allowed"),
        ("link.bin", "which is a link"),
        ("up/secret.bin", "which is a link"),
        ("", "a file in the model's folder is allowed"),
        ("sub", "there is no such file: copy it into"),
        ("pipe", "there is no such file: copy it into"),
        ("nothing.bin", "there is no such file: copy it into"),
        ("a\0b", "a file in the model's folder is allowed"),
        ("x" * 300, "File name too long"),
    ],
)
def test_data_elsewhere_is_refused_by_name(location: str, message: str, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    place = location.format(tmp=folder.parent)
    with pytest.raises(ConfigError, match=message) as caught:
        read_onnx(write(folder, model(external(place))))
    assert f"tensor 'w' has its data at {place!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


def in_a_branch(made: onnx.ModelProto, tensor: TensorProto) -> None:
    value = helper.make_tensor_value_info("v", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Constant", [], ["v"], value=tensor)], "b", [], [value])
    made.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))


def in_a_sparse_one(made: onnx.ModelProto, tensor: TensorProto) -> None:
    made.graph.sparse_initializer.add().values.CopyFrom(tensor)


def in_a_function(made: onnx.ModelProto, tensor: TensorProto) -> None:
    made.functions.add(name="f").node.append(helper.make_node("Constant", [], ["v"], value=tensor))


def in_training(made: onnx.ModelProto, tensor: TensorProto) -> None:
    made.training_info.add().algorithm.initializer.append(tensor)


@pytest.mark.parametrize("hide", [in_a_branch, in_a_sparse_one, in_a_function, in_training])
def test_wherever_the_tensor_is(hide: Callable[[onnx.ModelProto, TensorProto], None], folder: Path) -> None:
    made = model(numpy_helper.from_array(WEIGHTS, "w"))
    hide(made, external("../secret.bin"))
    with pytest.raises(ConfigError, match=r"has its data at '../secret.bin'"):
        read_onnx(write(folder, made))


@pytest.mark.parametrize(
    "more",
    [{"offset": "8", "length": "48"}, {"offset": "-1"}, {"length": "-1"}, {"offset": "99"}, {"length": "many"}],
)
def test_more_data_than_there_is_is_refused(more: dict[str, str], folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"m.onnx: ") as caught:
        read_onnx(write(folder, model(external("w.bin", **more))))
    assert "\n" not in str(caught.value)


def test_keys_that_onnx_does_not_know_are_left_alone(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_onnx(write(folder, model(external("w.bin", __class__="x"))))


def test_too_large_a_file_is_refused_unread(folder: Path) -> None:
    with (folder / "big.onnx").open("wb") as file:
        file.truncate(onnx_file.LIMIT + 1)  # a sparse file
    with pytest.raises(ConfigError, match=r"big.onnx has 2.1 GB: 2.1 GB is allowed"):
        read_onnx(folder / "big.onnx")


def test_too_much_data_outside_is_refused_unread(folder: Path) -> None:
    with (folder / "big.bin").open("wb") as file:
        file.truncate(onnx_file.LIMIT // 2 + 1)
    with pytest.raises(ConfigError, match=r"with its external data has 2.1 GB: 2.1 GB is allowed"):
        read_onnx(write(folder, model(external("big.bin"), external("big.bin"))))


@pytest.mark.parametrize("content", [*ways(KERAS.read_bytes()), b"PK\x03\x04", b"\x80\x04\x95", b"not a model"])
def test_damage_is_told_in_one_line_or_does_not_matter(content: bytes, tmp_path: Path) -> None:
    """A flipped bit may lie in a weight: then it is another model."""
    np.savez(tmp_path / "rows.npz", keras_tensor=np.zeros((8, 8, 8, 1), np.float32), targets=np.arange(8))
    (tmp_path / "m.onnx").write_bytes(content)
    rows = dict.fromkeys(("calibration", "validation", "test"), str(tmp_path / "rows.npz"))
    said = ""
    try:
        TASKS["onnx"](model=str(tmp_path / "m.onnx"), **rows)
    except ConfigError as error:
        said = str(error)
    assert "m.onnx" in said or len(content) == KERAS.stat().st_size, "half of a model is none"
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY", None])
def test_rows_that_are_none_are_told_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    if content is None:
        np.savez(tmp_path / "rows.npz", keras_tensor=np.array([{"a": 1}], object), targets=np.arange(1))
    else:
        (tmp_path / "rows.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"task.calibration=.*rows.npz is no .npz of numbers \(") as caught:
        TASKS["onnx"](model=str(KERAS), calibration=str(tmp_path / "rows.npz"))
    assert "\n" not in str(caught.value)
