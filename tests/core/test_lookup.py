import pytest

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import lookup


def test_a_known_name_gives_its_row() -> None:
    assert lookup({"a": 1}, "a", "letter") == 1


def test_a_near_name_is_suggested_and_all_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        lookup({"int8_static": 1, "none": 2}, "int8_statc", "scheme")
    assert str(caught.value) == "unknown scheme 'int8_statc'. Did you mean 'int8_static'? Known: int8_static, none"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(ConfigError, match="'zzz'. Known: none"):
        lookup({"none": 2}, "zzz", "scheme")
