import random
import warnings
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution

from autoopt.compose import compose_config
from autoopt.config_space import needs
from autoopt.core.errors import ConfigError
from autoopt.core.recipe import BASELINE, TEACHER, Recipe
from autoopt.core.siblings import baseline, quantized, siblings
from autoopt.core.space import Choice, Per, Range, Space, Value, contains, draw, parameters, restrict, trains, typical
from autoopt.core.space_parsing import check_complete, parse_space


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


def test_any_knob_may_be_given_by_student() -> None:
    raw = {**compose_config([])["space"], "temperature": {"teacher": 4.0, "cnn": [1.0, 2.0], "mlp": 3.0}}
    space = parse_space(raw, needs())
    check_complete(space)
    assert [typical(space, student).temperature for student in ("teacher", "cnn", "mlp")] == [4.0, 1.0, 3.0]


def test_a_student_may_have_cases_of_its_own() -> None:
    own = {"adamw": 1e-3, "sgd": 0.1, "teacher": {"adamw": [1e-4, 1e-5]}}
    raw = {"student": ["mlp", "teacher"], "pruning": ["structured_magnitude"], "pruning_ratio": 0.5, "width": 1.0}
    raw |= {"optimizer": ["adamw", "sgd"], "epochs": 1, "quantization": "none"}
    space = parse_space({**raw, "learning_rate": own}, needs())
    rates = {(r.student, r.optimizer): r.learning_rate for r in (sample(space, seed) for seed in range(60))}
    assert {key: rate for key, rate in rates.items() if key != ("teacher", "adamw")} == {
        ("mlp", "adamw"): 1e-3,
        ("mlp", "sgd"): 0.1,
        ("teacher", "sgd"): 0.1,
    }
    assert rates["teacher", "adamw"] in (1e-4, 1e-5)
    assert "learning_rate[teacher, adamw]" in (parameters(space, typical(space, "teacher")) or {})


def test_the_typical_recipe_takes_first_values_and_middles(full: Space) -> None:
    recipe = typical(full, "cnn")
    assert (recipe.width, recipe.epochs, recipe.optimizer, recipe.quantization) == (1.5, 11, "adamw", "int8_static")
    assert recipe.learning_rate == pytest.approx((5e-4 * 1e-2) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(("where", "epochs"), [("low", 2), ("middle", 3), ("high", 4)])
def test_a_typical_recipe_may_take_few_or_many_epochs(full: Space, where: str, epochs: int) -> None:
    recipe = typical(full, "teacher", where)
    assert (recipe.pruning, recipe.pruning_ratio, recipe.epochs) == ("structured_magnitude", 0.5, epochs)
    assert replace(recipe, epochs=3) == typical(full, "teacher")


@given(seed=st.integers(0, 10_000))
def test_siblings_differ_in_scheme_and_calibration_alone(full: Space, seed: int) -> None:
    recipe = sample(full, seed)
    found = siblings(full, recipe)
    schemes = {(other.quantization, other.calibration) for other in [recipe, *found]}
    assert len(schemes) == len(found) + 1 == 5 + 3
    for other in found:
        assert replace(other, quantization=recipe.quantization, calibration=recipe.calibration) == recipe
        assert parameters(full, other) is not None


def test_under_several_runtimes_the_weights_are_served_by_each(full: Space) -> None:
    both = Space({**full.knobs, "runtime": Choice(("onnxruntime", "openvino"))}, full.needs)
    recipe = replace(typical(both, "cnn"), runtime="openvino")
    found = siblings(both, recipe)
    assert parameters(both, recipe) is not None
    assert parameters(both, replace(recipe, runtime=None)) is None, "it says by what it is served"
    assert len(found) == 2 * (len(siblings(full, typical(full, "cnn"))) + 1) - 1
    assert replace(recipe, runtime="onnxruntime") in found
    assert recipe not in found
    assert {other.runtime for other in found} == {"onnxruntime", "openvino"}


def test_the_baseline_is_served_by_the_first_runtime(full: Space) -> None:
    assert baseline(full) == BASELINE
    both = Space({**full.knobs, "runtime": Choice(("openvino", "onnxruntime"))}, full.needs)
    assert baseline(both) == replace(BASELINE, runtime="openvino")
    assert parameters(both, baseline(both)) is not None


def test_siblings_keep_to_what_the_student_is_left_with(full: Space) -> None:
    offered = {"teacher": ("none",), "cnn": ("none", "int8_static"), "mlp": ("none", "fp16", "int8_dynamic")}
    narrowed = restrict(full, offered)
    recipe = replace(typical(full, "mlp"), quantization="fp16", calibration=None)
    assert [other.quantization for other in siblings(narrowed, recipe)] == ["int8_dynamic", "none"]
    assert siblings(narrowed, typical(narrowed, "teacher")) == []


def test_a_space_of_the_unpruned_teacher_alone_trains_nothing(full: Space) -> None:
    assert trains(full)
    assert not trains(parse_space(compose_config(["space=quantize_only"])["space"], needs()))
    teacher = {**full.knobs, "student": Choice((TEACHER,))}
    assert trains(Space(teacher, full.needs))
    assert not trains(Space({**teacher, "pruning": Choice(("none",))}, full.needs))


@pytest.mark.parametrize("step", [0.05, 0.1, 1 / 3, 0.01234567])
def test_what_lies_on_a_step_stays_there(step: float) -> None:
    """Optuna refuses a value beside the grid, and so does a space."""
    knob = Range(0.1, 0.1 + 7 * step, step=step)
    fixed = {"student": Choice(("cnn",)), "pruning": Choice(("none",)), "quantization": Choice(("none",))}
    space = Space({**fixed, "width": knob}, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Optuna may take the last step for half a step too far
        wanted = FloatDistribution(knob.low, knob.high + 1e-12, step=step)
    for steps in range(7):
        width = draw(space, lambda *_, steps=steps: 0.1 + steps * step).width
        assert wanted._contains(width)
        assert contains(knob, width)
    assert not contains(knob, 0.1 + 0.5 * step)


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


def test_contains_holds_the_ends() -> None:
    knob = Range(0.1, 0.9)
    assert contains(knob, 0.1)
    assert contains(knob, 0.9)
    assert not contains(knob, 0.91)
    assert not contains(knob, "0.5")


def test_a_scheme_takes_the_first_choice_of_its_own_knobs_and_each_calibration() -> None:
    space = parse_space(compose_config(["task=onnx"])["space"], needs())
    parent = quantized(space, BASELINE, "int8_static")[1]
    assert (parent.calibration, parent.operators, parent.keep_float) == ("entropy", "all", "none")
    found = siblings(space, parent)
    assert {other.quantization for other in found} == {
        "int8_static",
        "int8_dynamic",
        "fp16",
        "weight_only_int8",
        "weight_only_int4",
        "none",
    }
    assert sum(other.quantization == "int8_static" for other in found) == 2
    assert {other.keep_float for other in found if other.quantization in ("none", "fp16")} == {None}
    assert {other.keep_float for other in found if other.quantization.startswith("weight")} == {"none"}


def test_siblings_vary_one_knob_of_their_scheme_at_a_time() -> None:
    raw = {"student": "teacher", "pruning": "none", "quantization": ["int8_static", "none"]}
    raw |= {"calibration": ["minmax", "entropy"], "float_layers": [0, 2, 4]}
    space = parse_space(raw, needs())
    found = quantized(space, BASELINE, "int8_static")
    assert [(other.calibration, other.float_layers) for other in found] == [
        ("minmax", 0),
        ("entropy", 0),
        ("minmax", 2),
        ("minmax", 4),
    ]
    assert [other.float_layers for other in siblings(space, found[0])] == [0, 2, 4, None]


def test_a_scheme_takes_the_middle_of_a_range_and_the_student_s_own_choices() -> None:
    raw = {"student": ["teacher", "cnn"], "pruning": "none", "quantization": "int8_static", "width": 1.0}
    raw |= {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}
    raw |= {"float_layers": {"low": 0, "high": 4}, "calibration": {"teacher": "entropy", "cnn": ["minmax"]}}
    space = parse_space(raw, needs())
    (found,) = quantized(space, BASELINE, "int8_static")
    assert (found.calibration, found.float_layers) == ("entropy", 2)
    assert parameters(space, found) == {"student": "teacher", "float_layers": 2}


def test_what_a_scheme_trains_is_nobody_s_sibling() -> None:
    raw = {"student": "cnn", "pruning": "none", "quantization": ["int8_qat", "int8_static", "none"], "width": 1.0}
    raw |= {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1, "calibration": "minmax", "qat_epochs": [2, 4]}
    space = parse_space(raw, needs())
    check_complete(space)
    recipe = typical(space, "cnn")
    assert (recipe.quantization, recipe.qat_epochs) == ("int8_qat", 2)
    assert [other.quantization for other in siblings(space, recipe)] == ["int8_static", "none"]
    assert all(other.qat_epochs is None for other in siblings(space, recipe))
    (static,) = quantized(space, recipe, "int8_static")
    assert [other.quantization for other in siblings(space, static)] == ["none"]


def test_where_a_scheme_trains_the_space_says_for_how_long() -> None:
    raw = {"student": "teacher", "pruning": "none", "quantization": ["int8_qat", "none"]}
    with pytest.raises(ConfigError, match=r"space\.qat_epochs is missing: some quantization in the space needs it"):
        check_complete(parse_space(raw, needs()))
