"""Trouble that passes: a disk that is full, a database that another program has locked."""

import sqlite3

import sqlalchemy.exc

from autoopt.core.disk import is_full
from autoopt.core.errors import chain


def passing(error: BaseException) -> str | None:
    """The reason in words, where the same may work later."""
    if is_full(error):
        return "the disk is full"
    return "the study's database is locked by another program" if any(map(_is_locked, chain(error))) else None


def _is_locked(error: BaseException) -> bool:
    is_sql = isinstance(error, sqlite3.OperationalError | sqlalchemy.exc.OperationalError)
    return is_sql and any(word in str(error) for word in ("locked", "unable to open database file", "disk I/O error"))
