"""An ONNX file from outside: checked before anything that it points at is opened, then read with all its data."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from autoopt.core.errors import ConfigError, one_line

LIMIT = 2**31 - 1
"""Bytes, with the external data: protobuf's own limit, since each model of a search is one file."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model, with the data of tensors that lies beside the file, in its folder. Raises ConfigError.

    onnx's loader refuses locations outside the folder, too, but not before it has read what comes first, and it does
    not look at each tensor that a file may have; what it overlooks, a runtime would look for in the working directory.
    onnx's checker is not asked: it refuses models without shapes of outputs, which runtimes serve.
    """
    if path.stat().st_size > LIMIT:
        raise ConfigError(f"task.model={path} has {_gb(path.stat().st_size)}: {_gb(LIMIT)} is allowed")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's exceptions have no common base
        raise ConfigError(f"task.model={path} is no ONNX file: {one_line(error, 200)}") from error
    outside = [tensor for tensor in _tensors(model) if uses_external_data(tensor)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that onnx does not know, and leaves alone
        total = path.stat().st_size + sum(_bytes_outside(tensor, path) for tensor in outside)
        if total > LIMIT:
            raise ConfigError(f"task.model={path} with its external data has {_gb(total)}: {_gb(LIMIT)} is allowed")
        for tensor in outside:
            try:
                load_external_data_for_tensor(tensor, str(path.parent))
            except Exception as error:  # onnx's own exceptions have no common base
                raise ConfigError(f"task.model={path}: tensor {tensor.name!r}: {one_line(error, 300)}") from error
    return model


def _bytes_outside(tensor: TensorProto, path: Path) -> int:
    """How much of another file the tensor takes. Raises ConfigError where that is not a file of the model's folder."""
    try:
        info = ExternalDataInfo(tensor)
    except ValueError as error:
        raise ConfigError(f"task.model={path}: {one_line(error, 300)}") from error
    location = Path(info.location)
    where = f"task.model={path}: tensor {tensor.name!r} has its data at {info.location!r}"
    allowed = "a file in the model's folder is allowed, without links and '..'"
    if not info.location or location.is_absolute() or ".." in location.parts or "\\" in info.location:
        raise ConfigError(f"{where}: {allowed}")
    file = path.parent.resolve() / location
    try:
        if file.resolve() != file:
            raise ConfigError(f"{where}, which is a link: {allowed}")
        if not file.is_file():
            raise ConfigError(f"{where}: there is no such file: copy it into {path.parent}")
        size = file.stat().st_size - (info.offset or 0)
    except (OSError, ValueError) as error:  # of names that no file can have
        raise ConfigError(f"{where}: {one_line(error, 200)}: {allowed}") from error
    return max(size, 0) if info.length is None else int(info.length)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _tensors(message: Any) -> Iterator[TensorProto]:
    """All in a protobuf message, wherever it may have one."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(each)
