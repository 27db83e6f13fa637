"""On the path of a real run: each wait for a quiet machine goes to the file $AUTOOPT_WAITS, as PID KIND SECONDS."""

import os
import time

from autoopt.core import quiet

_wait = quiet.QuietMachine._wait


def _timed(self: quiet.QuietMachine, file: int | None, *, exclusive: bool, longest_s: float | None = None) -> None:
    began = time.perf_counter()
    _wait(self, file, exclusive=exclusive, longest_s=longest_s)
    seconds = time.perf_counter() - began
    if seconds > 1e-3:
        line = f"{os.getpid()} {'to_measure' if exclusive else 'to_work'} {seconds:.4f}\n"
        out = os.open(os.environ["AUTOOPT_WAITS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(out, line.encode())
        os.close(out)


quiet.QuietMachine._wait = _timed  # type: ignore[method-assign]
