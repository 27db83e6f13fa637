"""One search a study: a lock that lasts no longer than the process that holds it, whatever ends that."""

import hashlib
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from autoopt.core.errors import AutooptError, ConfigError
from autoopt.search.storage import connect_args, told_as_away

log = logging.getLogger(__name__)

RETRY_S = 1.0
HOLD_S = 5.0  # between two looks whether the lock is still held


class DatabaseLock:
    """An advisory lock of PostgreSQL (its manual, 13.3.5): the server gives it back when the connection ends. Used as
    filelock's FileLock is.
    """

    def __init__(self, uri: str, what: str) -> None:
        """`what` is locked: any text."""
        self._uri = uri
        self._key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        self._engine = create_engine(uri, poolclass=NullPool, connect_args=connect_args(uri))
        self._held: Connection | None = None

    def acquire(self, timeout: float = 0.0) -> "DatabaseLock":
        """Raises Timeout where another holds it, or the database does not answer."""
        end = time.monotonic() + timeout
        while True:
            try:
                if self._try():
                    return self
            except SQLAlchemyError as error:
                log.debug("no lock: %s", error)
            if time.monotonic() >= end:
                raise Timeout(f"lock {self._key}")
            time.sleep(min(RETRY_S, max(0.0, end - time.monotonic())))

    def is_taken(self) -> bool:
        """Whether any process holds it. Raises SQLAlchemyError."""
        words = {"high": (self._key >> 32) & 0xFFFFFFFF, "low": self._key & 0xFFFFFFFF}
        query = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = :high AND objid = :low AND "
            "objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with self._engine.connect() as connection:
            return bool(connection.execute(text(query), words).scalar())

    def is_held(self) -> bool:
        """Whether the server still says so: a restart of it takes the lock away. Raises SQLAlchemyError where the
        database does not answer.
        """
        try:
            return self._held is not None and self._held.execute(text("SELECT 1")).scalar() == 1
        except SQLAlchemyError:
            self.release()
            raise

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            try:
                held.close()
            except SQLAlchemyError:  # the server is gone, and with it the lock
                held.invalidate()

    def answers(self) -> bool:
        """Whether the database does."""
        try:
            self.connect()
        except SQLAlchemyError:
            return False
        return True

    def __enter__(self) -> "DatabaseLock":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def connect(self) -> None:
        """Raises SQLAlchemyError where the database does not answer."""
        self._engine.connect().close()

    def _try(self) -> bool:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar():
            self._held = connection
            return True
        connection.close()
        return False


class HeldFile(FileLock):
    """Entered when it is held already, as a DatabaseLock is: leaving it gives it back."""

    def __enter__(self) -> "HeldFile":
        return self


Lock = FileLock | DatabaseLock


def search_lock(name: str, storage: str) -> DatabaseLock:
    """Of the process that leads the search of a study in a database."""
    return DatabaseLock(storage, f"autoopt search {name}")


def lock_study(folder: Path, name: str, storage: str | None = None) -> Lock:
    """Held until the process ends. Raises ConfigError where another search holds it."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"study {name!r}: {folder} is a file: type study=NAME with another name")
    folder.mkdir(parents=True, exist_ok=True)
    lock: Lock = HeldFile(folder / "search.lock") if storage is None else search_lock(name, storage)
    try:
        if isinstance(lock, DatabaseLock):
            with told_as_away(str(storage)):
                lock.connect()
        lock.acquire(timeout=0)
    except Timeout as error:
        join = ": wait for it" if storage is None else f": join it by autoopt worker study={name} storage=…"
        raise ConfigError(f"study {name!r} is being searched by another process{join}, or type study=NAME") from error
    return lock


def lock_folder(folder: Path) -> HeldFile:
    """A study's folder on a machine is of one process, which finds its own work there again; the lock on a study in a
    database does not say that. Raises ConfigError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = HeldFile(folder / "folder.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"{folder} is another process's: type outputs=FOLDER for one of its own; for more processes in one, type "
            "workers=N there"
        ) from error
    return lock


@dataclass
class Holding:
    """Called a few times a second: takes the lock again where a restart of the database took it away.

    Raises AutooptError where another search was faster.
    """

    lock: Lock
    name: str
    _looked_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        if not isinstance(self.lock, DatabaseLock) or time.monotonic() - self._looked_at < HOLD_S:
            return
        self._looked_at = time.monotonic()
        try:
            if not self.lock.is_held():
                self.lock.acquire(timeout=0)
        except SQLAlchemyError:  # it is away: the next look
            return
        except Timeout:
            if self.lock.answers():
                raise AutooptError(
                    f"another search of study {self.name!r} began while its database was away: this one ends; to join, "
                    f"type autoopt worker study={self.name} storage=…"
                ) from None
