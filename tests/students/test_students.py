"""Contract of every student."""

import pytest
import torch
from torch import nn

from autoopt.students import STUDENTS


@pytest.fixture(params=sorted(STUDENTS))
def student(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(name: str, width: float = 1.0, shape: tuple[int, ...] = (1, 28, 28)) -> nn.Module:
    return STUDENTS[name].build(shape, 7, width)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 40)])
def test_it_maps_inputs_to_logits(student: str, shape: tuple[int, ...]) -> None:
    assert build(student, shape=shape).eval()(torch.rand(5, *shape)).shape == (5, 7)


def test_width_makes_it_bigger(student: str) -> None:
    sizes = [sum(p.numel() for p in build(student, width).parameters()) for width in (0.5, 1.0, 2.0)]
    assert sizes == sorted(set(sizes))


def test_the_same_seed_gives_the_same_weights(student: str) -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build(student))
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_it_learns(student: str, trained: dict[str, nn.Module], digits) -> None:
    with torch.no_grad():
        accuracy = (trained[student](*digits.validation.inputs).argmax(1) == digits.validation.targets).float().mean()
    assert accuracy > 0.9
