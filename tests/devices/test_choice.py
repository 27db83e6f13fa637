"""Which device trains and which provider measures: by what is asked for, and what answers. No GPU is needed."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autoopt.champion import served
from autoopt.champion.model_card import model_card
from autoopt.commands import devices
from autoopt.commands.bench import check, load_task
from autoopt.commands.search import fingerprint
from autoopt.config import load_settings
from autoopt.core import packages
from autoopt.core.errors import ConfigError, TrialError
from autoopt.measurements import serve_once
from autoopt.runtimes import RUNTIMES, providers
from autoopt.runtimes.providers import BEHIND, CPU, CUDA, TENSORRT, chosen, machine_of
from autoopt.tasks import Task
from autoopt.training import place
from autoopt.training.divergence import Losses
from autoopt.training.place import HERE, place_of
from tests.champion.test_card import card
from tests.champion.test_serving import content_of
from tests.conftest import lessons_of, make_recipe

Answer = Callable[..., None]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Pretend that these providers answer, and no others."""
    return lambda *names: monkeypatch.setattr(providers, "answers", lambda name: name in (*names, CPU))


def test_auto_trains_on_a_gpu_where_torch_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_mixed", lambda number: torch.bfloat16)
    for there, asked, found in (
        (0, "auto", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ):
        monkeypatch.setattr(place, "gpus", lambda there=there: there)
        assert str(place_of(asked).device) == found


def test_a_gpu_that_is_not_there_is_told_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "gpus", lambda: 0)
    with pytest.raises(ConfigError, match="^device=cuda: torch .* sees no CUDA GPU on this machine: type device=cpu"):
        place_of("cuda")
    monkeypatch.setattr(place, "gpus", lambda: 1)
    with pytest.raises(ConfigError, match="^device=cuda:3: this machine has cuda:0 alone: type device=cuda:0$"):
        place_of("cuda:3")


def test_the_cpu_trains_in_float32_and_reads_each_loss() -> None:
    assert (HERE.is_cpu, HERE.mixed, HERE.checked_steps, HERE.facts) == (True, None, 1, {})
    assert not HERE.scaler().is_enabled()


def test_losses_are_read_so_many_at_once_and_one_that_is_no_number_ends_the_training() -> None:
    losses = Losses(0, make_recipe(), at_once=3)
    for loss in (1.0, 2.0):
        losses.add(torch.tensor(loss))
    assert losses.read == []
    losses.add(torch.tensor([3.0]))  # as a loss of the user's may be
    losses.add(torch.tensor(torch.nan))
    assert losses.read == [1.0, 2.0, 3.0]
    with pytest.raises(TrialError, match=r"the loss became nan in epoch 1 of 2, under adamw .*: a smaller one may do"):
        losses.catch_up()


def test_what_keeps_a_part_on_the_cpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(TrialError, match=r"a part of the model or of its loss stays on the CPU .*: type device=cpu$"),
        place._told(torch.device("cpu")),
    ):
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices")
    with pytest.raises(RuntimeError, match="^shapes differ$"), place._told(torch.device("cpu")):
        raise RuntimeError("shapes differ")


def test_batches_of_sequences_are_cut_alike_wherever_they_are(sentences: Task) -> None:
    lessons, rows = lessons_of(sentences), torch.tensor([3, 0])
    inputs = lessons.split.inputs
    taken = inputs.cut(inputs.arrays_at(rows), rows)
    assert torch.equal(next(iter(taken)), next(iter(lessons.take(rows, HERE.device).inputs)))
    assert inputs.lengths is not None
    assert next(iter(taken)).shape[1] == int(inputs.lengths[rows].max())


def test_auto_measures_on_the_first_provider_that_answers(answer: Answer) -> None:
    for there, found in (((), CPU), ((CUDA,), CUDA), ((CUDA, TENSORRT), TENSORRT)):
        answer(*there)
        assert chosen("auto") == found
        assert chosen("cpu") == CPU
    answer(CUDA)
    with pytest.raises(ConfigError, match=r"^runtime.provider=tensorrt: .*, where cuda and cpu can be had: type "):
        chosen("tensorrt")


def test_a_provider_that_is_listed_and_cannot_compute_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of onnxruntime-gpu on a machine without a GPU: it would take the CPU without saying so."""
    monkeypatch.setattr(providers.onnxruntime, "get_available_providers", lambda: list(providers.PROVIDERS.values()))
    if not torch.cuda.is_available():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # onnxruntime itself is not deceived
            assert not providers.answers.__wrapped__(CUDA)
    assert providers.answers.__wrapped__(CPU)


def test_a_session_that_would_run_on_the_cpu_is_refused(exported: dict[str, Path]) -> None:
    if providers.answers(CUDA):
        pytest.skip("CUDA answers here")
    unknown = pytest.warns(UserWarning, match="CUDAExecutionProvider")
    with unknown, pytest.raises(TrialError, match="CUDAExecutionProvider cannot be loaded"):
        RUNTIMES["onnxruntime"](exported["mlp"], 1, CUDA)


def test_those_who_stand_alone_ask_for_the_same_providers() -> None:
    assert dict(BEHIND) == serve_once.PROVIDERS == {**served.PROVIDERS, CPU: serve_once.PROVIDERS[CPU]}


def test_a_gpu_is_part_of_the_conditions_and_the_cpu_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "gpu_name", lambda: "NVIDIA H100")
    assert machine_of(CPU) == {}
    assert machine_of(CUDA) == {"provider": "cuda", "gpu": "NVIDIA H100"}


def test_a_study_on_the_cpu_is_the_one_from_before(tmp_path: Path, answer: Answer) -> None:
    settings = load_settings([f"outputs={tmp_path}", "task=digits"])
    task = load_task(settings)
    assert fingerprint(settings, task, "w")["runtime"] == {"name": "onnxruntime", "threads": 1}
    answer(CUDA)
    assert fingerprint(settings, task, "w")["runtime"] == {"name": "onnxruntime", "threads": 1, "provider": "cuda"}


def test_what_is_not_here_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "gpus", lambda: 0)
    monkeypatch.setattr(providers, "answers", lambda name: name == CPU)
    for word in ("device=cuda", "runtime.provider=cuda"):
        settings = load_settings([f"outputs={tmp_path}", "task=digits", word])
        with pytest.raises(ConfigError, match=f"^{word}: "):
            check(settings, load_task(settings))


def test_openvino_has_no_provider_to_choose(tmp_path: Path) -> None:
    where = f"outputs={tmp_path}"
    assert load_settings([where, "runtime=openvino"]).provider == CPU
    assert load_settings([where, "runtime=[openvino,onnxruntime]", "runtime.provider=cuda"]).provider == CUDA


def test_onnxruntime_may_be_installed_as_its_build_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.distribution_of("torch") == "torch"
    monkeypatch.setattr(packages, "_known", lambda package: False)
    assert packages.distribution_of("onnxruntime") == "onnxruntime-gpu"


def test_a_model_measured_on_a_gpu_is_served_by_the_cpu_with_a_warning_where_there_is_none(
    digits: Task, exported: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "source" / "model.onnx"
    source.parent.mkdir()
    source.write_bytes(exported["mlp"].read_bytes())
    content = content_of(digits, source, tmp_path)
    expected = served.Served(content).predict(digits.validation.inputs.arrays["input"][:4].numpy())
    about = json.loads((content / served.FILE).read_text())
    assert "provider" not in about, "of the CPU the file is what it was"
    (content / served.FILE).write_text(json.dumps({**about, "provider": CUDA}))
    if providers.answers(CUDA):
        pytest.skip("CUDA answers here")
    with pytest.warns(UserWarning, match=r"measured on cuda, which is not here: the CPU serves it \(onnxruntime"):
        found = served.Served(content).predict(digits.validation.inputs.arrays["input"][:4].numpy())
    assert found.equals(expected)


def test_the_card_names_provider_and_gpu(
    digits: Task, exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = card(digits, exported["mlp"], "onnxruntime")
    assert "provider" not in made["measured_on"]
    on = {**made["measured_on"], "provider": CUDA, "gpu": "NVIDIA H100"}
    text = model_card({**made, "measured_on": on})
    assert "on a GPU by cuda, 1 thread(s) a call" in text
    assert f"Speed was measured on NVIDIA H100 beside {on['cpu']}" in text


def test_the_doctor_says_what_trains_and_what_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "gpus", lambda: 0)
    monkeypatch.setattr(devices, "gpus", lambda: 0)
    for module in (providers, devices):
        monkeypatch.setattr(module, "answers", lambda name: name == CPU)
    settings = load_settings([f"outputs={tmp_path}"])
    said, advice = devices.in_words(settings)
    assert "trains on the CPU (device=auto; torch" in said
    assert "sees no GPU); measures on the CPU (runtime.provider=auto; onnxruntime has cpu)" in said
    assert advice == ""
    monkeypatch.setattr(devices, "gpus", lambda: 1)
    assert "install onnxruntime-gpu" in devices.in_words(replace(settings, device="cpu"))[1]
