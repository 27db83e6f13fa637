"""Room on the disk."""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

MB, GB = 1e6, 1e9


def is_full(error: BaseException | None) -> bool:
    """Whether it was raised, maybe by way of others, because the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        text = str(error).lower()
        if "no space left on device" in text or "disk is full" in text or "disk quota exceeded" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def free_bytes(folder: Path) -> float:
    """That a user may still write there; infinite where the system does not say."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return float("inf")


def size_bytes(paths: Iterable[Path]) -> int:
    """Of all files in these folders. What goes meanwhile counts nothing."""
    return sum(_bytes(Path(folder, name)) for path in paths for folder, _, names in os.walk(path) for name in names)


def _bytes(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0
