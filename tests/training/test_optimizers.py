"""Contract of every optimizer."""

import copy

import pytest
import torch
from torch import nn

from autoopt.compose import compose_config
from autoopt.pruning import Pruned
from autoopt.tasks import Task
from autoopt.training.loop import Hooks, train
from autoopt.training.optimizers import OPTIMIZERS
from tests.conftest import build_student, lessons_of, make_recipe

SPACE = compose_config([])["space"]
VALUES = {
    "momentum": 0.9,
    "nesterov": True,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "schedule": "cosine",
}


def recipe_for(name: str, **more: object):
    own = {knob: VALUES[knob] for knob in OPTIMIZERS[name].knobs}
    low, high = (SPACE["learning_rate"][name][end] for end in ("low", "high"))
    free = dict.fromkeys(VALUES)
    return make_recipe(optimizer=name, learning_rate=(low * high) ** 0.5, **{**free, **own, **more})


@pytest.fixture(params=sorted(OPTIMIZERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fresh(digits: Task) -> nn.Module:
    torch.manual_seed(0)
    return build_student("cnn", digits)


def run(name: str, digits: Task, **more: object) -> tuple[nn.Module, list[float]]:
    model = fresh(digits)
    curve = train(Pruned(model), lessons_of(digits), digits.validation, recipe_for(name, **more), seed=0, hooks=Hooks())
    return model, curve


def test_it_learns_at_the_middle_of_its_range(name: str, digits: Task) -> None:
    model, curve = run(name, digits, epochs=6)
    assert max(curve) > 0.85
    with torch.no_grad():
        assert (
            model(*digits.validation.inputs).argmax(1) == digits.validation.targets
        ).float().mean().item() == pytest.approx(max(curve), abs=1e-6)


def test_it_is_deterministic_under_a_seed(name: str, digits: Task) -> None:
    torch.set_num_threads(1)
    try:
        first, second = run(name, digits, epochs=1)[0], run(name, digits, epochs=1)[0]
    finally:
        torch.set_num_threads(2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


CHANGED = {"momentum": 0.5, "nesterov": False, "beta1": 0.5, "beta2": 0.9, "weight_decay": 1.0}


@pytest.mark.parametrize(
    ("optimizer", "knob"), [(name, knob) for name, row in OPTIMIZERS.items() for knob in row.knobs if knob in CHANGED]
)
def test_each_of_its_knobs_does_something(optimizer: str, knob: str, digits: Task) -> None:
    a, b = stepped(optimizer, digits, {}), stepped(optimizer, digits, {knob: CHANGED[knob]})
    assert any(not torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def stepped(name: str, digits: Task, change: dict[str, object]) -> nn.Module:
    """Eight steps on one batch, without the loop (RAdam trusts its second moment from the sixth on)."""
    model = fresh(digits)
    optimizer = OPTIMIZERS[name].build(model, recipe_for(name, **change))
    getattr(optimizer, "train", lambda: None)()
    for _ in range(8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(*digits.train.inputs[:64]), digits.train.targets[:64]).backward()
        optimizer.step()
    getattr(optimizer, "eval", lambda: None)()
    return copy.deepcopy(model)


def test_the_space_gives_every_optimizer_a_learning_rate() -> None:
    assert set(SPACE["optimizer"]) == set(OPTIMIZERS) == set(SPACE["learning_rate"])


def test_muon_orthogonalises_hidden_matrices_and_leaves_the_rest_to_adamw(digits: Task) -> None:
    model = fresh(digits)
    groups = OPTIMIZERS["muon"].build(model, recipe_for("muon")).param_groups
    muon = {id(p) for group in groups if group["use_muon"] for p in group["params"]}
    others = {id(p) for group in groups if not group["use_muon"] for p in group["params"]}
    assert muon == {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d)}
    assert muon | others == {id(p) for p in model.parameters()}
    assert id(model[-1].weight) in others
