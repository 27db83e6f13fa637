"""Processes that measure: they do not outlive whoever waits for them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoopt.core.errors import TrialError
from autoopt.measurements.process import run_fresh


def test_what_it_prints_last_is_read() -> None:
    assert run_fresh("-c", "print('words'); print('[1, 2]')") == [1, 2]


def test_its_last_words_are_told() -> None:
    with pytest.raises(TrialError, match="failed: ValueError: no such thing"):
        run_fresh("-c", "raise ValueError('no such thing')")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux alone can")
def test_it_dies_with_whoever_waits_for_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    child = f"import os, time; open({str(told)!r} + '~', 'w').write(str(os.getpid()))"
    child += f"; os.replace({str(told)!r} + '~', {str(told)!r}); time.sleep(60)"
    script = f"from autoopt.measurements.process import run_fresh; run_fresh('-c', {child!r})"
    with subprocess.Popen([sys.executable, "-c", script]) as waiting:
        until = time.monotonic() + 30
        while not told.exists() and time.monotonic() < until:
            time.sleep(0.05)
        pid = int(told.read_text())
        waiting.send_signal(signal.SIGKILL)
    until = time.monotonic() + 5
    while _lives(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()  # a container's init may not collect it
    except (ProcessLookupError, FileNotFoundError):
        return False
