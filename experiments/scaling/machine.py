"""What else runs on this machine while something is measured: cores that other programs keep busy."""

import os
import resource
import time
from pathlib import Path

CALM, LOOK_S, PATIENCE_S = 0.3, 5.0, 60.0


class Others:
    """Busy cores of other programs since it was made; those of children are ours once they are reaped."""

    def __init__(self) -> None:
        self._began, self._busy, self._ours = time.monotonic(), _busy_s(), _ours_s()

    def cores(self) -> float:
        seconds = _busy_s() - self._busy - (_ours_s() - self._ours)
        return round(max(0.0, seconds) / (time.monotonic() - self._began), 3)


def wait_until_calm() -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        others = Others()
        time.sleep(LOOK_S)
        if others.cores() < CALM:
            return


def _busy_s() -> float:
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _ours_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
