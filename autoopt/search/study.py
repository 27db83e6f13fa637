"""Opening a study: created or resumed, never mixed with another one."""

import json
import sqlite3
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.kpi import Kpi
from autoopt.core.lookup import suggestion
from autoopt.search.backup import DATABASE, has_copy, mend
from autoopt.search.patience import passing
from autoopt.search.queue import queue_orphans

FINGERPRINT = "autoopt_fingerprint"
CONFIGURATION = "autoopt_config"
"""As resolved at the start of the last session, without passwords."""
LOCKED_S = 10.0  # that a statement waits for another program; then the search says so, and waits on
IDENTITY = "autoopt_id"
"""A random id: two studies of one name, begun on two machines or one after the other, are not the same study."""


def open_study(
    folder: Path,
    name: str,
    kpis: tuple[Kpi, ...],
    fingerprint: Mapping[str, Any],
    on_mend: Callable[[str], None] = lambda told: None,
) -> optuna.Study:
    """Create or resume `folder`/study.db. Raises ConfigError where it was begun with another task, space or KPI set.

    A trial that was running when its process died is closed as failed, and its recipe waits to be tried again. Where
    the database is damaged, its copy takes its place, and `on_mend` is told.
    """
    objectives = [kpi for kpi in kpis if kpi.objective]
    if told := mend(folder):
        on_mend(told)
    with _told_as_damaged(folder, "move both away, or type study=NAME for a new one"):
        storage = open_storage(folder)
        study = optuna.create_study(
            study_name=_name_inside(storage) or name,
            storage=storage,
            directions=["minimize"] * len(objectives),  # Kpi.loss: smaller is better, whatever the measurement
            load_if_exists=True,
        )
    before = study.user_attrs.get(FINGERPRINT)
    now = json.loads(json.dumps(fingerprint))
    if before is None:
        study.set_user_attr(FINGERPRINT, now)
        study.set_user_attr(IDENTITY, uuid.uuid4().hex)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([f"{kpi.name} loss" for kpi in objectives])
    else:
        check_same(name, before, now)
    queue_orphans(study)
    return study


def check_same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ConfigError where a study was begun with something else, naming the first difference."""
    if _flat(before) != _flat(now):
        raise ConfigError(
            f"study {name!r} was begun with {difference(before, now)}: type study=NAME for a new one, or go back"
        )


def load_study(folder: Path, name: str) -> optuna.Study:
    """An existing study, to read. Raises ConfigError where there is none, or its database is damaged."""
    if not (folder / DATABASE).is_file():
        others = sorted(path.parent.name for path in folder.parent.glob(f"*/{DATABASE}"))
        known = suggestion(name, others) if others else "Known: none yet: autoopt search begins one"
        raise ConfigError(f"no study {name!r} in {folder.parent}. {known}")
    with _told_as_damaged(folder, "the same search again puts its copy in its place"):
        storage = open_storage(folder)
        inside = _name_inside(storage)
        study = optuna.load_study(study_name=inside, storage=storage) if inside else None
        if study is None or CONFIGURATION not in study.user_attrs:
            raise ConfigError(f"study {name!r} has not begun yet: try again in a moment")
        study.get_trials(deepcopy=False)
    return study


@contextmanager
def _told_as_damaged(folder: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError, StorageInternalError, ValueError) as error:
        if passing(error):
            raise
        lost = "" if has_copy(folder) else ", and so is its copy"
        remedy = "move both away, or type study=NAME for a new one" if lost else remedy
        raise ConfigError(f"{folder / DATABASE} is damaged ({one_line(error, 120)}){lost}: {remedy}") from error


def _name_inside(storage: RDBStorage) -> str | None:
    """The name of the one study in a database: its folder may have been renamed since."""
    names = optuna.get_all_study_names(storage)
    return names[0] if names else None


def open_storage(folder: Path) -> RDBStorage:
    """SQLite in WAL mode: readers, such as `autoopt report` during a search, do not wait for the writer."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / DATABASE, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # kept in the file
    return RDBStorage(
        f"sqlite:///{(folder / DATABASE).absolute()}", engine_kwargs={"connect_args": {"timeout": LOCKED_S}}
    )


def lock_study(folder: Path, name: str) -> FileLock:
    """One search a study: held until the process ends, whatever ends it. Raises ConfigError where another holds it."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"study {name!r}: {folder} is a file: type study=NAME with another name")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "search.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"study {name!r} is being searched by another process: wait for it, or type study=NAME"
        ) from error
    return lock


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first entry that differs, as 'KEY=OLD, not NEW'."""
    a, b = _flat(before), _flat(now)
    key = next(key for key in {**a, **b} if a.get(key) != b.get(key))  # the caller knows that there is one
    return f"{key}={_short(a.get(key))}, not {_short(b.get(key))}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:  # null is the same as not there
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)
