"""A study of as many trials as wanted, without the months: records of a real search on digits, their numbers moved."""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import Engine, insert, select, text

from autoopt.commands.bench import load_task, narrow
from autoopt.config import Settings, load_settings
from autoopt.core.artifact import trial_folder
from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.siblings import siblings
from autoopt.core.space import Space
from autoopt.core.trial import COMPLETE, Evaluation, Trial
from autoopt.search.asking import drawn
from autoopt.search.record import read_trials
from autoopt.search.storage import open_storage
from autoopt.search.study import load_study, open_study
from autoopt.search.telling import add

STUDY = "ten"
WORDS = [f"study={STUDY}", "task=digits", "threads=1", "workers=0"]
ROWS = 300
"""Of digits' validation split: accuracies are multiples of one of them."""


@dataclass(frozen=True)
class Real:
    """A short real search: its settings, its space, its trials, and the folder of one of its artifacts."""

    settings: Settings
    space: Space
    trials: tuple[Trial, ...]
    study: optuna.Study
    artifact: Path


def settings_of(outputs: Path, *words: str) -> Settings:
    return load_settings([*WORDS, f"outputs={outputs}", *words])


def real(outputs: Path) -> Real:
    """Of `autoopt task=digits study=ten budget.trials=24 workers=0 threads=1 outputs=...`."""
    settings = settings_of(outputs)
    study = load_study(settings.folder, STUDY)
    trials = tuple(read_trials(study))
    done = next(t.number for t in trials if t.state == COMPLETE and t.number > 0)
    return Real(settings, narrow(settings, load_task(settings)), trials, study, trial_folder(settings.folder, done))


def begin(like: Real, outputs: Path, storage: str | None = None, name: str = STUDY) -> optuna.Study:
    """An empty study with the configuration of the real one."""
    fingerprint = like.study.user_attrs["autoopt_fingerprint"]
    study = open_study(outputs / name, name, like.settings.kpis, fingerprint, storage=storage)
    for key in ("autoopt_config", "autoopt_origin", "autoopt_first_queued", "autoopt_ready"):
        if key in like.study.user_attrs:
            study.set_user_attr(key, like.study.user_attrs[key])
    return study


def fill(study: optuna.Study, made: Iterator[Trial], like: Real, upto: int) -> None:
    """Through the search's own way of adding what it did not ask for."""
    for _ in range(len(study.get_trials(deepcopy=False)), upto):
        add(study, like.space, next(made), like.settings.kpis)


def make(like: Real, seed: int = 0) -> Iterator[Trial]:
    """The baseline, then trials of random recipes, each followed by its siblings where it has any."""
    draws, asking = random.Random(seed), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    yield like.trials[0]
    asked = [t for t in like.trials[1:] if t.sibling_of is None]
    number = 1
    while True:
        recipe = drawn(asking.ask(), like.space)
        parent = _moved(draws.choice(_alike(asked, recipe)), recipe, number, None, draws)
        yield parent
        number += 1
        if parent.state != COMPLETE or not recipe.is_trained:
            continue
        of = [t for t in like.trials if t.sibling_of is not None and t.state == COMPLETE]
        for other in siblings(like.space, recipe):
            yield _moved(draws.choice(_alike(of, other)), other, number, parent.number, draws)
            number += 1


def _alike(trials: Sequence[Trial], recipe: Recipe) -> Sequence[Trial]:
    """Those of the same student, and of these the same scheme, where there are any."""
    same = [t for t in trials if t.recipe.student == recipe.student] or trials
    return [t for t in same if t.recipe.quantization == recipe.quantization] or same


def _moved(trial: Trial, recipe: Recipe, number: int, parent: int | None, draws: random.Random) -> Trial:
    """The record of another trial with other numbers."""
    assert trial.evaluation is not None
    slower, bigger = draws.lognormvariate(0, 0.35), draws.lognormvariate(0, 0.2)
    worse = 0.02 * (1 / slower - 1) + draws.gauss(0.01, 0.008)  # what is fast is less sure
    found = {}
    for name, m in trial.evaluation.measurements.items():
        factor = slower if "latency" in name or "load" in name else 1 / slower if "qps" in name else bigger
        if name in ("accuracy", "macro_f1", "worst_class_recall", "agreement"):
            found[name] = replace(m, value=round(max(0.1, min(1.0, m.value - worse)) * ROWS) / ROWS)
        else:
            found[name] = _scaled(m, factor)
    curve = tuple(max(0.1, min(1.0, quality - worse)) for quality in trial.evaluation.curve)
    facts = dict(trial.evaluation.facts)
    if "structure" in facts:
        facts["structure"] = f"{draws.getrandbits(64):016x}"
    evaluation = Evaluation(found, trial.evaluation.seconds, curve, facts)
    first = trial.ended_unix_s - trial.ended_at_s
    return replace(
        trial,
        number=number,
        recipe=recipe,
        evaluation=evaluation,
        sibling_of=parent,
        ended_at_s=3.0 * number,
        ended_unix_s=first + 3.0 * number,
    )


def _scaled(m: Measurement, factor: float) -> Measurement:
    own = m.interval and (m.interval[0] * factor, m.interval[1] * factor)
    ratio = m.ratio_interval and (m.ratio_interval[0] * factor, m.ratio_interval[1] * factor)
    return replace(m, value=m.value * factor, interval=own, ratio_interval=ratio)


def leave_artifacts(like: Real, folder: Path, trials: Sequence[Trial]) -> None:
    """Of every complete trial, as a search leaves them: links to one real artifact."""
    for trial in trials:
        there = trial_folder(folder, trial.number)
        if trial.state == COMPLETE and not there.is_dir():
            there.mkdir(parents=True)
            for file in like.artifact.iterdir():
                os.link(file, there / file.name)


def copy_rows(source: optuna.Study, uri: str, name: str) -> None:
    """Into another database, which then holds this study alone: the very rows that the search's own code has written
    into SQLite, in seconds.
    """
    target = open_storage(Path(), uri).engine
    tables = [t for t in BaseModel.metadata.sorted_tables if t.name not in ("version_info", "alembic_version")]
    with engine_of(source).connect() as reads, target.begin() as writes:
        for table in reversed(tables):
            writes.execute(table.delete())
        for table in tables:
            rows = [dict(row) for row in reads.execute(select(table)).mappings()]
            for row in rows if table.name == "studies" else ():
                row["study_name"] = name
            for first in range(0, len(rows), 5000):
                writes.execute(insert(table), rows[first : first + 5000])
            (key,) = table.primary_key.columns
            sequence = f"pg_get_serial_sequence('{table.name}', '{key.name}')"
            if key.type.python_type is int:
                writes.execute(text(f"SELECT setval({sequence}, COALESCE(MAX({key.name}), 1)) FROM {table.name}"))
        writes.execute(text("ANALYZE"))


def engine_of(study: optuna.Study) -> Engine:
    return study._storage._backend.engine  # type: ignore[attr-defined, no-any-return]
