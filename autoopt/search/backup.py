"""A copy of the study's database, for the day on which the database is damaged."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from autoopt.core.artifact import sha256, write_atomically

log = logging.getLogger(__name__)

DATABASE, COPY, BROKEN = "study.db", "study.copy.db", "study.broken.db"
FINISHED = "SELECT trial_id FROM {db}.trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')"
UNCHANGING = {
    "trials": "SELECT trial_id, number, state, datetime_complete FROM {db}.trials WHERE trial_id IN ({finished})",
    "trial_values": "SELECT trial_id, objective, value FROM {db}.trial_values WHERE trial_id IN ({finished})",
    "trial_params": "SELECT trial_id, param_name, param_value, distribution_json FROM {db}.trial_params "
    "WHERE trial_id IN ({finished})",
    "trial_user_attributes": "SELECT trial_id, key, value_json FROM {db}.trial_user_attributes "
    "WHERE trial_id IN ({finished})",
    "trial_system_attributes": "SELECT trial_id, key, value_json FROM {db}.trial_system_attributes "
    "WHERE trial_id IN ({finished})",
    "studies": "SELECT study_id, study_name FROM {db}.studies",
    "study_directions": "SELECT study_id, objective, direction FROM {db}.study_directions",
    "study_user_attributes": "SELECT study_id, key, value_json FROM {db}.study_user_attributes "
    "WHERE key IN ('autoopt_fingerprint', 'autoopt_id', 'study:metric_names')",
    "version_info": "SELECT schema_version, library_version FROM {db}.version_info",
    "alembic_version": "SELECT version_num FROM {db}.alembic_version",
}
"""What a trial that has ended consists of, and the study itself: rows that nobody changes."""


def back_up(folder: Path) -> None:
    """Copy `folder`/study.db while it is in use. Raises OSError or sqlite3.Error."""
    fresh = folder / f"{COPY}.new"
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(folder / DATABASE, timeout=5)) as source, closing(sqlite3.connect(fresh)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, whatever the other is
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    digest = sha256(fresh)
    fresh.replace(folder / COPY)
    write_atomically(folder / f"{COPY}.sha256", digest)


def mend(folder: Path) -> str:
    """Put the copy in the place of a database that is damaged, gone, or lacks what the copy has; nobody may use it.

    Returns what was done in words, '' where all was well. The damaged file is kept. Where there is no whole copy, a
    damaged database stays as it is.
    """
    if not _is_whole(folder / COPY):
        return ""
    damage = _damage(folder)
    if not damage:
        return ""
    for ending in ("", "-wal", "-shm"):
        path = folder / f"{DATABASE}{ending}"
        if path.exists():
            path.replace(folder / f"{BROKEN}{ending}")
    (folder / DATABASE).write_bytes((folder / COPY).read_bytes())
    log.warning("%s: %s; its copy takes its place, and the damaged one is %s", folder / DATABASE, damage, BROKEN)
    return f"{DATABASE} was damaged ({damage}): its copy takes its place, the damaged one is kept as {BROKEN}"


def has_copy(folder: Path) -> bool:
    """Whether there is one, and it is whole."""
    return _is_whole(folder / COPY)


def _is_whole(copy: Path) -> bool:
    try:
        return sha256(copy) == copy.with_name(f"{copy.name}.sha256").read_text()
    except (OSError, UnicodeDecodeError):  # there is none, or it was being written
        return False


def _damage(folder: Path) -> str:
    if not (folder / DATABASE).is_file():
        return "it is gone"
    try:
        with closing(sqlite3.connect(folder / DATABASE, timeout=60)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                return " ".join(str(found).split())[:200]
            connection.execute("ATTACH ? AS copy", (str(folder / COPY),))
            for table, query in UNCHANGING.items():
                of_copy, of_main = (_query(query, db) for db in ("copy", "main"))
                lacking = connection.execute(f"SELECT COUNT(*) FROM ({of_copy} EXCEPT {of_main})").fetchone()[0]
                if lacking:
                    return f"{lacking} rows of {table} are lost or changed"
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return str(error)
    return ""


def _query(query: str, db: str) -> str:
    return query.format(db=db, finished=FINISHED.format(db=db))
