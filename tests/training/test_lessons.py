"""What the teacher has labelled once is read from then on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from autoopt.artifacts.cache import Cache
from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.tasks import Task
from autoopt.training.lessons import Library
from tests.damage import damages


class Teacher:
    """A task's fresh teacher, which counts what it labels."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(1)
        self.module, self.labelled = task.build_teacher().eval(), 0

    def run(self, inputs: Inputs) -> np.ndarray:
        self.labelled += len(inputs)
        with torch.no_grad():
            return self.module(*map(torch.from_numpy, inputs)).numpy()  # type: ignore[no-any-return]


@pytest.fixture(params=["digits", "sentences"])
def task(request: pytest.FixtureRequest) -> Task:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def library(task: Task, teacher: Teacher, folder: Path, weights: str = "w") -> Library:
    return Library(task, weights, Cache(folder), lambda: teacher.run)


def test_logits_are_the_teachers_and_are_computed_once(task: Task, tmp_path: Path) -> None:
    teacher = Teacher(task)
    lessons = library(task, teacher, tmp_path).lessons()
    assert lessons.split is task.train
    assert teacher.labelled == len(task.train)
    with torch.no_grad():
        assert torch.allclose(lessons.logits[:50], teacher.module(*task.train.inputs[:50]), atol=1e-4)
    assert torch.equal(library(task, teacher, tmp_path).lessons().logits, lessons.logits)
    assert teacher.labelled == len(task.train)
    library(task, teacher, tmp_path, "other weights").lessons()
    assert teacher.labelled == 2 * len(task.train)


def test_logits_lie_in_the_file_and_are_never_written_back(digits: Task, tmp_path: Path) -> None:
    teacher = Teacher(digits)
    before = library(digits, teacher, tmp_path).lessons().logits.clone()
    library(digits, teacher, tmp_path).lessons().logits[0] += 1.0
    assert torch.equal(library(digits, teacher, tmp_path).lessons().logits, before)


def test_parts_of_the_transfer_set_follow_the_train_split(sentences: Task, tmp_path: Path) -> None:
    teacher, n = Teacher(sentences), len(sentences.train)
    lessons = library(sentences, teacher, tmp_path).lessons(2)
    assert len(lessons.split) == len(lessons.logits) == 3 * n
    assert teacher.labelled == 3 * n
    assert torch.equal(lessons.split.targets[:n], sentences.train.targets)
    assert torch.equal(lessons.split.targets[n:], lessons.logits[n:].argmax(1)), "the teacher has labelled them"
    with torch.no_grad():
        some = torch.tensor([0, n, 2 * n + 5])
        assert torch.allclose(lessons.logits[some], teacher.module(*lessons.split.inputs[some]), atol=1e-4)
    again = library(sentences, teacher, tmp_path).lessons(1)
    assert teacher.labelled == 3 * n, "read from the cache"
    width = next(iter(again.split.inputs)).shape[1]
    assert torch.equal(next(iter(again.split.inputs)), next(iter(lessons.split.inputs))[: 2 * n, :width])


def test_a_half_written_part_is_made_again(sentences: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, save = Teacher(sentences), np.save

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        library(sentences, teacher, tmp_path).lessons(1)
    monkeypatch.setattr(np, "save", save)
    assert len(library(sentences, teacher, tmp_path).lessons(1).split) == 2 * len(sentences.train)


def test_damage_of_what_was_labelled_is_noticed_and_repaired(sentences: Task, tmp_path: Path) -> None:
    teacher = Teacher(sentences)
    before, checked = library(sentences, teacher, tmp_path).lessons(1), 0
    for path in damages(tmp_path):
        labelled = teacher.labelled
        after = library(sentences, teacher, tmp_path).lessons(1)
        assert torch.equal(after.logits, before.logits), path
        assert torch.equal(after.split.targets, before.split.targets), path
        for name, array in before.split.inputs.arrays.items():
            assert torch.equal(after.split.inputs.arrays[name], array), path
        assert teacher.labelled == labelled + len(sentences.train), "what is whole is not made again"
        checked += 1
    assert checked >= 7 * 5, "logits and hashes of the train split; inputs, lengths, logits and hashes of a part"


def test_a_task_without_a_transfer_set_says_what_to_type(digits: Task, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=r"task digits has no transfer set: type space.augment=0"):
        library(digits, Teacher(digits), tmp_path).lessons(1)
