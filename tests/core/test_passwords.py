import pytest

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.passwords import masked, masked_values

SECRETS = [
    ("postgresql://me:hunter2@host:5432/db", "postgresql://me:***@host:5432/db"),
    ("postgresql+psycopg2://me:hun:ter2@host/db", "postgresql+psycopg2://me:***@host/db"),
    ("http://me:hunter2/a@host", "http://me:***@host"),
    ("http://me:hunter@2@host/", "http://me:***@host/"),
    ("redis://:hunter2@host", "redis://:***@host"),
    ("http://a:hunter2@x and http://b:hunter2@y", "http://a:***@x and http://b:***@y"),
    ("cannot reach 'http://me:hunter2@host:5000' (timeout)", "cannot reach 'http://me:***@host:5000' (timeout)"),
    ("postgresql://host/db?user=me&password=hunter2&sslmode=require", "postgresql://host/db?user=me&password=***&sslmode=require"),
    ("http://host/?access_token=hunter2#top", "http://host/?access_token=***#top"),
    ("http://host/?API_KEY=hunter2", "http://host/?API_KEY=***"),
]  # fmt: skip
HARMLESS = [
    "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning",
    "sqlite:////home/me/a:b@c/mlflow.db",
    "postgresql://me@host/db",
    "mail me@host: accuracy=0.9",
    "budget.hours=8 tokenizer=x",
]


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_a_password_in_a_url_is_not_shown(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_anything_else_is(text: str) -> None:
    assert masked(text) == text


def test_values_keep_their_shape() -> None:
    raw = {"tracking": {"uri": "http://me:hunter2@host"}, "list": ["a://b:c@d", 1, None], "n": 0.5, "on": True}
    assert masked_values(raw) == {
        "tracking": {"uri": "http://me:***@host"},
        "list": ["a://b:***@d", 1, None],
        "n": 0.5,
        "on": True,
    }


def test_no_error_of_ours_says_a_password() -> None:
    assert str(ConfigError("tracking.uri=ftp://me:hunter2@host")) == "tracking.uri=ftp://me:***@host"
    assert "hunter2" not in one_line(OSError("no http://me:hunter2@host"), len("no http://me:hunter2"))
