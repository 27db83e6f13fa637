import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from autoopt.artifacts.cache import Cache
from autoopt.core.errors import ConfigError
from autoopt.core.sealed import is_whole
from autoopt.tasks import Task
from autoopt.training.loop import Hooks, module_quality
from autoopt.training.teacher import TeacherOptions, load_teacher, module_fingerprint
from tests.damage import damages


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_teacher_is_trained_once_and_cached_with_a_card(digits: Task, cache: Path) -> None:
    first = load_teacher(digits, TeacherOptions(epochs=2), Cache(cache), 0, Hooks())
    (card,) = [json.loads(path.read_text()) for path in (cache / "teachers").glob("*/card.json")]
    assert card["validation_accuracy"] == module_quality(first, digits.validation) > 0.8
    assert card["data"] == digits.fingerprint

    def fail() -> bool:
        raise AssertionError("trained again")

    second = load_teacher(digits, TeacherOptions(epochs=2), Cache(cache), 0, Hooks(should_stop=fail))
    assert module_fingerprint(first) == module_fingerprint(second)


def test_other_options_give_another_teacher(digits: Task, cache: Path) -> None:
    one, two = (
        load_teacher(digits, TeacherOptions(epochs=1, learning_rate=lr), Cache(cache), 0, Hooks())
        for lr in (1e-3, 2e-3)
    )
    assert module_fingerprint(one) != module_fingerprint(two)


def test_a_checkpoint_wins(digits: Task, cache: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = digits.build_teacher()
    save_file(
        {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()},
        tmp_path / "own.safetensors",
    )
    loaded = load_teacher(digits, TeacherOptions(checkpoint=tmp_path / "own.safetensors"), Cache(cache), 0, Hooks())
    assert torch.allclose(next(loaded.parameters()), next(model.parameters()), atol=1e-3)


@pytest.mark.parametrize("content", [b"no safetensors at all", None])
def test_weights_that_do_not_fit_are_refused(digits: Task, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.safetensors"
    if content is None:
        save_file({"other.weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="does not hold the weights of task digits's teacher"):
        load_teacher(digits, TeacherOptions(checkpoint=path), Cache(tmp_path), 0, Hooks())


@pytest.mark.slow
def test_damage_of_a_cached_teacher_is_noticed_and_repaired(
    digits: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = module_fingerprint(load_teacher(digits, TeacherOptions(epochs=1), Cache(tmp_path), 0, Hooks()))
    for path in damages(tmp_path):
        if path.suffix == ".safetensors" or not path.is_file():  # each way costs a training
            caplog.clear()
            again = load_teacher(digits, TeacherOptions(epochs=1), Cache(tmp_path), 0, Hooks())
            assert module_fingerprint(again) == before, path
            assert f"{path} is damaged: it is made again" in caplog.text
        else:
            assert not is_whole(path.parent)


@pytest.mark.parametrize("kind", ["pickle", "half", "header", "dtype", "folder", "empty"])
def test_a_hostile_checkpoint_is_refused_in_one_line(kind: str, digits: Task, tmp_path: Path) -> None:
    path, state = tmp_path / "bad.safetensors", digits.build_teacher().state_dict()
    save_file(state, path)
    whole = path.read_bytes()
    if kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "pickle":
        torch.save(state, path)
    else:
        half, header = whole[: len(whole) // 2], b"\xff" * 8 + whole[8:]
        path.write_bytes({"half": half, "header": header, "dtype": whole.replace(b"F32", b"F99"), "empty": b""}[kind])
    with pytest.raises(ConfigError, match="does not hold the weights of task digits's teacher") as caught:
        load_teacher(digits, TeacherOptions(checkpoint=path), Cache(tmp_path), 0, Hooks())
    assert "\n" not in str(caught.value)
    assert "type teacher.checkpoint=FILE.safetensors" in str(caught.value)


def test_without_weights_and_epochs_it_says_what_to_type(digits: Task, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher.checkpoint=FILE.safetensors, or teacher.epochs=N"):
        load_teacher(digits, TeacherOptions(), Cache(tmp_path), 0, Hooks())
