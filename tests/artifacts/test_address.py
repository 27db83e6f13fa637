import sys
from pathlib import Path

import fsspec  # noqa: F401
import pytest

from autoopt.artifacts.address import read_address
from autoopt.config import load_settings
from autoopt.core.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("shared", "{here}/shared"),
        ("./a b/c=d", "{here}/a b/c=d"),
        ("/mnt/shared/", "/mnt/shared"),
        ("file:///mnt/shared/", "file:///mnt/shared"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/prefix/", "s3://bucket/a/prefix"),
        (None, None),
    ],
)
def test_an_address_means_the_same_wherever_it_is_read(
    typed: str | None, read: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_address(typed)
    assert found == (read and read.format(here=tmp_path))
    assert read_address(found) == found


def test_workers_get_it_as_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(["task=digits", "artifacts.uri=shared", f"outputs={tmp_path}"])
    assert settings.raw["artifacts"] == {"uri": str(tmp_path / "shared")}
    assert settings.store is not None
    assert settings.store.uri == str(tmp_path / "shared")
    assert settings.cache.store is settings.store
    assert not (tmp_path / "shared").exists(), "reading a configuration writes nothing"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "artifacts.uri='': a folder, file:///FOLDER, s3://BUCKET/PREFIX, or another address that fsspec knows"),
        (3, "artifacts.uri=3: a folder"),
        (["s3://a"], "a folder, file"),
        ("s3://", "artifacts.uri=s3:// names no place"),
        ("file://shared", "artifacts.uri=file://shared names no place"),
        ("s3:bucket", "artifacts.uri=s3:bucket: a folder"),
        ("ss3://b", "unknown protocol 'ss3': Did you mean 's3'"),
        ("s3://b/p?token=secret", r"s3://b/p\?token=\*\*\* holds a password.*AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_is_no_address_is_told(uri: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        read_address(uri)
    assert "secret" not in str(raised.value)


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        ConfigError, match=r"s3://b needs a package that is not installed: type pip install 'autoopt\[s3\]'"
    ):
        read_address("s3://b")
