import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compose import compose_config
from autoopt.config import needs
from autoopt.core.errors import ConfigError
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import (
    Choice,
    Per,
    Range,
    Space,
    Value,
    contains,
    draw,
    parameters,
    restrict,
    typical,
)
from autoopt.core.space_parsing import check_complete, parse_knob, parse_space


@pytest.fixture(scope="module")
def full() -> Space:
    return parse_space(compose_config([])["space"], needs())


def sample(space: Space, seed: int) -> Recipe:
    rng = random.Random(seed)

    def answer(parameter: str, knob: Choice | Range) -> Value:
        if isinstance(knob, Choice):
            return rng.choice(knob.values)
        if knob.whole:
            return rng.randint(int(knob.low), int(knob.high))
        if knob.step:
            return knob.low + knob.step * rng.randint(0, round((knob.high - knob.low) / knob.step))
        return rng.uniform(knob.low, knob.high)

    return draw(space, answer)


@given(seed=st.integers(0, 10_000))
def test_every_recipe_drawn_is_found_again_by_its_parameters(full: Space, seed: int) -> None:
    recipe = sample(full, seed)
    answers = parameters(full, recipe)
    assert answers is not None
    assert draw(full, lambda parameter, knob: answers[parameter]) == recipe


@given(seed=st.integers(0, 10_000))
def test_knobs_are_asked_only_where_they_apply(full: Space, seed: int) -> None:
    recipe = sample(full, seed)
    assert (recipe.width is None) == (recipe.student == "teacher")
    assert (recipe.pruning_ratio is None) == (not recipe.pruning.startswith("structured"))
    assert (recipe.sparsity is None) == (recipe.pruning != "unstructured_magnitude")
    assert (recipe.calibration is None) == (recipe.quantization != "int8_static")
    assert (recipe.momentum is None) == (recipe.optimizer not in ("sgd", "rmsprop", "muon"))
    assert (recipe.temperature is None) == (not recipe.distill_weight)
    assert recipe.is_trained != (recipe.student == "teacher" and recipe.pruning == "none")
    assert recipe.is_trained or (recipe.optimizer is None and recipe.learning_rate is None)


def test_a_recipe_outside_of_the_space_has_no_parameters(full: Space) -> None:
    assert parameters(full, Recipe("teacher", "none", "int4_magic")) is None
    assert parameters(full, Recipe("cnn", "none", "none")) is None  # its training is not said
    assert parameters(full, BASELINE) is not None


def test_a_choice_of_one_is_fixed_and_not_asked() -> None:
    space = parse_space({"student": "teacher", "pruning": "none", "quantization": ["none", "fp16"]}, needs())
    asked: list[str] = []

    def answer(parameter: str, knob: Choice | Range) -> Value:
        asked.append(parameter)
        return "fp16"

    assert draw(space, answer) == Recipe("teacher", "none", "fp16")
    assert asked == ["quantization"]


def test_a_knob_by_another_has_a_parameter_for_each_case(full: Space) -> None:
    parameter_names = set(parameters(full, sample(full, 3)) or {})
    assert any(name.startswith("learning_rate[") for name in parameter_names)
    assert any(name.startswith("epochs[") for name in parameter_names)


def test_the_typical_recipe_takes_first_values_and_middles(full: Space) -> None:
    recipe = typical(full, "cnn")
    assert (recipe.width, recipe.epochs, recipe.optimizer, recipe.quantization) == (1.5, 11, "adamw", "int8_static")
    assert recipe.learning_rate == pytest.approx((5e-4 * 1e-2) ** 0.5, rel=1e-5)


def test_restrict_leaves_each_student_what_changes_it() -> None:
    raw = {"student": ["cnn", "mlp"], "pruning": "none", "quantization": ["none", "fp16", "weight_only_int4"]}
    space = restrict(
        Space(parse_space(raw, {}).knobs, {}), {"cnn": ("none", "fp16"), "mlp": ("none", "fp16", "weight_only_int4")}
    )
    knob = space.knobs["quantization"]
    assert isinstance(knob, Per)
    assert knob.cases["cnn"] == Choice(("none", "fp16"))
    assert knob.cases["mlp"] == Choice(("none", "fp16", "weight_only_int4"))


def test_restrict_names_the_student_for_which_nothing_is_left() -> None:
    space = parse_space({"student": ["cnn"], "pruning": "none", "quantization": "weight_only_int4"}, {})
    with pytest.raises(ConfigError, match="changes nothing in student 'cnn': add one of none, fp16"):
        restrict(space, {"cnn": ("none", "fp16")})


def test_ranges_end_where_their_steps_do() -> None:
    assert parse_knob("width", {"low": 0.5, "high": 1.9, "step": 0.5}) == Range(0.5, 1.5, step=0.5)
    assert parse_knob("epochs", {"low": 2, "high": 5}) == Range(2, 5, whole=True)


def test_contains_holds_the_ends() -> None:
    knob = Range(0.1, 0.9)
    assert contains(knob, 0.1)
    assert contains(knob, 0.9)
    assert not contains(knob, 0.91)
    assert not contains(knob, "0.5")


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("temperature", 0, "temperature=0 is not allowed: > 0"),
        ("distill_weight", 1.5, r"distill_weight=1.5 is not allowed: in \[0, 1\]"),
        ("epochs", 2.5, "a whole number"),
        ("epochs", "many", "a whole number"),
        ("student", 3, "a name"),
        ("nesterov", "yes", "true or false"),
        ("width", [], "is empty"),
        ("width", {"low": 2, "high": 1}, "swap them"),
        ("width", {"low": 1}, "write a value, a list of values"),
        ("width", {"low": 1, "high": 2, "stp": 1}, "unknown key 'stp'. Did you mean 'step'"),
        ("width", {"low": 1, "high": 2, "step": 0}, "a number > 0"),
        ("width", {"low": 1, "high": 2, "step": 3}, "at most high - low"),
        ("epochs", {"low": 1, "high": 4, "step": 0.5}, "a whole number is allowed"),
        ("width", {"low": 1, "high": 2, "log": "yes"}, "true or false"),
        ("width", {"low": 1, "high": 2, "log": True, "step": 1}, "log needs"),
        ("optimizer", {"low": 1, "high": 2}, "write a value, a list"),
        ("learning_rate.sgd", -1, "space.learning_rate.sgd=-1 is not allowed"),
    ],
)
def test_a_bad_knob_says_what_is_allowed(name: str, raw: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_knob(name, raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temprature": 3}, "unknown knob space.temprature. Did you mean 'temperature'"),
        ({"student": None}, "space.student is missing"),
        ({"epochs": None}, "space.epochs is missing: every trained student needs it"),
        ({"calibration": None}, "space.calibration is missing: some quantization in the space needs it"),
        ({"learning_rate": {"sgd": 0.1}}, "no values for optimizer 'adamw': add space.learning_rate.adamw"),
        ({"learning_rate": {}}, "is empty"),
    ],
)
def test_an_incomplete_space_says_what_is_missing(change: dict[str, Any], message: str) -> None:
    raw = {**compose_config([])["space"], **change}
    with pytest.raises(ConfigError, match=message):
        check_complete(parse_space(raw, needs()))
