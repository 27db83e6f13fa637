"""Signals: the first asks, and what never asks back is abandoned. Run by test_stop.py, in a process of its own."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from autoopt.commands import stop as stop_module
from autoopt.commands.acts import limited
from autoopt.commands.stop import StopSignal
from autoopt.core.errors import Interrupted
from autoopt.core.recipe import Recipe
from autoopt.core.trial import FAILED, Draft
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate
from tests.search.table import begin, look_up, make_search


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def ask_and_sleep(stop: StopSignal) -> None:
    if not stop:
        send(signal.SIGTERM)
    time.sleep(30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_is_noted(number: int, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    inherited = signal.signal(number, signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert (bool(stop), stop.exit_code) == (False, 0)
        send(number)
        assert (bool(stop), stop.exit_code) == (True, code)
    assert "stopping in order; once more to leave at once" in capfd.readouterr().err
    assert signal.getsignal(number) == before
    signal.signal(number, inherited)


def test_what_never_asks_is_abandoned_after_the_grace() -> None:
    began = time.monotonic()

    def never_asks() -> None:
        send(signal.SIGTERM)
        time.sleep(30)

    with StopSignal() as stop, stop.abandoned_after(0.2), pytest.raises(Interrupted):
        never_asks()
    assert 0.2 <= time.monotonic() - began < 5


def test_the_grace_counts_from_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it came before."""
    with StopSignal() as stop:
        send(signal.SIGTERM)
        time.sleep(0.2)
        began = time.monotonic()
        with pytest.raises(Interrupted), stop.abandoned_after(0.1):
            time.sleep(30)
        assert time.monotonic() - began < 5


def test_who_swallows_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_module, "AGAIN_S", 0.5)
    with StopSignal() as stop, stop.abandoned_after(0):
        for _ in range(3):
            with pytest.raises(Interrupted):
                ask_and_sleep(stop)


def test_an_alarm_that_comes_as_it_ends_leaves_no_timer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the process once its handler is gone."""
    disarm, calls = StopSignal._disarm, 0

    def hit(self: StopSignal) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Interrupted("the alarm came just then")
        disarm(self)

    monkeypatch.setattr(StopSignal, "_disarm", hit)
    with StopSignal() as stop:
        with pytest.raises(Interrupted), stop.abandoned_after(60.0):
            send(signal.SIGTERM)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outside_nothing_is_abandoned() -> None:
    with StopSignal() as stop:
        with stop.abandoned_after(0.0):
            pass
        send(signal.SIGTERM)
        time.sleep(0.2)
        assert stop


@pytest.mark.parametrize("deaf", ["own", "sibling"])
def test_a_trial_in_this_process_that_never_asks_is_abandoned(deaf: str, tmp_path: Path) -> None:
    """It is closed, its recipe waits for the next session, and so does a sibling."""

    def evaluate(draft: Draft, gate: Gate) -> Iterator[Draft]:
        look_up(draft, gate)
        if gate.number and deaf == "own":
            ask_and_sleep(stop)
        return (made(sibling) for sibling in draft.siblings)

    def made(recipe: Recipe) -> Draft:
        ask_and_sleep(stop)
        return Draft(recipe)

    study, began = begin(tmp_path), time.monotonic()
    with StopSignal() as stop:
        acts = limited(Acts(evaluate), partial(stop.abandoned_after, 0.3))
        rules = Rules(screens=False, bar=False, siblings=deaf == "sibling")
        first = [Recipe("cnn", "none", "fp16", learning_rate=1e-3)]
        search = make_search(study, crew=Here(acts), should_stop=lambda: bool(stop), rules=rules, first=first)
        assert run_search(search) == "interrupt"
    assert time.monotonic() - began < 10
    cut = [trial for trial in read_trials(study) if trial.state == FAILED]
    assert cut
    assert all(trial.again for trial in cut)
    assert [trial.sibling_of is not None for trial in cut] == [deaf == "sibling"]
