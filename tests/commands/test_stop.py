"""Signals: the first asks, and what never asks back is abandoned."""

import os
import signal
import time

import pytest

from autoopt.commands import stop as stop_module
from autoopt.commands.stop import StopSignal
from autoopt.core.errors import Interrupted


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
    monkeypatch.setattr(stop_module, "AGAIN_S", 0.1)
    with StopSignal() as stop, stop.abandoned_after(0):
        for _ in range(3):
            with pytest.raises(Interrupted):
                ask_and_sleep(stop)


def test_outside_nothing_is_abandoned() -> None:
    with StopSignal() as stop:
        with stop.abandoned_after(0.0):
            pass
        send(signal.SIGTERM)
        time.sleep(0.2)
        assert stop
