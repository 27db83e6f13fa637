"""A disk that is full, a database that is locked, a clock that jumps: the search loses nothing."""

import errno
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from autoopt.core.errors import AutooptError, Bug
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, Draft, Trial
from autoopt.search import ledger as ledger_module
from autoopt.search import loop as loop_module
from autoopt.search.budget import Budget
from autoopt.search.jobs import Evaluate
from autoopt.search.loop import run_search
from autoopt.search.queue import DEADLY
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate
from autoopt.search.search import Watch
from autoopt.search.session import last_ended
from tests.search.table import KPIS, TRIALS, begin, look_up, make_search

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PAUSE_S", 0.01)


def now_and_then(error: Exception, write: Callable[..., Any]) -> Callable[..., Any]:
    """It raises the error the fifth to seventh time."""
    calls = 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (5, 6, 7):
            raise error
        return write(*args, **options)

    return wrapped


@pytest.mark.parametrize("seam", ["tell", "add", "drawn", "tell_repeat"])
@pytest.mark.parametrize("error", [FULL, sqlite3.OperationalError("database is locked")], ids=["full", "locked"])
def test_a_record_is_written_as_soon_as_it_can_be(
    seam: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ledger_module if hasattr(ledger_module, seam) else loop_module
    monkeypatch.setattr(module, seam, now_and_then(error, getattr(module, seam)))
    waits: list[str] = []
    study = begin(tmp_path)
    rules = Rules(screens=False, bar=False)  # with siblings: these are added
    assert run_search(make_search(study, watch=Watch(on_wait=waits.append), rules=rules)) == "trials"
    assert [bool(wait) for wait in waits] == [True, False], "it says so, once"
    trials = read_trials(study)
    assert sum(trial.sibling_of is None for trial in trials) == TRIALS
    assert len({trial.recipe for trial in trials}) == len(trials)
    assert FAILED not in {trial.state for trial in trials}


def test_a_database_that_another_program_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, waits = begin(tmp_path), list[str]()
    locked = closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None))
    with locked as other:

        def on_end(trial: Trial, now: Standing) -> None:
            if len(now.trials) == 5:
                other.execute("BEGIN EXCLUSIVE")

        def on_wait(reason: str) -> None:
            waits.append(reason)
            if reason:
                other.execute("ROLLBACK")

        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        monkeypatch.setattr("autoopt.search.storage.LOCKED_S", 0.2)
        study = begin(tmp_path)
        assert run_search(make_search(study, watch=Watch(on_end=on_end, on_wait=on_wait))) == "trials"
    assert "the study's database is locked by another program" in waits[0]
    assert len(read_trials(study)) == TRIALS


def filled(at: int) -> Evaluate:
    """look_up, but the disk is full in this evaluation."""
    count = 0

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        nonlocal count
        count += 1
        if count == at:
            raise FULL
        return look_up(draft, gate)

    return evaluate


@pytest.mark.parametrize("at", [1, 4])
def test_a_trial_that_a_full_disk_ends_is_tried_again(at: int, tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert run_search(make_search(study, evaluate=filled(at))) == "trials"
    failed = [trial for trial in read_trials(study) if trial.state == FAILED]
    assert sum(trial.state == COMPLETE for trial in read_trials(study)) == TRIALS
    if at > 1:  # else it was the baseline, which is measured anew
        (lost,) = failed
        assert lost.reason.startswith("the disk is full: ")
        assert study.trials[lost.number].state == TrialState.FAIL
        assert lost.recipe in {trial.recipe for trial in read_trials(study) if trial.state == COMPLETE}


def test_without_room_nothing_is_begun_and_no_time_is_spent(tmp_path: Path) -> None:
    study, waits, looks = begin(tmp_path), list[str](), 0

    def has_room(now: Standing) -> bool:
        nonlocal looks
        looks += 1
        return not 10 < looks < 60

    search = make_search(study, has_room=has_room, watch=Watch(on_wait=waits.append))
    assert run_search(search) == "trials"
    assert waits == ["the disk is nearly full", ""]
    assert len(read_trials(study)) == TRIALS


def test_a_clock_that_jumps_takes_no_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours are counted by a clock that nobody sets."""
    study, ended = begin(tmp_path), 0

    def on_end(trial: Trial, now: Standing) -> None:
        nonlocal ended
        ended += 1
        monkeypatch.setattr(loop_module, "datetime", shifted(timedelta(days=(-1) ** ended * 30)))

    search = make_search(study, budget=Budget(trials=TRIALS, hours=1), watch=Watch(on_end=on_end))
    assert run_search(search) == "trials"
    assert last_ended(study).searched_s < 60


@pytest.mark.parametrize(("jump", "reason"), [(timedelta(hours=2), "until"), (timedelta(hours=-2), "trials")])
def test_until_goes_by_the_clock(jump: timedelta, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until = (datetime.now() + timedelta(hours=1)).strftime("%H:%M")

    def on_end(trial: Trial, now: Standing) -> None:
        if trial.number == 8:
            monkeypatch.setattr(loop_module, "datetime", shifted(jump))

    search = make_search(begin(tmp_path), budget=Budget(trials=TRIALS, until=until), watch=Watch(on_end=on_end))
    assert run_search(search) == reason


def shifted(by: timedelta) -> type[datetime]:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + by

    return Shifted


def test_a_full_disk_that_looks_empty_ends_the_search_at_its_baseline(tmp_path: Path) -> None:
    """It is another disk: waiting for this one would not help."""

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        raise FULL

    waits: list[str] = []
    search = make_search(begin(tmp_path), evaluate=evaluate, watch=Watch(on_wait=waits.append))
    with pytest.raises(AutooptError, match="the baseline cannot be measured: .*No space left on device"):
        run_search(search)
    assert waits[0] == "the disk is full"


def test_a_stop_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, waits = begin(tmp_path), list[str]()

    def write(*args: Any) -> None:
        raise FULL

    def on_end(trial: Trial, now: Standing) -> None:
        if len(now.trials) == 3:
            monkeypatch.setattr(ledger_module, "tell", write)

    search = make_search(study, watch=Watch(on_end=on_end, on_wait=waits.append), should_stop=lambda: len(waits) > 0)
    assert run_search(search) == "interrupt"
    assert waits[0].startswith("the disk is full (")
    assert len(read_trials(study)) == 3


def test_a_kill_between_record_and_queue_costs_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: Any) -> None:
        raise SystemExit("kill -9")

    study = begin(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(ledger_module, "retry", killed)
        with pytest.raises(SystemExit):
            run_search(make_search(study, evaluate=filled(4)))
    lost = read_trials(study)[-1]
    assert lost.again
    resumed = begin(tmp_path)
    run_search(make_search(resumed))
    assert lost.recipe in {trial.recipe for trial in read_trials(resumed) if trial.state == COMPLETE}


def test_a_recipe_that_every_search_dies_with_is_left(tmp_path: Path) -> None:
    deadly = Recipe("teacher", "none", "int8_static")

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        if draft.recipe == deadly:
            raise GeneratorExit("kill -9")
        return look_up(draft, gate)

    for _ in range(DEADLY):
        with pytest.raises(GeneratorExit):
            run_search(make_search(begin(tmp_path), evaluate=evaluate))
    study = begin(tmp_path)
    assert run_search(make_search(study, evaluate=evaluate, budget=Budget(trials=6))) == "trials"
    lost = [trial for trial in read_trials(study) if trial.recipe == deadly]
    assert len(lost) == DEADLY
    assert lost[-1].reason == "4 searches died while they had its recipe: it is not tried again"
    assert "queued again" in lost[0].reason


def test_a_bug_in_the_making_of_siblings_is_on_record(tmp_path: Path) -> None:
    def evaluate(draft: Draft, gate: Gate) -> Iterator[Draft]:
        look_up(draft, gate)
        return (Draft(sibling, error=1 / 0) for sibling in draft.siblings)  # type: ignore[arg-type]

    study = begin(tmp_path)
    with pytest.raises(Bug, match="ZeroDivisionError"):
        run_search(make_search(study, evaluate=evaluate, rules=Rules(screens=False, bar=False)))
    last = read_trials(study)[-1]
    assert last.sibling_of is not None
    assert last.reason == "a bug: ZeroDivisionError: division by zero"


def test_a_sibling_that_a_full_disk_ends_is_made_again(tmp_path: Path) -> None:
    full = [FULL]

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        for sibling in found[:1]:
            sibling.error = full.pop() if full else None
        return found

    def make_up(trial: Trial, recipes: Sequence[Recipe]) -> list[Draft]:
        return look_up(Draft(trial.recipe, tuple(recipes)), Gate(Rules(), KPIS, (), trial.recipe))

    study = begin(tmp_path)
    rules = Rules(screens=False, bar=False)
    run_search(make_search(study, evaluate=evaluate, make_up=make_up, rules=rules, budget=Budget(trials=6)))
    (lost,) = (trial for trial in read_trials(study) if trial.state == FAILED)
    assert lost.again
    assert lost.sibling_of is not None
    made = [trial for trial in read_trials(study) if trial.recipe == lost.recipe and trial.state == COMPLETE]
    assert [trial.sibling_of for trial in made] == [lost.sibling_of]
