"""task=onnx: a model that is an ONNX file already, whatever made it. It cannot be trained: the search quantizes it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto
from torch import Tensor, nn

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.inputs import Inputs
from autoopt.tasks.factory import call
from autoopt.tasks.goal import CLASSES, CLASSIFICATION, KINDS, NUMBERS
from autoopt.tasks.onnx_file import read_onnx
from autoopt.tasks.reading import class_ids
from autoopt.tasks.task import Split, Task

TARGETS = ("targets", "labels", "y")
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


class OnnxModule(nn.Module):
    """An ONNX file called like a module; it has no weights that torch could see."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.onnx_content = content
        """What is written where a module would be exported."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]  # enable_fallback would print a frame around an error, and try again
        self._session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
        self.names = [found.name for found in self._session.get_inputs()]

    def forward(self, *arrays: Tensor) -> Tensor:
        fed = {name: array.numpy() for name, array in zip(self.names, arrays, strict=True)}
        return torch.from_numpy(self._session.run(None, fed)[0])

    def extra_repr(self) -> str:
        return hashlib.sha256(self.onnx_content).hexdigest()[:16]

    def __deepcopy__(self, memo: Any) -> "OnnxModule":
        return self  # a session cannot be copied, and nothing changes it


def onnx_model(
    model: str | None = None,
    calibration: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    kind: str = CLASSIFICATION,
    output: str | None = None,
) -> Task:
    """`model`: the file. Data: .npz files with an array for each input, by name, and `targets` (n,), or
    'module:function' that returns such a mapping; `calibration`, some hundred training inputs, needs no targets.
    `output`: the name of the one that counts; None: the first of numbers (n, k). Raises ConfigError.
    """
    if model is None or not Path(model).is_file():
        raise ConfigError(f"task.model={model}: there is no such file: type task.model=FILE.onnx")
    if kind not in KINDS:
        raise ConfigError(f"task.kind={kind}: {' or '.join(KINDS)} is allowed")
    module = _opened(Path(model), output)
    splits = {
        name: _split(name, source, module.names, kind, needs_targets=name != "calibration")
        for name, source in (("calibration", calibration), ("validation", validation), ("test", test))
    }
    return Task(
        name="onnx",
        train=splits["calibration"],
        validation=splits["validation"],
        test=splits["test"],
        classes=_outputs(module, splits["validation"].inputs, model),
        build_teacher=lambda: module,
        students=(),
        input_meaning="as the given model takes them",
        data_source=f"{calibration}, {validation}, {test}",
        goal=CLASSES if kind == CLASSIFICATION else NUMBERS,
        trained=True,
    )


def _outputs(module: OnnxModule, inputs: Inputs, model: str) -> int:
    try:
        found = module(*inputs[:2])
    except Exception as error:  # onnxruntime's own exceptions have no common base
        reason = one_line(error, 200)
        raise ConfigError(f"task.model={model} does not take two rows of the validation split: {reason}") from error
    if found.ndim != 2 or len(found) != len(inputs[:2]):
        raise ConfigError(f"task.output has the shape {tuple(found.shape)} for two rows: (2, numbers) is needed")
    return int(found.shape[1])


def _opened(path: Path, output: str | None) -> OnnxModule:
    """With that output alone, since classifiers often have their labels first, and a batch axis that is free."""
    model = read_onnx(path)
    known = [found.name for found in model.graph.output]
    if output is not None and output not in known:
        raise ConfigError(f"task.output={output}: {path} has {', '.join(known)}")
    numbers = [
        found.name
        for found in model.graph.output
        if found.type.HasField("tensor_type") and found.type.tensor_type.elem_type in FLOATS
    ]
    chosen = output or next(iter(numbers), None)
    if chosen is None:
        raise ConfigError(
            f"task.model={path}: none of its outputs ({', '.join(known)}) is an array of floats: "
            "export the probabilities (skl2onnx: to_onnx(..., options={'zipmap': False}))"
        )
    kept = [found for found in model.graph.output if found.name == chosen]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    for value in (*model.graph.input, *model.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes and axes[0].HasField("dim_value"):
            axes[0].dim_param = "batch"
    try:
        return OnnxModule(model.SerializeToString())
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise ConfigError(f"task.model={path}: onnxruntime cannot load it: {one_line(error, 200)}") from error


def _split(name: str, source: str | None, inputs: Sequence[str], kind: str, *, needs_targets: bool) -> Split:
    """Raises ConfigError, naming the key that is wrong."""
    found = _read(name, source)
    lacking = [key for key in inputs if key not in found]
    targets = next((np.asarray(found[key]) for key in TARGETS if key in found), None)
    if lacking or (targets is None and needs_targets):
        wanted = [*inputs, *([] if not needs_targets else ["targets"])]
        raise ConfigError(f"task.{name}={source} holds {', '.join(found)}: the arrays {', '.join(wanted)} are needed")
    try:
        arrays = {key: torch.from_numpy(np.ascontiguousarray(found[key])) for key in inputs}
        numbers = None if targets is None else torch.from_numpy(np.ascontiguousarray(targets))
    except TypeError as error:
        raise ConfigError(f"task.{name}={source} holds arrays that are no numbers: {one_line(error, 200)}") from error
    rows = {key: len(array) for key, array in arrays.items()}
    if numbers is None or not needs_targets:
        numbers = torch.zeros(next(iter(rows.values())))
    if len({*rows.values(), len(numbers)}) > 1:
        raise ConfigError(f"task.{name}={source} has not as many rows everywhere: {rows}, targets {len(numbers)}")
    if kind == CLASSIFICATION:
        return Split(Inputs(arrays), class_ids(name, numbers))
    return Split(Inputs(arrays), numbers.reshape(len(numbers), -1).to(torch.float32))


def _read(name: str, source: str | None) -> Mapping[str, Any]:
    if source is not None and source.endswith(".npz") and Path(source).is_file():
        try:
            with Path(source).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:  # of zip files, of zlib and numpy's own: they have no common base
            reason = one_line(error, 100)
            raise ConfigError(
                f"task.{name}={source} is no .npz of numbers ({reason}): write it by numpy.savez"
            ) from error
    if source is not None and ":" in source:
        found = call(f"task.{name}", source)
        if isinstance(found, Mapping):
            return found
        raise ConfigError(f"task.{name}={source} returns {type(found).__name__}: a mapping of arrays is needed")
    what = "some hundred training inputs" if name == "calibration" else "inputs and targets"
    raise ConfigError(f"task.{name}={source}: type task.{name}=FILE.npz or MODULE:FUNCTION, with {what}")
