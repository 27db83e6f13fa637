"""What may be wrong with a task, told before anything is trained."""

import numpy as np
import torch
from torch import nn

from autoopt.core.errors import ConfigError
from autoopt.tasks.goal import CLASSIFICATION
from autoopt.tasks.task import Split, Task

BATCH = 500
OVERLAP = 0.01  # share of an evaluation split whose rows may be in another one by chance


def check_task(task: Task) -> None:
    """Raises ConfigError where a split is empty, overlaps another, or holds what no model can learn."""
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    for name, split in splits.items():
        if not len(split):
            raise ConfigError(f"the {name} split is empty")
        _check_numbers(name, split)
        if task.goal.kind == CLASSIFICATION:
            _check_labels(name, split, task.classes)
    rows = {name: _rows(split) for name, split in splits.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = sum(row in rows[one] for row in _rows_in_order(splits[other]))
        if shared > OVERLAP * len(splits[other]):
            raise ConfigError(
                f"{shared} of {len(splits[other])} rows of the {other} split are in the {one} split, too: "
                "what is measured there would be remembered, not learned. Remove them from one of the two"
            )


def check_teacher(task: Task, teacher: nn.Module) -> None:
    """Raises ConfigError where the teacher's outputs are no numbers, or it is no better than not looking at all."""
    with torch.no_grad():
        found = [teacher(*task.validation.inputs[i : i + BATCH]) for i in range(0, len(task.validation), BATCH)]
    outputs = torch.cat(found)
    if outputs.shape != (len(task.validation), task.classes):
        raise ConfigError(
            f"the teacher gives outputs of shape {tuple(outputs.shape)} for the validation split: "
            f"({len(task.validation)}, {task.classes}) is needed"
        )
    if not torch.isfinite(outputs).all():
        raise ConfigError("the teacher's outputs on the validation split are not all finite: is it trained?")
    targets = task.validation.targets
    quality = task.goal.metric.score(outputs.numpy(), targets.numpy())
    blind = task.goal.metric.score(_blind(task).numpy(), targets.numpy())
    if not quality > blind:
        name = task.goal.metric.name
        raise ConfigError(
            f"the teacher's {name} on the validation split is {quality:.4f}, no better than the {blind:.4f} of "
            "answering the same each time: is it trained, and are labels and preprocessing its own?"
        )


def _blind(task: Task) -> torch.Tensor:
    """The outputs of whoever does not look: the most frequent class, or the mean."""
    n = len(task.validation)
    if task.goal.kind == CLASSIFICATION:
        frequent = torch.bincount(task.validation.targets, minlength=task.classes).argmax()
        return nn.functional.one_hot(frequent, task.classes).float().repeat(n, 1)
    return task.validation.targets.reshape(n, -1).mean(0).repeat(n, 1)


def _check_numbers(name: str, split: Split) -> None:
    arrays = {**split.inputs.arrays, "targets": split.targets}
    for key, array in arrays.items():
        if array.is_floating_point() and not torch.isfinite(array).all():
            bad = int((~torch.isfinite(array.reshape(len(array), -1))).any(1).sum())
            raise ConfigError(f"{key} of the {name} split is NaN or infinite in {bad} of {len(array)} rows")


def _check_labels(name: str, split: Split, classes: int) -> None:
    low, high = int(split.targets.min()), int(split.targets.max())
    if split.targets.ndim != 1:
        raise ConfigError(f"targets of the {name} split have shape {tuple(split.targets.shape)}: one class id a row")
    if low < 0 or high >= classes:
        raise ConfigError(
            f"targets of the {name} split lie in [{low}, {high}], and the model has {classes} outputs: "
            f"class ids from 0 to {classes - 1} are allowed"
        )


def _rows_in_order(split: Split) -> list[bytes]:
    arrays = [np.ascontiguousarray(array.numpy()) for array in split.inputs.arrays.values()]
    return [b"".join(array[i].tobytes() for array in arrays) for i in range(len(split))]


def _rows(split: Split) -> set[bytes]:
    return set(_rows_in_order(split))
