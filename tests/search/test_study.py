import multiprocessing
from pathlib import Path

import pytest

from autoopt.core.errors import ConfigError
from autoopt.search.lock import lock_study
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.study import CONFIGURATION, difference, load_study
from tests.search.table import TRIALS, begin, make_search


def test_the_same_fingerprint_resumes(tmp_path: Path) -> None:
    run_search(make_search(begin(tmp_path)))
    assert len(read_trials(begin(tmp_path))) == TRIALS


def test_another_fingerprint_is_refused_with_the_difference(tmp_path: Path) -> None:
    begin(tmp_path, fingerprint={"space": {"quantization": ["none", "fp16"]}, "seed": 0})
    with pytest.raises(ConfigError) as caught:
        begin(tmp_path, fingerprint={"space": {"quantization": "fp16"}, "seed": 0})
    message = str(caught.value)
    assert message.startswith('study \'table\' was begun with space.quantization=["none", "fp16"], not "fp16": ')
    assert message.endswith("type study=NAME for a new one, or go back")


def test_a_key_that_is_new_or_gone_is_a_difference() -> None:
    assert difference({"a": 1}, {"a": 1, "b": {"c": 2}}) == "b.c=nothing, not 2"
    assert difference({"a": 1, "b": 2}, {"a": 1}) == "b=2, not nothing"


def test_reading_a_study_that_is_not_there_names_the_others(tmp_path: Path) -> None:
    begin(tmp_path / "one", name="one")
    with pytest.raises(ConfigError, match="no study 'two' in .*Known: one"):
        load_study(tmp_path / "two", "two")
    assert not (tmp_path / "two").exists()


def test_null_is_the_same_as_not_there(tmp_path: Path) -> None:
    begin(tmp_path, fingerprint={"kpis": {"a": {"min": None, "max": 1}}})
    run_search(make_search(begin(tmp_path, fingerprint={"kpis": {"a": {"max": 1}}})))
    begin(tmp_path, fingerprint={"kpis": {"a": {"max": 1, "weight": None}}})


def test_a_study_whose_folder_was_renamed_is_still_the_study(tmp_path: Path) -> None:
    study = begin(tmp_path / "old", name="old")
    study.set_user_attr(CONFIGURATION, {})
    run_search(make_search(study))
    (tmp_path / "old").rename(tmp_path / "new")
    assert len(read_trials(load_study(tmp_path / "new", "new"))) == TRIALS
    assert len(read_trials(begin(tmp_path / "new", name="new"))) == TRIALS


def test_a_study_without_configuration_has_not_begun(tmp_path: Path) -> None:
    begin(tmp_path / "s", name="s")
    with pytest.raises(ConfigError, match="study 's' has not begun yet"):
        load_study(tmp_path / "s", "s")


def _hold(folder: Path, ready: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    with lock_study(folder, "table"):
        ready.set()
        done.wait(30)


def test_a_second_search_on_the_same_study_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, done))
    process.start()
    assert ready.wait(60)
    with pytest.raises(ConfigError, match="study 'table' is being searched by another process"):
        lock_study(tmp_path, "table")
    process.kill()
    process.join()
    for _ in range(2):
        with lock_study(tmp_path, "table") as held:
            pass
        assert not held.is_locked, "though somebody still has it, as a notebook has the frame of an error"
