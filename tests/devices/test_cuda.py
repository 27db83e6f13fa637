"""On an NVIDIA GPU, where there is one."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.artifacts.cache import Cache
from autoopt.cli import main
from autoopt.core.errors import TrialError
from autoopt.pruning import METHODS, Pruned
from autoopt.runtimes import RUNTIMES, providers
from autoopt.runtimes.providers import CPU, CUDA
from autoopt.tasks import Task
from autoopt.tasks.goal import CLASSES
from autoopt.training import lessons as lessons_module
from autoopt.training.lessons import Lessons, Library, placed
from autoopt.training.loop import Hooks, module_quality, train
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.place import Place, place_of
from autoopt.training.quantized import train_quantized
from autoopt.training.teacher import TeacherOptions, load_teacher
from tests.conftest import build_student, lessons_of, make_recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU on this machine")
needs_provider = pytest.mark.skipif(
    torch.cuda.is_available() and not providers.answers(CUDA), reason="onnxruntime-gpu is not installed"
)


@pytest.fixture
def at() -> Place:
    return place_of("cuda")


def trained_at(task: Task, at: Place, student: str = "cnn", lessons: Lessons | None = None, **fields: Any) -> nn.Module:
    torch.manual_seed(0)
    model = build_student(student, task)
    recipe = make_recipe(student=student, **{"epochs": 5, **fields})
    train(Pruned(model), lessons or lessons_of(task), task.validation, recipe, seed=0, hooks=Hooks(), at=at)
    return model


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.reshape(-1).float() for value in model.state_dict().values()])


def test_it_learns_as_on_the_cpu_and_the_weights_come_back(digits: Task, at: Place) -> None:
    model = trained_at(digits, at)
    assert {value.device.type for value in model.state_dict().values()} == {"cpu"}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    here = module_quality(trained_at(digits, place_of("cpu")), digits.validation)
    assert module_quality(model, digits.validation) == pytest.approx(here, abs=0.03)


def test_the_same_seed_gives_the_same_weights(digits: Task, sentences: Task, at: Place) -> None:
    for task, student in ((digits, "cnn"), *((sentences, name) for name in sentences.students)):
        found = [weights(trained_at(task, at, student, epochs=2)) for _ in range(2)]
        assert torch.equal(*found), student


def test_products_are_computed_in_less_than_float32_and_losses_are_not(digits: Task, at: Place) -> None:
    seen: dict[str, torch.dtype] = {}
    model = build_student("cnn", digits)
    layer = next(module for module in model.modules() if isinstance(module, nn.Conv2d))

    def note(module: nn.Module, given: object, found: torch.Tensor) -> None:
        seen.setdefault(str(module.training), found.dtype)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen["loss"] = outputs.dtype
        return nn.functional.cross_entropy(outputs, targets)

    layer.register_forward_hook(note)
    ours = replace(lessons_of(digits), goal=replace(CLASSES, loss=loss))
    train(Pruned(model), ours, digits.validation, make_recipe(epochs=1), seed=0, hooks=Hooks(), at=at)
    assert at.mixed in (torch.bfloat16, torch.float16)
    assert seen == {"True": at.mixed, "loss": torch.float32, "False": torch.float32}


def test_gradients_of_float16_are_scaled(digits: Task, at: Place) -> None:
    model = trained_at(digits, replace(at, mixed=torch.float16))
    assert module_quality(model, digits.validation) > 0.9


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_learns_there(name: str, digits: Task, at: Place) -> None:
    rate = {"sgd": 0.1, "rmsprop": 1e-3, "lion": 1e-3, "adafactor": 2e-2}.get(name, 5e-3)
    model = trained_at(digits, at, optimizer=name, learning_rate=rate, schedule="cosine")
    assert module_quality(model, digits.validation) > 0.85


def test_those_that_torch_has_fused_are_fused(digits: Task, at: Place) -> None:
    model = build_student("cnn", digits).to(at.device)
    for name in ("sgd", "adam", "adamw"):
        optimizer = OPTIMIZERS[name].build(model, make_recipe(optimizer=name))
        assert all(group["fused"] for group in optimizer.param_groups)


def test_sparse_students_stay_sparse(digits: Task, at: Place) -> None:
    model = build_student("mlp", digits)
    sparse = METHODS["unstructured_magnitude"].prune(model, digits.train.inputs[:8], digits.train.targets[:8], 0.6)
    train(
        sparse,
        lessons_of(digits),
        digits.validation,
        make_recipe(student="mlp", epochs=4),
        seed=0,
        hooks=Hooks(),
        at=at,
    )
    layers = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    share = sum(int((weight == 0).sum()) for weight in layers) / sum(weight.numel() for weight in layers)
    assert share == pytest.approx(0.6, abs=0.01)
    assert {value.device.type for value in model.state_dict().values()} == {"cpu"}


def test_small_data_are_there_once_and_large_ones_travel(
    digits: Task, sentences: Task, at: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(digits, "w", Cache(tmp_path), lambda: lambda inputs: np.zeros((len(inputs), 10), "float32"))
    first = library.lessons_on(at.device)
    assert first.logits.device == at.device
    assert library.lessons_on(at.device) is first
    rows = torch.tensor([5, 2, 7])
    for task in (digits, sentences):
        lessons = lessons_of(task)
        wanted = lessons.take(rows, torch.device("cpu"))
        there = placed(lessons, at.device)
        monkeypatch.setattr(lessons_module, "DEVICE_SHARE", 0.0)
        assert placed(lessons, at.device) is lessons
        monkeypatch.undo()
        for found in (there.take(rows, at.device), lessons.take(rows, at.device)):
            assert all(torch.equal(a.cpu(), b) for a, b in zip(found.inputs, wanted.inputs, strict=True))
            assert torch.equal(found.logits.cpu(), wanted.logits)
            assert torch.equal(found.targets.cpu(), wanted.targets)
            assert found.targets.device == at.device
    near, far = (trained_at(digits, at, epochs=1), None)
    monkeypatch.setattr(lessons_module, "DEVICE_SHARE", 0.0)
    far = trained_at(digits, at, epochs=1)
    assert torch.equal(weights(near), weights(far))


def test_a_training_that_diverges_is_told(digits: Task, at: Place) -> None:
    with pytest.raises(TrialError, match="a smaller one may do"):
        trained_at(digits, at, optimizer="sgd", learning_rate=1e9, warmup=0.0)


def test_a_loss_with_weights_moves_and_what_cannot_move_is_told(digits: Task, at: Place) -> None:
    weighted = nn.CrossEntropyLoss(weight=torch.ones(10))
    trained_at(digits, at, epochs=1, lessons=replace(lessons_of(digits), goal=replace(CLASSES, loss=weighted)))
    assert weighted.weight is not None
    assert weighted.weight.device.type == "cpu"

    class Stays(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) @ torch.ones(64, 10)

    with pytest.raises(TrialError, match="stays on the CPU .*: type device=cpu"):
        train(
            Pruned(nn.Sequential(nn.Conv2d(1, 1, 1), Stays())),
            lessons_of(digits),
            digits.validation,
            make_recipe(epochs=1),
            seed=0,
            hooks=Hooks(),
            at=at,
        )


def test_the_switches_are_as_they_were_afterwards(digits: Task, at: Place) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    trained_at(digits, at, epochs=1)
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark) == before


def test_fake_quantization_is_learned_there(digits: Task, trained: dict[str, nn.Module], at: Place) -> None:
    recipe = make_recipe(quantization="int8_qat", qat_epochs=2)
    for name in ("cnn", "mlp"):
        tuned = train_quantized(
            copy.deepcopy(trained[name]), lessons_of(digits), digits.validation, recipe, seed=0, at=at
        )
        assert {value.device.type for value in tuned.model.state_dict().values()} == {"cpu"}
        assert all(layer.high > layer.low for layer in tuned.learned)
        before = module_quality(trained[name].eval(), digits.validation)
        assert module_quality(tuned.model, digits.validation) >= before - 0.03


def test_a_teacher_is_trained_there_and_its_card_says_so(digits: Task, tmp_path: Path, at: Place) -> None:
    teacher = load_teacher(digits, TeacherOptions(epochs=3), Cache(tmp_path), 0, Hooks(), "cuda")
    assert module_quality(teacher, digits.validation) > 0.9
    (card,) = tmp_path.glob("teachers/*/card.json")
    assert json.loads(card.read_text())["trained_on"] == torch.cuda.get_device_name(0)


@needs_provider
def test_a_session_says_there_what_it_says_on_the_cpu(digits: Task, exported: dict[str, Path]) -> None:
    inputs = digits.validation.inputs.numpy()
    for path in exported.values():
        here, there = (RUNTIMES["onnxruntime"](path, 1, provider)(inputs) for provider in (CPU, CUDA))
        assert np.abs(here - there).max() < 1e-3 * max(1.0, np.abs(here).max())


@needs_provider
def test_a_fresh_process_serves_there(digits: Task, exported: dict[str, Path]) -> None:
    from autoopt.measurements import serve_once
    from autoopt.measurements.process import run_fresh

    with_inputs = exported["cnn"].with_name("inputs.npz")
    np.savez(with_inputs, **{"0 input": digits.validation.inputs.arrays["input"][:1].numpy()})
    words = (str(serve_once.__file__), str(exported["cnn"]), str(with_inputs), "1", "onnxruntime", CUDA)
    assert run_fresh(*words)["load_ms"] > 0


def search(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    small = ["budget.trials=6", "workers=1", "threads=2", "tracking=none", "teacher.epochs=3", "study=s"]
    assert main(["task=digits", f"outputs={folder}", *small, *words]) == 0
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


@pytest.mark.slow
def test_a_whole_search_trains_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search(tmp_path, capsys, "device=cuda", "runtime.provider=cpu")
    cards = [json.loads(path.read_text()) for path in tmp_path.glob("s/trials/*/card.json")]
    trained = [card for card in cards if card["recipe"].get("optimizer")]
    assert trained
    assert {card["facts"].get("trained_on") for card in trained} == {torch.cuda.get_device_name(0)}


@needs_provider
@pytest.mark.slow
def test_a_whole_search_measures_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = search(tmp_path, capsys, "runtime.provider=cuda", "kpis.latency_p95_ms.max_ratio=10")
    cards = [json.loads(path.read_text()) for path in tmp_path.glob("s/trials/*/card.json")]
    assert {card["measured_on"].get("provider") for card in cards} == {CUDA}
    assert {card["measured_on"].get("gpu") for card in cards} == {torch.cuda.get_device_name(0)}
    assert found["champion"] is not None
