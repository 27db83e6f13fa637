"""Room on the disk."""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from autoopt.core.errors import chain

MB, GB = 1e6, 1e9


def is_full(error: BaseException) -> bool:
    """Whether it was raised, maybe by way of others, because the disk is full."""
    return any(map(_says_full, chain(error)))


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error).lower()
    return any(words in text for words in ("no space left on device", "disk is full", "disk quota exceeded"))


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
