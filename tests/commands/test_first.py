from pathlib import Path

from autoopt.commands.bench import load_task, narrow
from autoopt.commands.first import first_recipes
from autoopt.config import load_settings
from autoopt.core.recipe import Recipe
from autoopt.core.space import parameters


def first(tmp_path: Path, *overrides: str) -> list[Recipe]:
    settings = load_settings(["task=digits", f"outputs={tmp_path}", *overrides])
    space = narrow(settings, load_task(settings))
    recipes = first_recipes(space)
    assert all(parameters(space, recipe) is not None for recipe in recipes)
    return recipes


def test_quantized_teachers_come_first_then_each_student_then_the_teacher_with_most_epochs(tmp_path: Path) -> None:
    recipes = first(tmp_path)
    assert [(r.student, r.quantization, r.epochs) for r in recipes] == [
        ("teacher", "int8_static", 0),
        ("teacher", "int8_dynamic", 0),
        ("teacher", "fp16", 0),
        ("teacher", "int8_static", 1),
        ("cnn", "int8_static", 8),
        ("mlp", "int8_static", 8),
        ("teacher", "int8_static", 4),
    ]


def test_the_teacher_under_a_scheme_that_trains_waits_for_the_sampler(tmp_path: Path) -> None:
    recipes = first(tmp_path, "space.quantization=[fp16,int8_qat]", "space.student=[teacher,cnn]")
    assert [(r.student, r.quantization) for r in recipes] == [
        ("teacher", "fp16"),
        ("teacher", "fp16"),
        ("cnn", "fp16"),
        ("teacher", "fp16"),
    ]


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    recipes = first(tmp_path, "space.epochs=3", "space.student=[teacher,cnn]")
    assert len(recipes) == len(set(recipes)) == 5


def test_without_the_teacher_there_are_the_students(tmp_path: Path) -> None:
    assert [recipe.student for recipe in first(tmp_path, "space.student=[cnn,mlp]")] == ["cnn", "mlp"]


def test_a_space_without_training_has_quantized_teachers_alone(tmp_path: Path) -> None:
    assert {recipe.epochs for recipe in first(tmp_path, "space=quantize_only")} == {0}


def test_the_teacher_is_tried_under_each_runtime_and_scheme(tmp_path: Path) -> None:
    recipes = first(tmp_path, "runtime=[onnxruntime,openvino]", "space.quantization=[fp16,none]")
    teachers = [(r.runtime, r.quantization) for r in recipes if not r.is_trained]
    assert teachers == [("onnxruntime", "fp16"), ("openvino", "fp16"), ("openvino", "none")], "one is the baseline"
    assert {r.runtime for r in recipes if r.is_trained} == {"onnxruntime"}, "their siblings are under the other"
