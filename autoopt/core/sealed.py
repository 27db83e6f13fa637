"""What is computed once and read back: only as it was written, by its sha256; what is damaged is made again.

Either small JSON in one file, or a folder of files. Several processes may write the same one at once.
"""

import errno
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Any

from autoopt.core.artifact import sha256, write_atomically

SUMS = "sha256.json"
TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
"""What says that something is in the place of a folder."""
log = logging.getLogger(__name__)


def write_json(path: Path, content: Any) -> None:
    """Plain JSON values, with their digest beside them."""
    write_atomically(path, json.dumps({"sha256": _digest(content), "content": content}))


def read_json(path: Path) -> Any:
    """What `write_json` was given; None, and a warning, where the file holds something else. None also where there is
    no file.
    """
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_bytes())
        if kept["sha256"] == _digest(kept["content"]):
            return kept["content"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass  # said below
    log.warning("%s is damaged: it is made again", path)
    return None


def write_folder(place: Path, fill: Callable[[Path], None], fits: Callable[[Path], bool] | None = None) -> None:
    """Have `fill(fresh)` write files into a new folder, which then takes the place of what is not whole, or does not
    fit. Where another process was faster, its folder stays.
    """
    good = fits or is_whole
    fresh = place.with_name(f"{place.name}.{uuid.uuid4().hex}.new")
    fresh.mkdir(parents=True)
    try:
        fill(fresh)
        write_atomically(fresh / SUMS, json.dumps({path.name: sha256(path) for path in sorted(fresh.iterdir())}))
        while fresh.exists() and not good(place):
            try:
                fresh.rename(place)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
                if not good(place):  # else it is another process's, of this moment
                    _clear(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def is_whole(place: Path) -> bool:
    """Whether a folder holds the files that it was written with, and no others; a warning names the one that differs.

    A file is hashed once a process: again only when its time or size has changed.
    """
    if not os.path.lexists(place):
        return False
    try:
        sums = json.loads((place / SUMS).read_bytes())
        names = {path.name for path in place.iterdir()} - {SUMS}
        wrong = [name for name in sorted(names | sums.keys()) if name not in names or _sum(place / name) != sums[name]]
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        wrong = [SUMS]
    if wrong and os.path.lexists(place):  # else another process has just taken it away
        log.warning("%s is damaged: it is made again", place / wrong[0])
    return not wrong


def _sum(path: Path) -> str:
    found = path.stat()
    return _hashed(path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=4096)
def _hashed(path: Path, stamp: tuple[int, ...]) -> str:
    return sha256(path)


def _digest(content: Any) -> str:
    return hash_of(json.dumps(content).encode()).hexdigest()


def _clear(place: Path) -> None:
    """Out of the way in one step, so that nobody finds half of a folder there."""
    aside = place.with_name(f"{place.name}.{uuid.uuid4().hex}.old")
    try:
        place.rename(aside)
    except FileNotFoundError:
        return
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink()
