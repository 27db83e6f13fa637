"""Contract of every pruning method."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoopt.core.errors import TrialError
from autoopt.pruning import METHODS, Pruned
from autoopt.pruning.structured import attention_blocks
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import Task

STRUCTURED = [name for name, row in METHODS.items() if row.knobs == ("pruning_ratio",)]
UNSTRUCTURED = [name for name, row in METHODS.items() if row.knobs == ("sparsity",)]


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def prune(method: str, model: nn.Module, digits: Task, amount: float) -> Pruned:
    return METHODS[method].prune(copy.deepcopy(model), digits.train.inputs[:64], digits.train.targets[:64], amount)


def zeros(model: nn.Module) -> float:
    weights = [m.weight for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def test_every_method_is_of_one_kind() -> None:
    assert {"none", "depth", *STRUCTURED, *UNSTRUCTURED} == set(METHODS)


@pytest.mark.parametrize("student", ["cnn", "mlp"])
@pytest.mark.parametrize("method", STRUCTURED)
def test_structured_methods_make_tensors_smaller(
    method: str, student: str, digits: Task, trained: dict[str, nn.Module]
) -> None:
    half = prune(method, trained[student], digits, 0.5).model
    more = prune(method, trained[student], digits, 0.75).model
    assert size(more) < size(half) < 0.6 * size(trained[student])
    assert half(*digits.train.inputs[:3]).shape == (3, 10)


@pytest.mark.parametrize("method", STRUCTURED)
def test_structured_methods_shrink_the_residual_teacher_as_a_whole(method: str, digits: Task) -> None:
    torch.manual_seed(0)
    teacher = digits.build_teacher()
    pruned = prune(method, teacher, digits, 0.5).model
    assert size(pruned) < 0.3 * size(teacher)
    assert pruned.eval()(*digits.train.inputs[:3]).shape == (3, 10)


def widths(model: nn.Module) -> list[int]:
    return [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("method", STRUCTURED)
def test_a_higher_ratio_never_leaves_a_layer_wider(method: str, digits: Task) -> None:
    torch.manual_seed(0)
    teacher = digits.build_teacher()
    before = widths(teacher)
    for amount in (0.1, 0.3, 0.5, 0.7, 0.85, 0.9, 0.95, 0.99):
        after = widths(prune(method, teacher, digits, amount).model)
        assert all(b <= a for a, b in zip(before, after, strict=True))
        assert all(width % 8 == 0 and width > 0 for width in after)
        before = after
    assert set(before) == {8}


@pytest.mark.parametrize("amount", [0.25, 0.5])
@pytest.mark.parametrize("method", STRUCTURED)
def test_an_encoder_loses_heads_and_inner_width(method: str, amount: float, sentences: Task, tmp_path: Path) -> None:
    teacher = sentences.build_teacher().eval()
    inputs, targets = sentences.train.inputs[:64], sentences.train.targets[:64]
    model = METHODS[method].prune(copy.deepcopy(teacher), inputs, targets, amount).model.eval()
    for before, after in zip(attention_blocks(teacher), attention_blocks(model), strict=True):
        assert after.attention_head_size == before.attention_head_size
        assert after.num_attention_heads == before.num_attention_heads * (1 - amount)
        assert after.query.out_features == after.num_attention_heads * after.attention_head_size
        assert after.query.in_features == before.query.in_features
    inner = [max(m.out_features for m in x.modules() if isinstance(m, nn.Linear)) for x in (teacher, model)]
    assert inner[1] == inner[0] * (1 - amount)
    export(model, sentences.validation.inputs[:2], tmp_path / "model.onnx")
    run = RUNTIMES["onnxruntime"](tmp_path / "model.onnx", 1)
    with torch.no_grad():
        assert np.allclose(run(inputs.numpy()), model(*inputs).numpy(), atol=1e-4)


class HeadFirst(nn.Module):
    """Registers its head before what runs before it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(32, 10)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


CONVOLUTIONS = nn.Sequential(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
)


@pytest.mark.parametrize("model", [HeadFirst(), CONVOLUTIONS], ids=["head first", "convolutions alone"])
@pytest.mark.parametrize("method", STRUCTURED)
def test_the_outputs_stay_wherever_the_head_is(method: str, model: nn.Module, digits: Task) -> None:
    pruned = prune(method, model, digits, 0.5).model
    assert pruned(*digits.train.inputs[:3]).shape == (3, 10)
    assert size(pruned) < size(model)


def test_taylor_and_magnitude_choose_different_channels(digits: Task, trained: dict[str, nn.Module]) -> None:
    outputs = [
        prune(method, trained["cnn"], digits, 0.5).model.eval()(*digits.train.inputs[:3]) for method in STRUCTURED
    ]
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("method", STRUCTURED)
def test_a_pruning_that_removes_nothing_fails_the_trial(method: str, digits: Task) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(TrialError, match="removed nothing"):
        prune(method, linear, digits, 0.5)


@pytest.mark.parametrize("amount", [0.5, 0.9])
@pytest.mark.parametrize("method", UNSTRUCTURED)
def test_unstructured_methods_reach_their_sparsity_gradually(
    method: str, amount: float, digits: Task, trained: dict[str, nn.Module]
) -> None:
    pruned = prune(method, trained["cnn"], digits, amount)
    reached = []
    for step in range(21):
        pruned.advance(step / 20)
        reached.append(zeros(pruned.model))
    assert reached == sorted(reached)
    assert reached[0] == pytest.approx(0, abs=1e-3)
    assert 0.3 * amount < reached[4] < amount
    assert reached[round(20 * pruned.settled_at)] == pytest.approx(amount, abs=0.01)
    pruned.finish()
    assert zeros(pruned.model) == pytest.approx(amount, abs=0.01)
    assert size(pruned.model) == size(trained["cnn"])
    assert not [name for name, _ in pruned.model.named_buffers() if "mask" in name]


@pytest.mark.parametrize("method", UNSTRUCTURED)
def test_masks_hold_while_training(method: str, digits: Task, trained: dict[str, nn.Module]) -> None:
    pruned = prune(method, trained["cnn"], digits, 0.8)
    pruned.advance(1.0)
    optimizer = torch.optim.SGD(pruned.model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(pruned.model(*digits.train.inputs[:64]), digits.train.targets[:64]).backward()
        optimizer.step()
    pruned.finish()
    assert zeros(pruned.model) == pytest.approx(0.8, abs=0.01)


def test_none_changes_nothing(digits: Task, trained: dict[str, nn.Module]) -> None:
    pruned = prune("none", trained["cnn"], digits, 0.0)
    pruned.advance(0.5)
    pruned.finish()
    assert all(torch.equal(a, b) for a, b in zip(pruned.model.parameters(), trained["cnn"].parameters(), strict=True))
