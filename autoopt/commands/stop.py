"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second leaves at once."""

import os
import signal
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopSignal:
    """Installs the handlers as a context; `signum` is the signal that asked to stop, or None."""

    signum: int | None = None

    def __enter__(self) -> "StopSignal":
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signum is not None

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C and 143 after SIGTERM."""
        return 0 if self.signum is None else 128 + self.signum

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            os._exit(128 + number)  # asked twice: the study is safe at any moment
        self.signum = number
        os.write(2, b"\nstopping in order; once more to leave at once\n")
