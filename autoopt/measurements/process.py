"""A Python process of its own, which has done nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import Any

from autoopt.core.errors import Killed, TrialError

LONGEST_S = 1800.0


def run_fresh(*words: str) -> Any:
    """What `python WORDS` prints as JSON on its last line. Raises TrialError with its last words where it fails, and
    Killed where somebody killed it. Ctrl-C in the terminal does not reach it: whoever waits for it decides. On Linux
    it does not outlive this thread.
    """
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [*_mortal(), sys.executable, *words]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LONGEST_S, start_new_session=True
        )
    except subprocess.TimeoutExpired as error:
        raise TrialError(f"measuring in a fresh process took more than {LONGEST_S:g} s") from error
    if done.returncode < 0:
        raise Killed(f"measuring in a fresh process was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        reason = ([line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"])[-1]
        raise TrialError(f"measuring in a fresh process failed: {reason[:500]}")
    return json.loads(done.stdout.splitlines()[-1])


def _mortal() -> list[str]:
    """What makes a command die with whoever started it, where this is at hand (util-linux): nothing is left to measure
    beside the next trial. Done by Python between fork and exec, it could hang where there are threads.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
