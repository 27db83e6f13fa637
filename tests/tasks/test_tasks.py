"""Contract of every task, and the facts of the two embedded ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from autoopt.artifacts.cache import Cache
from autoopt.students import STUDENTS
from autoopt.tasks import TASKS, Task
from autoopt.tasks.checks import check_task
from autoopt.tasks.fashion import DATA
from autoopt.training.loop import Hooks, module_quality
from autoopt.training.teacher import TeacherOptions, load_teacher
from tests.texts import load_text_task


@pytest.fixture(scope="module", params=sorted(TASKS))
def load(request: pytest.FixtureRequest, encoder: Path) -> Callable[[], Task]:
    """Text comes from files: see tests/texts.py; a task of one's own from a module."""
    if request.param == "custom":
        return partial(TASKS["custom"], factory="tests.tasks.test_custom:user")
    if request.param in ("text_classification", "onnx", "image_folder"):
        pytest.skip("its files are in tests of its own")
    if request.param != "intents":
        return TASKS[request.param]  # type: ignore[no-any-return]
    return partial(load_text_task, encoder)


@pytest.fixture(scope="module")
def task(load: Callable[[], Task]) -> Task:
    return load()


def test_splits_are_whole_and_disjoint(task: Task) -> None:
    rows = []
    for split in (task.train, task.validation, task.test):
        for array in split.inputs:
            assert torch.isfinite(array).all()
        assert split.targets.dtype == torch.int64
        assert len(split.inputs) == len(split.targets)
        assert set(split.targets.tolist()) == set(range(task.classes))
        rows.append({array.tobytes() for array in next(iter(split.inputs.numpy()))})
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


def test_the_teacher_maps_inputs_to_logits(task: Task) -> None:
    assert task.build_teacher().eval()(*task.train.inputs[:3]).shape == (3, task.classes)


def test_students_are_known(task: Task) -> None:
    assert task.students
    assert set(task.students) <= set(STUDENTS)
    check_task(task)


def test_loading_twice_gives_the_same_data(load: Callable[[], Task], task: Task) -> None:
    again = load()
    assert again.fingerprint == task.fingerprint
    if task.transfer is not None and again.transfer is not None:
        assert torch.equal(*(next(iter(loaded.transfer(1))) for loaded in (task, again)))  # type: ignore[misc]


def test_fashion_is_big_enough_for_a_point_to_mean_something() -> None:
    task = TASKS["fashion"]()
    assert (len(task.train), len(task.validation), len(task.test)) == (8000, 3000, 4000)
    assert all(
        np.bincount(split.targets.numpy()).tolist() == [len(split) // 10] * 10
        for split in (task.train, task.validation, task.test)
    )
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 10e6


def test_the_embedded_teacher_is_as_good_as_its_card_says(tmp_path) -> None:
    task = TASKS["fashion"]()
    teacher = load_teacher(task, TeacherOptions(), Cache(tmp_path), 0, Hooks())
    with torch.no_grad():
        predicted = torch.cat([teacher(*batch).argmax(1) for batch in task.validation.inputs.batches(500)])
    assert accuracy_score(task.validation.targets, predicted) == pytest.approx(0.9193, abs=2e-4)
    assert module_quality(teacher, task.validation) == accuracy_score(task.validation.targets, predicted)
    assert not any(tmp_path.iterdir())  # nothing was trained, nothing was cached
