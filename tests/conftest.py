"""Shared fixtures. They give small real things: the digits task, a trained student, its ONNX file."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: two spinning processes cost 17x

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import nn

from autoopt.core.inputs import Inputs
from autoopt.core.recipe import Recipe
from autoopt.pruning import Pruned
from autoopt.runtimes.export import export
from autoopt.students import STUDENTS
from autoopt.tasks import TASKS, Task
from autoopt.training.lessons import Lessons
from autoopt.training.loop import Hooks, train
from tests.texts import load_text_task, make_encoder

torch.set_num_threads(2)
# A busy machine is no failure; CI tries the same examples each time, so that it never fails by luck.
settings.register_profile("project", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")

TRAINING = {
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 5e-3,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "schedule": "cosine",
    "distill_weight": 0.0,
}


def make_recipe(**fields: object) -> Recipe:
    """A recipe with sensible training fields, any of them overridden."""
    base = {"student": "cnn", "pruning": "none", "quantization": "none", "epochs": 2, **TRAINING}
    return Recipe.from_dict({**base, **fields})


@pytest.fixture(scope="session")
def digits() -> Task:
    return TASKS["digits"]()


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny encoder, as tasks of text take it."""
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def sentences(encoder: Path) -> Task:
    return load_text_task(encoder)


@pytest.fixture(scope="session")
def fitting(digits: Task, sentences: Task) -> Callable[[str], Task]:
    """A task whose inputs a student takes."""
    return lambda student: sentences if student in sentences.students else digits


def build_student(name: str, task: Task, **fields: object) -> nn.Module:
    """A student of the task, with any fields of its recipe."""
    recipe = Recipe.from_dict({"student": name, "pruning": "none", "quantization": "none", **fields})
    return STUDENTS[name].build(task.signature, task.build_teacher(), recipe)


def lessons_of(task: Task) -> Lessons:
    """The train split, under a teacher that knows nothing."""
    return Lessons(task.train, torch.zeros(len(task.train), task.classes))


def _trained(task: Task, student: str) -> nn.Module:
    torch.manual_seed(0)
    model = build_student(student, task)
    train(
        Pruned(model),
        lessons_of(task),
        task.validation,
        make_recipe(student=student, epochs=6),
        seed=0,
        hooks=Hooks(),
    )
    return model


@pytest.fixture(scope="session")
def trained(digits: Task) -> dict[str, nn.Module]:
    """A trained module of every student of images, by name. Shared: copy before changing one."""
    return {name: _trained(digits, name) for name in digits.students}


@pytest.fixture(scope="session")
def exported(digits: Task, trained: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The float ONNX file of every trained student, by name."""
    folder = tmp_path_factory.mktemp("exported")
    for name, model in trained.items():
        export(model, digits.validation.inputs[:8], folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in trained}


@pytest.fixture
def accuracy_of(digits: Task) -> Callable[[Callable[[Inputs], np.ndarray]], float]:
    """Accuracy of a session on digits' validation split, one input a call."""

    def measure(session: Callable[[Inputs], np.ndarray]) -> float:
        inputs, targets = digits.validation.inputs.numpy(), digits.validation.targets.numpy()
        return float(np.mean([session(inputs[i : i + 1]).argmax() == targets[i] for i in range(len(targets))]))

    return measure
