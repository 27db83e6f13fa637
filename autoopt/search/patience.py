"""Trouble that passes: a disk that is full, a database that another program has locked."""

import sqlite3
from collections.abc import Iterator

import sqlalchemy.exc

from autoopt.core.disk import is_full


def passing(error: BaseException) -> str | None:
    """The reason in words, where the same may work later."""
    if is_full(error):
        return "the disk is full"
    return "the study's database is locked by another program" if any(map(_is_locked, _chain(error))) else None


def _is_locked(error: BaseException) -> bool:
    is_sql = isinstance(error, sqlite3.OperationalError | sqlalchemy.exc.OperationalError)
    return is_sql and any(word in str(error) for word in ("locked", "unable to open database file", "disk I/O error"))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
