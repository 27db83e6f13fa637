"""Memory of processes and of the machine, as Linux tells it."""

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
FILES = {"": "memory.max", "memory": "memory.limit_in_bytes"}
"""By the controllers of a line of /proc/self/cgroup: of version 2, and of version 1."""


def resident_gb(pid: int) -> float:
    """What a process holds in memory right now; 0 where it is gone, or the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def machine_gb() -> float:
    """What processes here may use together: the machine's memory, or the least that a container, Slurm or systemd leave
    of it.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return min([whole, *(gb for path in _limit_files() if (gb := _read_gb(path)) is not None)])


def _limit_files() -> Iterator[Path]:
    """Of the own control group and all above it; in a container the path may be that outside, and the root its own."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers in FILES:
            place = Path(group.lstrip("/"))
            for part in (place, *place.parents):
                yield GROUPS / controllers / part / FILES[controllers]


def _read_gb(path: Path) -> float | None:
    try:
        return int(path.read_text()) / 1e9
    except (OSError, ValueError):  # no such file, or "max"
        return None
