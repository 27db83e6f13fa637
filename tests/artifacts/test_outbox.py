"""What a store does not take is not lost, whatever becomes of the file that it was."""

import shutil
from pathlib import Path

import pytest

from autoopt.artifacts import trouble
from autoopt.artifacts.outbox import Outbox
from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import StoreError
from autoopt.core.artifact import sha256


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(Store(str(tmp_path / "shared")), tmp_path / "unsent")


def model(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).write_text(f"the model {name}")
    return tmp_path / name


def test_what_is_taken_leaves_nothing_behind(outbox: Outbox, tmp_path: Path) -> None:
    path = model(tmp_path, "a")
    assert outbox.send(path) == sha256(path)
    assert outbox.store.has(sha256(path))
    assert not outbox.folder.exists()


@pytest.mark.parametrize("linked", [True, False])
def test_what_is_not_taken_goes_with_the_next_one(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, linked: bool
) -> None:
    if not linked:

        def refuse(*paths: Path) -> None:
            raise OSError("no links here")

        monkeypatch.setattr("autoopt.artifacts.outbox.os.link", refuse)
    (tmp_path / "shared").write_text("in the place of the store")
    first, second = (outbox.send(model(tmp_path, name)) for name in "ab")
    outbox.send(tmp_path / "b")  # twice the same
    assert "2 models wait to be shared: artifacts.uri=" in caplog.text
    for name in "ab":
        (tmp_path / name).unlink()
    with pytest.raises(StoreError):
        outbox.flush()
    (tmp_path / "shared").unlink()
    another_process = Outbox(Store(outbox.store.uri), outbox.folder)
    another_process.send(model(tmp_path, "c"))
    assert outbox.store.has(first)
    assert outbox.store.has(second)
    assert list(outbox.folder.iterdir()) == []


def test_half_of_a_file_is_never_sent(outbox: Outbox, tmp_path: Path) -> None:
    path = model(tmp_path, "a")
    outbox.folder.mkdir()
    shutil.copyfile(path, outbox.folder / f"{sha256(path)}.a1b2")  # a kill came while it was written
    (outbox.folder / ("0" * 64)).write_text("of another content")
    outbox.flush()
    assert not (tmp_path / "shared").exists()
    assert [file.suffix for file in outbox.folder.iterdir()] == [".a1b2"]
