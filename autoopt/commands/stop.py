"""Ctrl-C, SIGTERM and a terminal that closes: the first asks for an orderly end, the second leaves at once."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from autoopt.core.errors import Interrupted

AGAIN_S = 5.0  # where other people's code has swallowed the error


@dataclass
class StopSignal:
    """Installs the handlers as a context; `signum` is the signal that asked to stop, or None."""

    signum: int | None = None
    _asked_at: float = 0.0
    _grace_s: float | None = None

    def __enter__(self) -> "StopSignal":
        handlers = {signal.SIGINT: self._handle, signal.SIGTERM: self._handle, signal.SIGALRM: self._raise}
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
            handlers[signal.SIGHUP] = self._handle
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *exc: object) -> None:
        self._disarm()  # before its handler goes: the system's own ends the process
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signum is not None

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP."""
        return 0 if self.signum is None else 128 + self.signum

    @contextmanager
    def abandoned_after(self, grace_s: float) -> Iterator[None]:
        """Whatever is done within ends by Interrupted, so many seconds after the signal: also what never asks."""
        self._grace_s = grace_s
        try:
            if self:
                self._arm()
            try:
                yield
            finally:
                self._disarm()
        finally:
            self._disarm()  # the alarm may have come in the midst of the first

    def _arm(self) -> None:
        left = self._asked_at + (self._grace_s or 0.0) - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3), AGAIN_S)

    def _disarm(self) -> None:
        self._grace_s = None
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            os._exit(128 + number)  # asked twice: the study is safe at any moment
        self.signum, self._asked_at = number, time.monotonic()
        with suppress(OSError):  # the terminal may be gone, or the disk full
            os.write(2, b"\nstopping in order; once more to leave at once\n")
        if self._grace_s is not None:
            self._arm()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._grace_s is not None:
            raise Interrupted("stopped by a signal")
