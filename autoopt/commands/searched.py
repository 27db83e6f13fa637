"""A study under its own configuration: what promote and reproduce need of a search, without searching."""

from collections.abc import Sequence
from dataclasses import replace

from optuna import Study

from autoopt.commands.bench import bench_as_begun, load_task
from autoopt.commands.conclude import read_outcome
from autoopt.commands.unlike import check_examiner, provider_of
from autoopt.compose import compose_config, with_local
from autoopt.config import Settings, parse_settings
from autoopt.core.errors import ConfigError
from autoopt.core.trial import Trial
from autoopt.pipeline import Bench
from autoopt.report.outcome import Outcome
from autoopt.search.study import CONFIGURATION, FINGERPRINT
from autoopt.tasks import Task
from autoopt.training.place import AUTO, CPU


def as_searched(settings: Settings, study: Study, local: Sequence[str] = ()) -> Settings:
    """Those of the study's last session, apart from what is typed now: where it is, its place for artifacts, the trial,
    the registered model. A task that was given from Python may be typed too; `local` are overrides of keys that differ
    on this machine, such as task.path. Raises ConfigError.
    """
    saved = dict(study.user_attrs[CONFIGURATION])
    if saved["task"].get("factory", "") is None:
        saved["task"] = settings.raw["task"]
    named = settings.raw["registry"]["model"] or saved.get("registry", {}).get("model")
    saved["registry"] = {"model": named}
    saved |= {"study": settings.study, "outputs": str(settings.outputs), "trial": settings.trial}
    saved |= {"storage": settings.storage, "host": settings.raw["host"]}
    if settings.store is not None:
        saved["artifacts"] = settings.raw["artifacts"]
    # Training is at home on any machine; speed is compared on the provider that the study was measured on.
    device = settings.raw.get("device", AUTO)
    saved["device"] = saved.get("device", CPU) if device == AUTO else device
    saved["runtime"] = {**saved["runtime"], "provider": provider_of(study)}
    return parse_settings(with_local({**compose_config([]), **saved}, local))


def outcome_of(searched: Settings, study: Study) -> Outcome:
    return read_outcome(searched, study, searched.kpis)


def task_of(searched: Settings, study: Study) -> Task:
    """Raises ConfigError where the data are not those of the study any more."""
    task = load_task(searched)
    begun = study.user_attrs[FINGERPRINT]["task"]["data"]
    if task.fingerprint != begun:
        raise ConfigError(
            f"study {searched.study!r} was searched on other data ({begun}) than task {searched.task} has now "
            f"({task.fingerprint}): put its files back"
        )
    return task


def bench_of(searched: Settings, study: Study, task: Task) -> Bench:
    """Raises ConfigError where the teacher is another one by now."""
    searched = replace(searched, threads=searched.worker_threads)  # as those that trained its trials
    begun = study.user_attrs[FINGERPRINT]["teacher"]["weights"]

    def accept(weights: str) -> None:
        if weights != begun:
            raise ConfigError(
                f"study {searched.study!r} was searched with another teacher ({begun}) than there is now ({weights}): "
                f"put its weights back, or those of {searched.cache.root}"
            )

    return bench_as_begun(searched, task, accept)


def examiner_of(searched: Settings, study: Study, task: Task) -> Bench:
    """A bench for exams. Raises ConfigError where this machine may not take them."""
    bench = bench_of(searched, study, task)
    check_examiner(searched, study, bench)
    return bench


def ended_trial(outcome: Outcome, number: int) -> Trial:
    """Raises ConfigError where there is none."""
    trials = outcome.standing.trials
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None:
        known = f"0 to {trials[-1].number}" if trials else "none yet"
        raise ConfigError(
            f"trial={number}: study {outcome.study!r} has no such trial that has ended: {known} "
            f"(autoopt report study={outcome.study})"
        )
    return found
