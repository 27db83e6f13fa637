"""Where the study is kept: an SQLite file in its folder, or a PostgreSQL database that several machines work on."""

import sqlite3
import warnings
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.passwords import masked
from autoopt.search.backup import DATABASE, has_copy
from autoopt.search.patience import passing

LOCKED_S = 10.0  # that a statement waits for another program; then the search says so, and waits on
VANISHED_MS = 50_000
CONNECT_S = 10  # that a database may take to answer
BEAT_S, STALE_S = 10, 60
"""A process that has a trial says so every BEAT_S; where it has not for STALE_S, it is taken for dead."""
TABLES = 0x6175746F6F7074
"""Of the advisory lock on the tables: 'autoopt'."""
EXAMPLE = "postgresql+psycopg://USER@HOST:5432/DATABASE"


def open_storage(folder: Path, uri: str | None = None) -> RDBStorage:
    """`folder`/study.db, or the database at `uri`. Raises ConfigError where that does not answer."""
    return _sqlite(folder) if uri is None else _database(uri)


def has_begun(folder: Path, name: str, uri: str | None = None) -> bool:
    """Whether there is a record of the study. Raises ConfigError where its database does not answer."""
    if uri is None:
        return (folder / DATABASE).is_file()
    return name in optuna.get_all_study_names(_database(uri))


def name_inside(storage: RDBStorage, name: str) -> str | None:
    """Under which name a storage holds the study, None where it does not. A file holds one study alone, whose folder
    may have been renamed since.
    """
    names = optuna.get_all_study_names(storage)
    if storage.engine.dialect.name != "sqlite":
        return name if name in names else None
    return names[0] if names else None


@contextmanager
def told_as_damaged(folder: Path, remedy: str) -> Iterator[None]:
    """Raises ConfigError where the SQLite file of the study is not what it should be."""
    try:
        yield
    except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError, StorageInternalError, ValueError) as error:
        if passing(error):
            raise
        lost = "" if has_copy(folder) else ", and so is its copy"
        remedy = "move both away, or type study=NAME for a new one" if lost else remedy
        raise ConfigError(f"{folder / DATABASE} is damaged ({one_line(error, 120)}){lost}: {remedy}") from error


@contextmanager
def told_as_away(uri: str) -> Iterator[None]:
    """Raises ConfigError where the database at `uri` cannot be used."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        told = masked(one_line(cause, 200)).partition(" [SQL")[0]
        rights = any(word in told for word in ("password", "permission", "pg_hba", "role"))
        hint = "give its user the right to it" if rights else "is PostgreSQL up there, and does the database exist"
        raise ConfigError(f"storage={masked(uri)} cannot be used ({told}): {hint}? Type storage={EXAMPLE}") from error


def _sqlite(folder: Path) -> RDBStorage:
    """In WAL mode: readers, such as `autoopt report` during a search, do not wait for the writer."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / DATABASE, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # kept in the file
    return RDBStorage(
        f"sqlite:///{(folder / DATABASE).absolute()}", engine_kwargs={"connect_args": {"timeout": LOCKED_S}}
    )


def _database(uri: str) -> RDBStorage:
    """With heartbeats, and connections that are looked at before they are used."""
    with told_as_away(uri), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            with _one_at_a_time(uri):
                opened = RDBStorage(
                    uri,
                    engine_kwargs={"pool_pre_ping": True, "connect_args": connect_args(uri)},
                    heartbeat_interval=BEAT_S,
                    grace_period=STALE_S,
                    heartbeat_stale_trial_callback=_queue_again,
                )
            weakref.finalize(opened, opened.engine.dispose)  # its connections, before they are found open
            return opened
        except ImportError as error:
            raise ConfigError(f"storage={masked(uri)} needs psycopg: pip install 'autoopt[postgres]'") from error


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Of processes that open a new database at once, one alone makes its tables."""
    with create_engine(uri, poolclass=NullPool, connect_args=connect_args(uri)).connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": TABLES})
        yield


def connect_args(uri: str) -> dict[str, object]:
    """For the driver. A machine that vanishes without a word is noticed within a minute."""
    if not make_url(uri).drivername.startswith("postgresql"):
        return {}
    alive: dict[str, object] = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}
    alive["tcp_user_timeout"] = VANISHED_MS  # keepalives look at idle connections alone
    return {"connect_timeout": CONNECT_S, "application_name": "autoopt", "client_encoding": "utf8", **alive}


def _queue_again(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> None:
    from autoopt.search.queue import queue_lost

    queue_lost(study, frozen)
