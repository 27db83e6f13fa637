from typing import Any

import pytest

from autoopt.compose import compose_config
from autoopt.config_space import needs
from autoopt.core.errors import ConfigError
from autoopt.core.space import Range
from autoopt.core.space_parsing import check_complete, parse_knob, parse_space


def test_ranges_end_where_their_steps_do() -> None:
    assert parse_knob("width", {"low": 0.5, "high": 1.9, "step": 0.5}) == Range(0.5, 1.5, step=0.5)
    assert parse_knob("epochs", {"low": 2, "high": 5}) == Range(2, 5, whole=True)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("temperature", 0, r"temperature=0 is not allowed: in \[0.001, 1000\]"),
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
        ({"learning_rate": {"adamw": 1e-3, "teacher": {}}}, "space.learning_rate.teacher={} is empty"),
    ],
)
def test_an_incomplete_space_says_what_is_missing(change: dict[str, Any], message: str) -> None:
    raw = {**compose_config([])["space"], **change}
    with pytest.raises(ConfigError, match=message):
        check_complete(parse_space(raw, needs()))
