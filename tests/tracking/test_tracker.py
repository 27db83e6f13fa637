"""The thread beside the search: nobody waits for MLflow, and what it missed is written when it is back."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from autoopt.core.trial import Trial
from autoopt.tracking import tracker as tracking
from autoopt.tracking.target import writer_lock
from autoopt.tracking.tracker import Tracker
from autoopt.tracking.view import CALL_S
from tests.tracking.stores import children, content, copy_store, last_word, open_view, search_table, stand, target

A_MOMENT_S = 0.05
A_SECOND_S = 2.0  # and some for a busy machine


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    return search_table(tmp_path_factory.mktemp("study") / "table", trials=4, every=3)


@pytest.fixture
def start(outputs: Path) -> Iterator[Callable[..., Tracker]]:
    begun: list[Tracker] = []

    def begin(trials: list[Trial], **changes: Any) -> Tracker:
        of = target(outputs, uri=changes.pop("uri", None))
        begun.append(Tracker(of, writer_lock(outputs), stand(trials), **changes))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """MLflow hangs until the event is set."""
    back = threading.Event()
    real = MlflowClient.create_run

    def hang(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        if not back.is_set():
            back.wait(60)
            raise MlflowException("timed out")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", hang)
    yield back
    back.set()


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """MLflow refuses every connection until it is called."""
    real, state = MlflowClient.create_run, {"down": True}

    def refuse(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        if state["down"]:
            raise MlflowException("connection refused")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", refuse)
    return lambda: state.update(down=False)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is written in the end: on a busy machine writing alone takes longer than a second."""
    monkeypatch.setattr(tracking, "LAST_WORD_S", 20.0)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def took(action: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = action()
    return time.monotonic() - began, result


def test_it_writes_what_a_view_writes(
    outputs: Path, prepared: Path, tmp_path: Path, trials: list[Trial], start: Callable[..., Tracker]
) -> None:
    tracker = start([])
    for number in range(1, len(trials) + 1):
        tracker.update(stand(trials[:number]))
    assert tracker.finish(stand(trials), last_word(outputs)) == ""
    assert tracker.how_to_look.startswith("mlflow ui")
    other = copy_store(prepared, tmp_path / "other")
    open_view(other).sync(stand(trials), last_word(other))
    ours, theirs = content(outputs), content(other)
    assert ours["parent"]["times"][1] == theirs["parent"]["times"][1]
    del ours["parent"]["times"], theirs["parent"]["times"]  # it began when the search did, not its first trial
    assert ours == theirs


@pytest.mark.slow
def test_a_new_store_is_made_before_anything_is_measured(tmp_path: Path, trials: list[Trial]) -> None:
    tracker = Tracker(target(tmp_path), writer_lock(tmp_path), stand([]))
    tracker.wait_until_warm()
    assert (tmp_path / "mlflow.db").is_file()
    assert took(tracker.wait_until_warm)[0] < A_MOMENT_S
    assert tracker.finish(stand(trials), last_word(tmp_path)) == ""


def test_nobody_waits_for_an_mlflow_that_hangs(
    outputs: Path, trials: list[Trial], start: Callable[..., Tracker], hanging: threading.Event
) -> None:
    tracker = start([])
    time.sleep(CALL_S)
    for number in range(1, len(trials) + 1):
        seconds, _ = took(lambda number=number: tracker.update(stand(trials[:number])))
        assert seconds < A_MOMENT_S
    seconds, lacking = took(lambda: tracker.finish(stand(trials), last_word(outputs)))
    assert seconds < A_SECOND_S
    assert lacking == f"{len(trials)} trials"


def test_the_last_word_waits_a_second_for_an_mlflow_that_is_down(
    outputs: Path, trials: list[Trial], start: Callable[..., Tracker], down: Callable[[], None]
) -> None:
    said: list[str] = []
    tracker = start(trials, say=said.append)
    until(lambda: bool(said))
    seconds, lacking = took(lambda: tracker.finish(stand(trials), last_word(outputs)))
    assert seconds < A_SECOND_S
    assert lacking == f"{len(trials)} trials"
    assert said == ["warning: MLflow is not reachable, the study keeps everything; why is in search.log"]


def test_it_says_once_that_mlflow_is_gone_and_once_that_it_is_back(
    outputs: Path,
    trials: list[Trial],
    start: Callable[..., Tracker],
    down: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "FIRST_RETRY_S", 0.1)
    said: list[str] = []
    tracker = start(trials[:2], say=said.append)
    until(lambda: tracker._failures >= 2)
    tracker.update(stand(trials))
    down()
    until(lambda: len(said) == 2)
    assert [line.partition(":")[0] for line in said] == ["warning", "MLflow is back"]
    assert set(children(outputs)) == {trial.number for trial in trials}
    assert tracker.finish(stand(trials), last_word(outputs)) == ""


def test_an_mlflow_that_is_back_at_the_end_gets_all(
    outputs: Path,
    trials: list[Trial],
    start: Callable[..., Tracker],
    down: Callable[[], None],
    patient: None,
) -> None:
    said: list[str] = []
    tracker = start(trials, say=said.append)
    until(lambda: bool(said))
    down()  # the next attempt would be seconds away
    assert tracker.finish(stand(trials), last_word(outputs)) == ""
    assert set(children(outputs)) == {trial.number for trial in trials}


def test_a_locked_file_is_waited_for_by_nobody_else(
    outputs: Path, trials: list[Trial], start: Callable[..., Tracker], patient: None
) -> None:
    tracker = start([])
    until(lambda: bool(tracker.how_to_look))
    with closing(sqlite3.connect(outputs / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert took(lambda: tracker.update(stand(trials)))[0] < A_MOMENT_S
        time.sleep(0.3)
        assert took(lambda: tracker.update(stand(trials)))[0] < A_MOMENT_S
        other.execute("ROLLBACK")
    assert tracker.finish(stand(trials), last_word(outputs)) == ""


def test_an_address_where_nobody_answers(outputs: Path, trials: list[Trial], start: Callable[..., Tracker]) -> None:
    said: list[str] = []
    tracker = start(trials, uri="http://127.0.0.1:9", say=said.append)
    until(lambda: bool(said))
    assert took(lambda: tracker.finish(stand(trials), last_word(outputs)))[0] < A_SECOND_S


def test_deleted_runs_come_back_while_it_searches(
    outputs: Path, trials: list[Trial], start: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "CHECK_S", 0.2)
    start(trials)
    until(lambda: len(children(outputs)) == len(trials))
    MlflowClient(target(outputs).uri).delete_run(children(outputs)[1].info.run_id)
    until(lambda: len(children(outputs)) == len(trials))


def test_nothing_is_written_while_somebody_measures(
    outputs: Path, trials: list[Trial], start: Callable[..., Tracker]
) -> None:
    measuring = threading.Event()
    tracker = start([], is_taken=measuring.is_set)
    until(lambda: tracker._whole == frozenset() and bool(tracker.how_to_look) and not tracker._told)
    measuring.set()
    time.sleep(0.2)
    tracker.update(stand(trials))
    time.sleep(0.5)
    assert children(outputs) == {}
    measuring.clear()
    until(lambda: len(children(outputs)) == len(trials))


def test_one_writer_a_study(outputs: Path, trials: list[Trial], start: Callable[..., Tracker]) -> None:
    with writer_lock(outputs):  # autoopt sync is at work
        tracker = start(trials)
        time.sleep(0.3)
        assert tracker.how_to_look == ""
    until(lambda: bool(tracker.how_to_look))
    with pytest.raises(Timeout):
        writer_lock(outputs).acquire(timeout=0)
    assert tracker.finish(stand(trials), last_word(outputs)) == ""
    writer_lock(outputs).acquire(timeout=5)
