import pytest
import yaml

from autoopt.core.errors import ConfigError
from autoopt.core.recipe import BASELINE, Recipe


def test_yaml_round_trip_keeps_every_field() -> None:
    recipe = Recipe(
        "cnn", "none", "int8_static", width=1.5, epochs=3, nesterov=False, learning_rate=1e-5, calibration="minmax"
    )
    assert Recipe.from_dict(yaml.safe_load(recipe.to_yaml())) == recipe


def test_fields_that_do_not_apply_are_left_out() -> None:
    assert BASELINE.to_dict() == {"student": "teacher", "pruning": "none", "quantization": "none", "epochs": 0}


def test_fingerprint_is_equal_for_equal_recipes_and_differs_else() -> None:
    assert Recipe("cnn", "none", "fp16").fingerprint == Recipe("cnn", "none", "fp16").fingerprint
    assert Recipe("cnn", "none", "fp16").fingerprint != Recipe("cnn", "none", "none").fingerprint
    assert len({Recipe("cnn", "none", "fp16"), Recipe("cnn", "none", "fp16")}) == 1


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(ConfigError, match="'studnt'.*Did you mean 'student'"):
        Recipe.from_dict({"studnt": "cnn"})
    with pytest.raises(ConfigError, match="lacks pruning, quantization"):
        Recipe.from_dict({"student": "cnn"})
