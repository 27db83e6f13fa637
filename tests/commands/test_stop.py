"""The tests of signals.py, which send signals to their own process: in one that does nothing else. Among a thousand
other tests, one that comes late would end all of them.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = 10


@pytest.mark.slow
def test_signals_end_a_search_in_order() -> None:
    words = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(HERE / "signals.py")]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], capture_output=True, text=True, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(".") >= TESTS
