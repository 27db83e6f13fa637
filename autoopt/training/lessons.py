"""What a student learns from: the train split and, on request, parts of the transfer set, labelled by the teacher.

Everything is computed once and kept, see Cache: logits memory-mapped, so that processes of one machine share them and
only what a batch needs is read.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoopt.artifacts.cache import Cache
from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.runtimes import Session
from autoopt.tasks import Split, Task
from autoopt.tasks.batches import by_length
from autoopt.tasks.goal import CLASSES, CLASSIFICATION, Goal

EXPORTED_BATCH = 32
DEVICE_SHARE = 0.25  # of a GPU's free memory, at most, for what is learned from: models and other workers need the rest


@dataclass(frozen=True, eq=False)
class Lessons:
    """Rows, and the teacher's outputs on them (n, classes)."""

    split: Split
    logits: Tensor
    goal: Goal = CLASSES

    def take(self, index: Tensor, device: torch.device) -> "Batch":
        """The rows at `index`, itself on the CPU, on a device."""
        inputs, targets = self.split.inputs, self.split.targets
        if device.type == "cpu":
            return Batch(inputs[index], self.logits[index], targets[index])
        if self.logits.device == device:
            there = sent(index, device)
            return Batch(inputs.cut(inputs.arrays_at(there), index), self.logits[there], targets[there])
        arrays = {name: sent(array, device) for name, array in inputs[index].arrays.items()}
        return Batch(Inputs(arrays), sent(self.logits[index], device), sent(targets[index], device))


@dataclass(frozen=True, eq=False)
class Batch:
    inputs: Inputs
    logits: Tensor
    targets: Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """By way of pinned memory: nobody waits for it."""
    return tensor.pin_memory().to(device, non_blocking=True)


def placed(lessons: Lessons, device: torch.device) -> Lessons:
    """On the device, where they take a small share of the memory that is free there; else as they are, and batches
    travel. Lengths of sequences stay: they say how long the tensors of a batch are.
    """
    if device.type == "cpu" or lessons.logits.device == device:
        return lessons
    inputs, targets = lessons.split.inputs, lessons.split.targets
    size = sum(tensor.nbytes for tensor in (*inputs, lessons.logits, targets))
    if size > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return lessons
    arrays = {name: array.to(device) for name, array in inputs.arrays.items()}
    split = Split(Inputs(arrays, inputs.lengths, inputs.sequences), targets.to(device), lessons.split.slices)
    return Lessons(split, lessons.logits.to(device), lessons.goal)


@dataclass(frozen=True, eq=False)
class Library:
    """The lessons of a task under its teacher, whose weights have the fingerprint `weights`.

    `open_teacher()` is the exported teacher, asked for where something is not cached: on one thread it is twice as fast
    as the module.
    """

    task: Task
    weights: str
    cache: Cache
    open_teacher: Callable[[], Session]
    _parts: dict[int, Lessons] = field(default_factory=dict)
    _placed: dict[tuple[int, torch.device], Lessons] = field(default_factory=dict)

    def lessons_on(self, device: torch.device, parts: int = 0) -> Lessons:
        """The same, on a device: the last ones stay there for the next trial."""
        if (parts, device) not in self._placed:
            self._placed.clear()
            self._placed[parts, device] = placed(self.lessons(parts), device)
        return self._placed[parts, device]

    def lessons(self, parts: int = 0) -> Lessons:
        """The train split, followed by so many parts of the transfer set. Raises TrialError where the task has none."""
        found = [self._train(), *(self._part(number) for number in range(parts))]
        return found[0] if parts == 0 else _joined(found, self.task)

    def _train(self) -> Lessons:
        logits = self._kept("logits", "", lambda: {"logits": self._label(self.task.train.inputs)})
        return Lessons(self.task.train, torch.from_numpy(logits["logits"]), self.task.goal)

    def _part(self, number: int) -> Lessons:
        if self.task.transfer is None:
            raise TrialError(f"task {self.task.name} has no transfer set: type space.augment=0")
        if number not in self._parts:
            transfer = self.task.transfer
            self._parts[number] = self._read(number, transfer)
        return self._parts[number]

    def _read(self, number: int, transfer: Callable[[int], Inputs]) -> Lessons:
        def made() -> dict[str, np.ndarray]:
            inputs = transfer(number)
            arrays = {name: array.numpy() for name, array in inputs.arrays.items()}
            lengths = {} if inputs.lengths is None else {"lengths of it": inputs.lengths.numpy()}
            return {**arrays, **lengths, "logits": self._label(inputs)}

        kept = {name: torch.from_numpy(array) for name, array in self._kept("transfer", f"-{number}", made).items()}
        logits, lengths = kept.pop("logits"), kept.pop("lengths of it", None)
        inputs = Inputs(kept, lengths, self.task.train.inputs.sequences)
        labels = logits.argmax(1) if self.task.goal.kind == CLASSIFICATION else logits
        return Lessons(Split(inputs, labels), logits, self.task.goal)

    def _label(self, inputs: Inputs) -> np.ndarray:
        run, order = self.open_teacher(), by_length(inputs)
        found = np.concatenate([run(inputs[index].numpy()) for index in order.split(EXPORTED_BATCH)])
        labels: np.ndarray = found[order.argsort().numpy()]
        return labels

    def _kept(self, kind: str, ending: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of `make`, each in a file of its own."""
        key = f"{kind}/{self.task.name}-{self.task.fingerprint}-{self.weights}{ending}"

        def write(fresh: Path) -> None:
            for name, array in make().items():
                np.save(fresh / f"{name}.npy", array, allow_pickle=False)

        place = self.cache.folder(key, write)
        # A private map, since torch wants it writable.
        return {path.stem: np.load(path, allow_pickle=False, mmap_mode="c") for path in sorted(place.glob("*.npy"))}


def _joined(lessons: list[Lessons], task: Task) -> Lessons:
    """One after the other, padded to the longest."""
    pad = 0 if task.tokens is None else task.tokens.pad
    parts = [lesson.split.inputs for lesson in lessons]
    arrays = {}
    for name in parts[0].arrays:
        found = [part.arrays[name] for part in parts]
        if name in parts[0].sequences:
            width = max(array.shape[1] for array in found)
            found = [torch.nn.functional.pad(array, (0, width - array.shape[1]), value=pad) for array in found]
        arrays[name] = torch.cat(found)
    lengths = [part.lengths for part in parts if part.lengths is not None]
    inputs = Inputs(arrays, torch.cat(lengths) if lengths else None, parts[0].sequences)
    targets = torch.cat([lesson.split.targets for lesson in lessons])
    return Lessons(Split(inputs, targets), torch.cat([lesson.logits for lesson in lessons]), task.goal)
