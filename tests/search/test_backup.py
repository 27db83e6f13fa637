"""A study whose database is damaged goes on from its copy."""

import shutil
from pathlib import Path

import pytest

from autoopt.core.errors import ConfigError
from autoopt.search.backup import BROKEN, COPY, DATABASE, back_up, mend
from autoopt.search.budget import Budget
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.study import load_study
from tests.search.table import begin, make_search


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    run_search(make_search(begin(folder), budget=Budget(trials=8)))
    back_up(folder)
    return folder


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    shutil.copytree(searched, tmp_path / "study")
    return tmp_path / "study"


def flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_database_that_was_cut_off_is_put_right(share: float, folder: Path) -> None:
    expected = read_trials(begin(folder))
    content = (folder / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(content[: int(share * len(content))])
    assert read_trials(begin(folder)) == expected
    assert (folder / BROKEN).exists()


@pytest.mark.parametrize("at", [i / 24 for i in range(25)])
def test_no_flipped_byte_changes_a_trial(at: float, folder: Path) -> None:
    expected = read_trials(begin(folder))
    flip(folder / DATABASE, at)
    assert read_trials(begin(folder)) == expected


def test_a_record_that_was_changed_is_noticed(folder: Path) -> None:
    """Which SQLite itself cannot know."""
    expected = read_trials(begin(folder))
    content = (folder / DATABASE).read_bytes()
    assert content.count(b'"accuracy": [0.') > 3
    (folder / DATABASE).write_bytes(content.replace(b'"accuracy": [0.', b'"accuracy": [9.'))
    assert "rows of trial_user_attributes are lost or changed" in mend(folder)
    assert read_trials(begin(folder)) == expected


@pytest.mark.parametrize("name", [COPY, f"{COPY}.sha256"])
def test_a_damaged_copy_spoils_nothing(name: str, folder: Path) -> None:
    expected = read_trials(begin(folder))
    flip(folder / name, 0.5)
    assert mend(folder) == ""
    assert read_trials(begin(folder)) == expected


def test_a_database_that_has_more_than_its_copy_is_left_alone(folder: Path) -> None:
    run_search(make_search(begin(folder), budget=Budget(trials=3)))
    assert mend(folder) == ""
    assert len(read_trials(begin(folder))) == 11


def test_a_reader_says_what_to_do(folder: Path) -> None:
    (folder / DATABASE).write_bytes((folder / DATABASE).read_bytes()[:20_000])
    with pytest.raises(ConfigError, match="study.db is damaged .*: the same search again puts its copy in its place"):
        load_study(folder, "table")


def test_where_the_copy_is_damaged_too_it_is_told(folder: Path) -> None:
    for name in (DATABASE, COPY):
        (folder / name).write_bytes((folder / name).read_bytes()[:3000])
    for read in (lambda: load_study(folder, "table"), lambda: begin(folder)):
        with pytest.raises(ConfigError, match=r"study.db is damaged .*, and so is its copy: move both away, or type"):
            read()
