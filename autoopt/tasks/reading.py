"""From whatever a user's data comes as to a Split: tensors, arrays, a dataset, a data loader."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.inputs import Inputs
from autoopt.tasks.goal import CLASSIFICATION, Goal
from autoopt.tasks.task import Split

BATCH = 256
TARGETS = ("labels", "label", "targets", "target", "y")


def read_split(name: str, data: Any, model: nn.Module, goal: Goal, collate: Callable[..., Any] | None) -> Split:
    """`data`: (inputs, targets), where inputs are one array, a tuple or a dict of arrays; a dataset; or a data loader.

    A batch is (inputs, targets), or a dict with one of TARGETS. Raises ConfigError.
    """
    if isinstance(data, tuple) and len(data) == 2 and not _is_rows(data):
        inputs, targets = data
    else:
        inputs, targets = _collected(name, data, collate)
    try:
        named, found = _named(inputs, model), _tensor(targets)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the {name} split holds what is no array of numbers: {one_line(error, 200)}") from error
    if goal.kind == CLASSIFICATION:
        found = class_ids(name, found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found)
    else:
        found = found.reshape(len(found), -1).to(torch.float32)
    flat = [key for key, array in {**named, "targets": found}.items() if array.ndim == 0]
    if flat:
        raise ConfigError(f"the {name} split has a single number as its {', '.join(flat)}: an array of rows is needed")
    lengths = {key: len(array) for key, array in named.items()} | {"targets": len(found)}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"the {name} split has not as many rows everywhere: {lengths}")
    return Split(Inputs(named), found)


def class_ids(name: str, targets: Tensor) -> Tensor:
    """As whole numbers. Raises ConfigError where they are none: cut off, they would be other classes."""
    ids = targets.to(torch.int64)
    if not torch.equal(ids.to(targets.dtype), targets):
        bad = int((ids.to(targets.dtype) != targets).sum())
        raise ConfigError(f"targets of the {name} split are no class ids (0, 1, ...) in {bad} of {len(targets)} rows")
    return ids


def in_order_of(train: Split, name: str, split: Split) -> Split:
    """The split with its arrays in the order of train's. Raises ConfigError where their names differ."""
    wanted, given = train.inputs.arrays, split.inputs.arrays
    if set(wanted) != set(given):
        raise ConfigError(f"the {name} split has the inputs {', '.join(given)}, train has {', '.join(wanted)}")
    return Split(Inputs({key: given[key] for key in wanted}), split.targets)


def _is_rows(data: tuple[Any, ...]) -> bool:
    """A dataset of two rows that is written as a tuple: ((x, y), (x, y))."""
    return all(isinstance(row, tuple) and len(row) == 2 and np.ndim(row[1]) == 0 for row in data)


def _collected(name: str, data: Any, collate: Callable[..., Any] | None) -> tuple[Any, Any]:
    try:
        batches = [_parted(batch) for batch in _loader(data, collate)]
        inputs, targets = zip(*batches, strict=True) if batches else ((), ())
        joined = (_joined(name, inputs), torch.cat([_tensor(part) for part in targets])) if batches else None
    except ConfigError:
        raise
    except Exception as error:  # it is the user's, and may raise anything
        reason = one_line(error, 300)
        raise ConfigError(
            f"the {name} split cannot be read ({type(error).__name__}: {reason}): "
            "give (inputs, targets), a dataset of (input, target), or a DataLoader; collate=FUNCTION makes batches"
        ) from error
    if joined is None:
        raise ConfigError(f"the {name} split is empty")
    return joined


def _loader(data: Any, collate: Callable[..., Any] | None) -> Iterable[Any]:
    """Every row once, in the same order each time: a study that goes on must find its data again."""
    if not isinstance(data, DataLoader):
        return DataLoader(data, batch_size=BATCH, collate_fn=collate)
    rows: Any = data.dataset
    if type(data.sampler) is SubsetRandomSampler:
        rows = Subset(rows, sorted(data.sampler.indices))
    elif type(data.sampler) not in (RandomSampler, SequentialSampler) or isinstance(rows, IterableDataset):
        return data
    return DataLoader(rows, batch_size=data.batch_size or BATCH, collate_fn=data.collate_fn)


def _parted(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        key = next((key for key in TARGETS if key in batch), None)
        if key is None:
            raise KeyError(f"a batch has the keys {', '.join(batch)}, none of {', '.join(TARGETS)}")
        return {other: value for other, value in batch.items() if other != key}, batch[key]
    if len(batch) == 2:
        return batch[0], batch[1]
    return tuple(batch[:-1]), batch[-1]


def _joined(name: str, parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Mapping):
        return {key: _joined(name, [part[key] for part in parts]) for key in first}
    if isinstance(first, (tuple, list)):
        return tuple(_joined(name, column) for column in zip(*parts, strict=True))
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise ConfigError(
            f"batches of the {name} split differ in shape ({', '.join(map(str, sorted(shapes)[:3]))}): "
            "give collate=FUNCTION that pads all to one shape"
        )
    return torch.cat([_tensor(part) for part in parts])


def _named(inputs: Any, model: nn.Module) -> dict[str, Tensor]:
    """By the names that the ONNX file will have."""
    if isinstance(inputs, Mapping):
        return {str(key): _tensor(value) for key, value in inputs.items()}
    if not isinstance(inputs, (tuple, list)):
        return {"input": _tensor(inputs)}
    parameters = inspect.signature(model.forward).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {names[i] if i < len(names) else f"input_{i}": _tensor(value) for i, value in enumerate(inputs)}


def _tensor(value: Any) -> Tensor:
    found = value if isinstance(value, Tensor) else torch.as_tensor(np.ascontiguousarray(value))
    return found.detach().to(torch.float32) if found.dtype == torch.float64 else found.detach()
