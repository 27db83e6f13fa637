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


def cpu_of(pid: int) -> float:
    """Seconds of a process, of its children that run, and of those that are gone."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pids, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        own = int(pids.split()[0])
        if own == pid or int(fields[1]) == pid:
            total += sum(map(int, fields[11 : 15 if own == pid else 13])) / os.sysconf("SC_CLK_TCK")
    return total


def postmaster(folder: Path) -> int:
    """Process of the PostgreSQL server whose data is there."""
    return int((folder / "pg" / "postmaster.pid").read_text().split()[0])
