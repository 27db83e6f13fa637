"""The user's own model: whatever it takes, whatever its data comes as, and whatever may be wrong with it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from autoopt.core.errors import ConfigError, TrialError
from autoopt.pruning import Pruned
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.runtimes.parity import check_parity
from autoopt.tasks import TASKS
from autoopt.tasks.checks import check_task, check_teacher
from autoopt.tasks.custom import UserTask, from_user
from autoopt.training.lessons import Lessons
from autoopt.training.loop import Hooks, train
from tests.conftest import build_student, make_recipe


def rows(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two features; the class is the sign of their sum."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return x, (x.sum(1) > 0).long()


PARTS = {"train": rows(60, 0), "validation": rows(30, 1), "test": rows(30, 2)}


def right() -> nn.Module:
    """Is right about all of them."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    return model


def user(**changes: Any) -> UserTask:
    return UserTask(**{"model": right(), **PARTS, **changes})  # type: ignore[arg-type]


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([-a - b, a + b], 1)


class Keywords(nn.Module):
    def forward(self, *, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"logits": torch.cat([-left - right, left + right], 1)}


class OneDict(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        return torch.cat([-batch["left"] - batch["right"], batch["left"] + batch["right"]], 1), 7


def named(x: Tensor) -> dict[str, Tensor]:
    return {"left": x[:, :1], "right": x[:, 1:]}


FORMS: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor, Tensor], Any]]] = {
    "tensors": (right, lambda x, y: (x, y)),
    "numpy": (right, lambda x, y: (x.double().numpy(), y.numpy())),
    "dataset": (right, TensorDataset),
    "list of rows": (right, lambda x, y: list(zip(x, y.tolist(), strict=True))),
    "loader": (right, lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7)),
    "several inputs": (Two, lambda x, y: ((x[:, :1], x[:, 1:]), y)),
    "dataset of several inputs": (Two, lambda x, y: TensorDataset(x[:, :1], x[:, 1:], y)),
    "keywords": (Keywords, lambda x, y: (named(x), y)),
    "dict": (OneDict, lambda x, y: (named(x), y)),
    "rows that are dicts": (
        Keywords,
        lambda x, y: [{"left": x[i, :1], "right": x[i, 1:], "label": y[i]} for i in range(len(x))],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_models_and_data_of_every_form_become_one_task(form: str, tmp_path: Path) -> None:
    model, make = FORMS[form]
    task = from_user(user(model=model(), **{name: make(*part) for name, part in PARTS.items()}))
    assert (len(task.train), len(task.validation), len(task.test), task.classes) == (60, 30, 30, 2)
    assert torch.equal(task.train.targets, PARTS["train"][1])
    check_task(task)
    teacher = task.build_teacher().eval()
    check_teacher(task, teacher)
    with torch.no_grad():
        assert torch.equal(teacher(*task.test.inputs).argmax(1), task.test.targets)
    export(teacher, task.train.inputs[:4], tmp_path / "m.onnx")
    session = RUNTIMES["onnxruntime"](tmp_path / "m.onnx", 1)
    assert check_parity(teacher, session, task.validation.inputs)["parity_max_abs"] < 1e-5
    assert session(task.test.inputs[:1].numpy()).shape == (1, 2)


def test_a_collate_function_makes_the_batches() -> None:
    def collate(found: list[tuple[list[float], int]]) -> tuple[Tensor, Tensor]:
        return torch.tensor([x for x, _ in found]), torch.tensor([y for _, y in found])

    lists = {name: list(zip(x.tolist(), y.tolist(), strict=True)) for name, (x, y) in PARTS.items()}
    task = from_user(user(collate=collate, **lists))
    assert next(iter(task.train.inputs)).shape == (60, 2)


def test_a_regression_has_numbers_as_targets_and_r2_as_its_metric() -> None:
    numbers = {name: (x, x.sum(1)) for name, (x, _) in PARTS.items()}
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    task = from_user(user(model=model, kind="regression", **numbers))
    assert (task.goal.metric.name, task.classes) == ("r2", 1)
    check_task(task)
    check_teacher(task, model)
    outputs = model(*task.test.inputs).detach().numpy()
    assert task.goal.metric.score(outputs, task.test.targets.numpy()) == pytest.approx(1.0)
    assert task.goal.metric.score(0 * outputs + numbers["test"][1].mean().item(), task.test.targets.numpy()) == (
        pytest.approx(0.0, abs=1e-5)
    )


def test_r2_is_scikit_learns() -> None:
    from sklearn.metrics import r2_score

    from autoopt.tasks.goal import r2

    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(50, 1)), rng.normal(size=50)
    assert r2(outputs, targets) == pytest.approx(r2_score(targets, outputs[:, 0]))


def test_a_loss_of_the_users_own_sees_targets_as_the_outputs_are_shaped() -> None:
    shapes = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        shapes.append((tuple(outputs.shape), tuple(targets.shape)))
        return ((outputs - targets) ** 2).mean()

    numbers = {name: (x, x.sum(1)) for name, (x, _) in PARTS.items()}
    task = from_user(user(model=nn.Linear(2, 1), kind="regression", loss=loss, **numbers))
    lessons = Lessons(task.train, torch.zeros(60, 1), task.goal)
    recipe = make_recipe(student="teacher", epochs=1, batch_size=30)
    train(Pruned(task.build_teacher()), lessons, task.validation, recipe, seed=0, hooks=Hooks())
    assert set(shapes) == {((30, 1), (30, 1))}


def test_one_number_a_row_is_one_output() -> None:
    numbers = {name: (x, x.sum(1)) for name, (x, _) in PARTS.items()}
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0))
    nn.init.ones_(model[0].weight)
    task = from_user(user(model=model, kind="regression", **numbers))
    assert task.classes == 1
    check_task(task)
    check_teacher(task, task.build_teacher())


class MaskSecond(nn.Module):
    """As encoders are: tokenizers give their arrays in another order."""

    def forward(self, ids: Tensor, mask: Tensor, kinds: Tensor) -> Tensor:
        return torch.cat([-ids - kinds, ids + kinds], 1) * mask


def test_a_dict_is_passed_by_name_whatever_its_order() -> None:
    def part(x: Tensor, y: Tensor) -> Any:
        return {"ids": x[:, :1], "kinds": x[:, 1:], "mask": torch.ones(len(x), 1)}, y

    other = {key: part(*PARTS[key]) for key in PARTS}
    other["test"] = (dict(reversed(other["test"][0].items())), other["test"][1])
    task = from_user(user(model=MaskSecond(), **other))
    for split in (task.train, task.test):
        assert torch.equal(task.build_teacher()(*split.inputs).argmax(1), split.targets)


def test_a_loader_that_shuffles_is_read_in_order() -> None:
    def loader(x: Tensor, y: Tensor, **how: Any) -> DataLoader:
        return DataLoader(TensorDataset(x, y), batch_size=7, **how)

    shuffled = {name: loader(*part, shuffle=True, drop_last=True) for name, part in PARTS.items()}
    assert from_user(user(**shuffled)).fingerprint == from_user(user()).fingerprint
    some = loader(*PARTS["train"], sampler=SubsetRandomSampler([5, 2, 9]))
    assert torch.equal(from_user(user(train=some)).train.targets, PARTS["train"][1][[2, 5, 9]])


def test_students_of_the_users_own_share_no_weights_between_trials() -> None:
    one = right()
    build = from_user(user(students={"small": lambda width: one})).own_students["small"]
    with torch.no_grad():
        build(1.0).weight.zero_()
    assert torch.equal(build(1.0).weight, right().weight)


def test_the_frozen_model_of_a_user_is_trained_all_the_same(tmp_path: Path) -> None:
    task = from_user(user(model=right().requires_grad_(False)))
    student = build_student("teacher", task)
    assert all(p.requires_grad for p in student.parameters())
    assert not any(p.requires_grad for p in task.build_teacher().parameters()), "the teacher itself is left as it is"


def test_a_metric_of_the_users_own_is_called_quality() -> None:
    task = from_user(user(metric=lambda outputs, targets: float((outputs.argmax(1) != targets).mean())))
    assert task.goal.metric.name == "quality"
    with pytest.raises(ConfigError, match="no better than"):
        check_teacher(task, right())


def test_students_of_the_users_own_are_adapted_like_the_model() -> None:
    parts = {name: (named(x), y) for name, (x, y) in PARTS.items()}
    task = from_user(user(model=Keywords(), students={"tiny": lambda width: OneDict()}, **parts))
    assert task.students == ("tiny",)
    assert task.own_students["tiny"](1.0)(*task.train.inputs[:3]).shape == (3, 2)


def nan(part: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x = part[0].clone()
    x[3, 1] = torch.nan
    return x, part[1]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "overlap": ({"test": PARTS["train"]}, "60 of 60 rows of the test split are in the train split, too"),
    "label": (
        {"validation": (PARTS["validation"][0], PARTS["validation"][1] + 1)},
        r"targets of the validation split lie in \[1, 2\], and the model has 2 outputs: class ids from 0 to 1",
    ),
    "nan": ({"train": nan(PARTS["train"])}, "input of the train split is NaN or infinite in 1 of 60 rows"),
    "empty": ({"test": (torch.zeros(0, 2), torch.zeros(0))}, "the test split is empty"),
    "empty train": ({"train": (torch.zeros(0, 2), torch.zeros(0))}, "the train split is empty"),
    "rows": ({"train": (PARTS["train"][0], PARTS["test"][1])}, "has not as many rows everywhere"),
    "shape": ({"model": nn.Sequential(nn.Linear(2, 2), nn.Flatten(0))}, r"gives outputs of shape \(4, 1\) for 2 rows"),
    "input": ({"model": nn.Linear(3, 2)}, r"does not take the train split's inputs \{'input': \(2, 2\)\}"),
    "text": ({"train": (np.array([["a", "b"]]), np.array([1]))}, "the train split holds what is no array of numbers"),
    "names": (
        {"test": (named(PARTS["test"][0]), PARTS["test"][1])},
        "the test split has the inputs left, right, train has input",
    ),
    "columns": (
        {"test": (torch.randn(30, 3), PARTS["test"][1])},
        r"input of the test split is float32 \(rows, 3\), train has float32 \(rows, 2\)",
    ),
    "type": (
        {"validation": (PARTS["validation"][0].half(), PARTS["validation"][1])},
        r"input of the validation split is float16 \(rows, 2\), train has float32",
    ),
    "targets": (
        {"model": nn.Linear(2, 3), "kind": "regression"},
        r"targets of the train split have shape \(rows, 1\), and the model gives \(rows, 3\)",
    ),
    "one logit": ({"model": nn.Linear(2, 1)}, "the model has one output, and the task is a classification"),
    "accuracy": ({"kind": "regression", "metric": "accuracy"}, "'r2' or a function is allowed"),
    "kind": ({"kind": "ranking"}, "classification or regression is allowed"),
    "metric": ({"metric": "f1"}, "accuracy, macro_f1, r2, or a function is allowed"),
    "f1 of numbers": ({"kind": "regression", "metric": "macro_f1"}, r"metric='macro_f1'\) is of classes"),
    "slices": ({"slices": {"test": ["a"]}}, "has nothing for validation, but test: one for each of the"),
    "slices of another kind": ({"slices": ["a"]}, r"is a list: \{'validation': \[...\], 'test': \[...\]\} is allowed"),
    "too few slices": ({"slices": {"validation": ["a"], "test": ["a"]}}, "has 1 entries: one for each of the"),
    "data": ({"train": 7}, "the train split cannot be read"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_task_is_told(what: str) -> None:
    changes, message = WRONG[what]
    with pytest.raises(ConfigError, match=message):
        check_task(from_user(user(**changes)))


def test_a_metric_that_fails_says_that_it_is_the_metric() -> None:
    def auc(outputs: np.ndarray, targets: np.ndarray) -> float:
        raise ValueError("only one class in targets")

    task = from_user(user(metric=auc))
    with pytest.raises(TrialError, match=r"^the task's metric failed: ValueError: only one class in targets$"):
        task.goal.metric.score(np.zeros((1, 10)), np.zeros(1, int))


def test_a_task_is_judged_by_the_metric_that_the_kpis_name_first() -> None:
    goal = from_user(user()).goal
    assert [metric.name for metric in goal.metrics] == ["accuracy", "macro_f1"]
    assert goal.judged(["size_mb", "macro_f1", "accuracy"]).metric.name == "macro_f1"
    assert goal.judged(["size_mb"]).metric.name == "accuracy"
    chosen = from_user(user(metric="macro_f1")).goal
    assert [metric.name for metric in chosen.judged(["accuracy"]).metrics] == ["macro_f1"]


@pytest.mark.parametrize("scale", [-1.0, 0.0, torch.nan])
def test_a_teacher_that_knows_nothing_is_told(scale: float) -> None:
    model = right()
    with torch.no_grad():
        model.weight *= scale
    with pytest.raises(ConfigError, match="not all finite" if scale != scale else "no better than the"):
        check_teacher(from_user(user()), model)


def test_a_factory_is_found_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_up_module.py").write_text(
        "from tests.tasks.test_custom import user as build\n\n\ndef other():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert TASKS["custom"](factory="made_up_module:build").classes == 2
    for factory, message in (
        (None, "MODULE:FUNCTION is allowed"),
        ("made_up_module", "MODULE:FUNCTION is allowed"),
        (
            "no_such_module_here:build",
            "No module named 'no_such_module_here'; it is looked for in the current",
        ),
        ("made_up_module:nothing", "has no 'nothing'"),
        ("made_up_module:other", "returns int: it must return an autoopt.Task"),
    ):
        with pytest.raises(ConfigError, match=message):
            TASKS["custom"](factory=factory)


def test_rows_that_are_in_two_splits_by_chance_are_no_overlap() -> None:
    task = from_user(user())
    inputs = task.test.inputs.arrays["input"].clone().repeat(5, 1)
    inputs[0] = task.train.inputs.arrays["input"][0]
    assert len(inputs) == 150
    many = from_user(user(test=(inputs, torch.ones(150).long())))
    check_task(many)
