"""Trouble that passes: a disk that is full, a database that another program has locked, or that is restarted."""

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy.exc

from autoopt.core.disk import is_full
from autoopt.core.errors import chain

T = TypeVar("T")
PAUSE_S = 0.5
log = logging.getLogger(__name__)


def passing(error: BaseException) -> str | None:
    """The reason in words, where the same may work later."""
    if is_full(error):
        return "the disk is full"
    if any(map(_is_locked, chain(error))):
        return "the study's database is locked by another program"
    return "the study's database does not answer" if any(map(_is_away, chain(error))) else None


def waited_out(do: Callable[[], T], stop: object) -> T:
    """What `do` returns, tried again while such trouble lasts and `stop` is false."""
    while True:
        try:
            return do()
        except Exception as error:
            if passing(error) is None or stop:
                raise
            log.warning("%s: waiting", passing(error))
            time.sleep(PAUSE_S)


def _is_locked(error: BaseException) -> bool:
    is_sql = isinstance(error, sqlite3.OperationalError | sqlalchemy.exc.OperationalError)
    return is_sql and any(word in str(error) for word in ("locked", "unable to open database file", "disk I/O error"))


def _is_away(error: BaseException) -> bool:
    """A server, not a file: its connections end, or none is taken, and what was sent may have been heard or not."""
    if not isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        return False
    return not isinstance(error.orig, sqlite3.Error)
