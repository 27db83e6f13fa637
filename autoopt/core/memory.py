"""Memory of processes and of the machine, as Linux tells it."""

import os
from pathlib import Path

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resident_gb(pid: int) -> float:
    """What a process holds in memory right now; 0 where it is gone, or the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def machine_gb() -> float:
    """What processes here may use together: the machine's memory, or the container's part of it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return min([whole, *(gb for path in LIMITS if (gb := _read_gb(Path(path))) is not None)])


def _read_gb(path: Path) -> float | None:
    try:
        return int(path.read_text()) / 1e9
    except (OSError, ValueError):  # no such file, or "max"
        return None
