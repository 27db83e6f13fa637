"""What may be wrong with a task, told before anything is trained."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import nn

from autoopt.core.errors import ConfigError
from autoopt.core.inputs import Inputs
from autoopt.tasks.batches import module_outputs
from autoopt.tasks.goal import CLASSIFICATION
from autoopt.tasks.task import Split, Task

OVERLAP = 0.01  # share of an evaluation split whose rows may be in another one by chance


def check_task(task: Task) -> None:
    """Raises ConfigError where a split is empty, overlaps another, or holds what no model can learn."""
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    for name, split in splits.items():
        if not len(split):
            raise ConfigError(f"the {name} split is empty")
        _check_alike(name, split, task.train)
        _check_numbers(name, split)
        if task.goal.kind == CLASSIFICATION:
            _check_labels(name, split, task.classes)
        elif split.targets.shape[1:] != (task.classes,):
            raise ConfigError(
                f"targets of the {name} split have shape (rows, {split.targets[:1].numel()}), and the model gives "
                f"(rows, {task.classes}): one target for each output is needed"
            )
    rows = {name: row_digests(split.inputs) for name, split in splits.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        known = set(rows[one])
        shared = sum(row in known for row in rows[other])
        if shared > OVERLAP * len(splits[other]):
            raise ConfigError(
                f"{shared} of {len(splits[other])} rows of the {other} split are in the {one} split, too: "
                "what is measured there would be remembered, not learned. Remove them from one of the two"
            )


def check_teacher(task: Task, teacher: nn.Module) -> None:
    """Raises ConfigError where the teacher's outputs are no numbers, or it is no better than not looking at all."""
    outputs, places = module_outputs(teacher, task.validation.inputs)
    if outputs.shape != (len(task.validation), task.classes):
        raise ConfigError(
            f"the teacher gives outputs of shape {tuple(outputs.shape)} for the validation split: "
            f"({len(task.validation)}, {task.classes}) is needed"
        )
    if not torch.isfinite(outputs).all():
        raise ConfigError("the teacher's outputs on the validation split are not all finite: is it trained?")
    targets = task.validation.targets[places]
    quality = task.goal.metric.score(outputs.numpy(), targets.numpy())
    blind = task.goal.metric.score(_blind(task).numpy(), targets.numpy())
    if task.goal.kind == CLASSIFICATION and len(targets.unique()) == 1:
        raise ConfigError("the validation split holds one class alone: nothing can be told from it")
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


def _check_alike(name: str, split: Split, train: Split) -> None:
    for key, array in train.inputs.arrays.items():
        given = split.inputs.arrays.get(key)
        found = {what: _kind(a, key in train.inputs.sequences) for what, a in (("train", array), (name, given))}
        if found["train"] != found[name]:
            raise ConfigError(
                f"{key} of the {name} split is {found[name] or 'missing'}, train has {found['train']}: alike is needed"
            )


def _kind(array: Any, is_sequence: bool) -> str:
    """In words; '' where there is none. Rows and lengths may differ."""
    if array is None:
        return ""
    shape = ["rows", *(["length"] if is_sequence else []), *map(str, array.shape[1 + is_sequence :])]
    return f"{str(array.dtype).removeprefix('torch.')} ({', '.join(shape)})"


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
    if classes == 1:
        raise ConfigError(
            "the model has one output, and the task is a classification: two outputs for two classes are needed "
            "(of a model with one logit x, those are 0 and x), or kind='regression'"
        )
    if low < 0 or high >= classes:
        raise ConfigError(
            f"targets of the {name} split lie in [{low}, {high}], and the model has {classes} outputs: "
            f"class ids from 0 to {classes - 1} are allowed"
        )


def row_digests(inputs: Inputs) -> list[bytes]:
    """Of each row, a digest of its values, padding left out: equal for equal rows."""
    found = inputs.numpy()
    ends = [None] * len(found) if found.lengths is None else found.lengths.tolist()
    digests = []
    for i, end in enumerate(ends):
        digest = hashlib.blake2b(digest_size=16)
        for name, array in found.arrays.items():
            row = array[i, :end] if name in found.sequences else array[i]
            digest.update(np.ascontiguousarray(row).tobytes())
        digests.append(digest.digest())
    return digests
