"""Opening a study: created or resumed, never mixed with another one."""

import json
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from autoopt.core.errors import ConfigError
from autoopt.core.kpi import Kpi
from autoopt.core.lookup import suggestion
from autoopt.core.passwords import masked
from autoopt.search.backup import DATABASE, mend
from autoopt.search.queue import queue_left, queue_orphans
from autoopt.search.storage import name_inside, open_storage, told_as_away, told_as_damaged

FINGERPRINT = "autoopt_fingerprint"
CONFIGURATION = "autoopt_config"
"""As resolved at the start of the last session, without passwords."""
READY = "autoopt_ready"
"""Teacher and logits are made: others may join."""
IDENTITY = "autoopt_id"
"""A random id: two studies of one name, begun on two machines or one after the other, are not the same study."""


def open_study(
    folder: Path,
    name: str,
    kpis: tuple[Kpi, ...],
    fingerprint: Mapping[str, Any],
    on_mend: Callable[[str], None] = lambda told: None,
    storage: str | None = None,
) -> optuna.Study:
    """Create or resume `folder`/study.db, or the study of that name in the database at `storage`. Raises ConfigError
    where it was begun with another task, space or KPI set, or the database does not answer.

    A trial that was running when its process died is closed as failed, and its recipe waits to be tried again: at
    once where the caller holds the study's lock on a file, in a database when its heartbeat has stopped. Where a file
    is damaged, its copy takes its place, and `on_mend` is told.
    """
    objectives = [kpi for kpi in kpis if kpi.objective]
    if storage is None and (told := mend(folder)):
        on_mend(told)
    remedy = "move both away, or type study=NAME for a new one"
    with told_as_damaged(folder, remedy) if storage is None else told_as_away(storage):
        opened = open_storage(folder, storage)
        study = optuna.create_study(
            study_name=name_inside(opened, name) or name,
            storage=opened,
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
    (queue_orphans if storage is None else queue_left)(study)
    return study


def check_same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ConfigError where a study was begun with something else, naming the first difference."""
    if _flat(before) != _flat(now):
        raise ConfigError(
            f"study {name!r} was begun with {difference(before, now)}: type study=NAME for a new one, or go back"
        )


def load_study(folder: Path, name: str, storage: str | None = None) -> optuna.Study:
    """An existing study, to read. Raises ConfigError where there is none, or its database is damaged or away."""
    return _from_file(folder, name) if storage is None else _from_database(name, storage)


def _from_file(folder: Path, name: str) -> optuna.Study:
    if not (folder / DATABASE).is_file():
        others = sorted(path.parent.name for path in folder.parent.glob(f"*/{DATABASE}"))
        known = suggestion(name, others) if others else "Known: none yet: autoopt search begins one (or type storage=…)"
        raise ConfigError(f"no study {name!r} in {folder.parent}. {known}")
    with told_as_damaged(folder, "the same search again puts its copy in its place"):
        storage = open_storage(folder)
        inside = name_inside(storage, name)
        study = optuna.load_study(study_name=inside, storage=storage) if inside else None
        if study is None or CONFIGURATION not in study.user_attrs:
            raise ConfigError(f"study {name!r} has not begun yet: try again in a moment")
        study.get_trials(deepcopy=False)
    return study


def _from_database(name: str, uri: str) -> optuna.Study:
    with told_as_away(uri):
        storage = open_storage(Path(), uri)
        others = sorted(optuna.get_all_study_names(storage))
        if name not in others:
            known = suggestion(name, others) if others else "Known: none yet: autoopt search begins one"
            raise ConfigError(f"no study {name!r} in storage={masked(uri)}. {known}")
        study = optuna.load_study(study_name=name, storage=storage)
        if CONFIGURATION not in study.user_attrs:
            raise ConfigError(f"study {name!r} has not begun yet: try again in a moment")
    return study


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
