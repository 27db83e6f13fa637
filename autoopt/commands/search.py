"""autoopt search: the main job. It proposes and records; workers evaluate."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import optuna

from autoopt.champion.package import crown
from autoopt.commands.bench import check, check_given_teacher, load_task, make_bench, narrow
from autoopt.commands.conclude import read_outcome, tell, write_report
from autoopt.commands.keeper import Keeper
from autoopt.commands.logs import log_to
from autoopt.commands.origin import command_of, keep_origin
from autoopt.commands.saved import CONFIG, read_saved, saved_text
from autoopt.commands.searching import begin_work, conducts, hired, search_on
from autoopt.commands.slurm import Looking, dry_run, refuse_slurm, slurm_jobs
from autoopt.commands.stop import StopSignal
from autoopt.commands.tracking import finish_tracker, start_tracker
from autoopt.commands.unlike import keep_machine
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import ConfigError, Interrupted
from autoopt.core.passwords import masked_values
from autoopt.core.quiet import QuietMachine
from autoopt.core.trial import FAILED
from autoopt.pipeline import Bench
from autoopt.report.live import Display
from autoopt.runtimes.providers import CPU, chosen
from autoopt.search.budget import EXHAUSTED, FAILURES
from autoopt.search.engines import Ray, Slurm, check_engine
from autoopt.search.lock import Holding, lock_folder, lock_study
from autoopt.search.patience import waited_out
from autoopt.search.peers import Peers
from autoopt.search.samplers import make_sampler
from autoopt.search.storage import has_begun
from autoopt.search.study import CONFIGURATION, READY, check_same, open_study
from autoopt.tasks import Task
from autoopt.tasks.checks import check_teacher
from autoopt.tracking.tracker import Tracker
from autoopt.training.loop import Hooks
from autoopt.training.teacher import load_teacher, module_fingerprint, needs_training

log = logging.getLogger(__name__)


def search(settings: Settings) -> int:
    """Search, score, log and export. Prints the table and, as the last line of stdout, the JSON document."""
    _refuse_early(settings)
    if isinstance(settings.engine, Slurm) and settings.engine.dry_run:
        return dry_run(settings)
    return run(settings, load_task(settings))


def run(settings: Settings, task: Task) -> int:
    """The search of a task that was loaded."""
    if settings.store is not None:
        settings.store.check()
    check(settings, task)
    space = narrow(settings, task)
    begun = has_begun(settings.folder, settings.study, settings.storage)
    if not begun:  # a study that has begun refuses other weights
        check_given_teacher(settings, task)
    display = Display(settings.study, settings.kpis)
    with ExitStack() as closing:
        lock = lock_study(settings.folder, settings.study, settings.storage)
        closing.enter_context(lock)
        closing.enter_context(lock_folder(settings.folder))
        stop = closing.enter_context(StopSignal())
        log_to(settings.folder / "search.log")
        display.say(f"study {settings.study} in {settings.folder}")
        try:
            with stop.abandoned_after(0):
                workers = closing.enter_context(hired(settings, display.say))
                study, bench = _prepare(settings, task, stop, display, begun=begun)
                tracker = start_tracker(settings, study, display.say)
                if tracker is not None:
                    closing.callback(tracker.close)
                begin_work(workers, settings, study)
                looks: list[Callable[[], None]] = [Holding(lock, settings.study)]
                peers = Peers(study, space, settings.host) if settings.storage else None
                if isinstance(settings.engine, Slurm):
                    jobs = closing.enter_context(slurm_jobs(settings, display.say))
                    if peers is not None and conducts(settings):
                        looks.append(Looking(jobs, settings.folder / "slurm", peers))
                if tracker is not None:
                    tracker.wait_until_warm()
        except Interrupted:
            display.say("stopped before the search began: the same command begins anew")
            return stop.exit_code
        keeper = search_on(
            *(settings, study, space, bench),
            workers=workers,
            display=display,
            tracker=tracker,
            stop=stop,
            peers=peers,
            looks=looks,
        )
        _conclude(settings, study, bench, keeper, tracker, stop)
        if not settings.storage:
            keeper.back_up()
        return stop.exit_code


def _prepare(
    settings: Settings, task: Task, stop: StopSignal, display: Display, *, begun: bool
) -> tuple[optuna.Study, Bench]:
    """The teacher, the study and the bench. Raises Interrupted."""
    quiet = QuietMachine()
    if needs_training(task, settings.teacher):
        display.say("no weights of the teacher are given: it is trained once and kept, or read where it was")
    with quiet.working():
        hooks = Hooks(should_stop=partial(_give_way, quiet, stop))
        teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, hooks, settings.device)
        if needs_training(task, settings.teacher) and not begun:
            check_teacher(task, teacher)
        weights = module_fingerprint(teacher)
        identity = fingerprint(settings, task, weights)
        study = open_study(
            settings.folder, settings.study, settings.kpis, identity, on_mend=display.say, storage=settings.storage
        )
        before = study.get_trials(deepcopy=False)  # a copy of 10,000 takes five seconds
        study.sampler = make_sampler(settings.sampler, settings.seed + len(before), settings.sampler_options)
        study.set_user_attr(CONFIGURATION, masked_values(settings.raw))
        keep_origin(study, settings, task)
        artifact.write_atomically(settings.folder / CONFIG, saved_text(settings.raw))
        log.info("%d workers, %d trials on record, %s", settings.workers, len(before), settings.budget)
        if before:
            there = sum(trial.state.is_finished() for trial in before)
            display.say(f"going on after {there} trials that are there already")
        bench = make_bench(settings, task, teacher, weights, quiet)
        keep_machine(settings, study, bench)
        study.set_user_attr(READY, True)  # teacher and logits are there: others may join
        return study, bench


def _give_way(quiet: QuietMachine, stop: StopSignal) -> bool:
    """Between two steps of training: another process may be measuring."""
    quiet.step()
    return bool(stop)


def _conclude(
    settings: Settings, study: optuna.Study, bench: Bench, keeper: Keeper, tracker: Tracker | None, stop: StopSignal
) -> None:
    """Champion, report, MLflow's last word, and what the terminal says."""
    now = waited_out(lambda: read_outcome(settings, study, settings.kpis), stop).standing
    hints, front = keeper.fetch(now), now.front
    if front:
        try:
            with stop.abandoned_after(settings.limits.grace_s), bench.quiet.working():
                waited_out(lambda: crown(settings.folder, study, front, bench, settings.kpis, settings.exam), stop)
        except Interrupted:
            log.warning("limits.grace_s=%g were over before the final exam: it waits", settings.limits.grace_s)
    outcome = waited_out(lambda: read_outcome(settings, study, settings.kpis), stop)
    files = write_report(outcome)
    if tracker is not None:
        hints.append(finish_tracker(tracker, outcome, files, command_of(study)))
    if outcome.stopped_by == EXHAUSTED:
        hints.append("the space is exhausted: every recipe that was proposed had been evaluated before")
    if outcome.stopped_by == FAILURES:
        last = next(trial.reason for trial in reversed(outcome.standing.trials) if trial.state == FAILED)
        hints.append(f"the last trials all failed, the last one with: {last}")
    if outcome.stopped_by == "interrupt":
        spent = settings.budget.hours is not None and outcome.seconds >= 3600 * settings.budget.hours
        hints.append(
            f"the budget is spent: type a larger budget.hours than {settings.budget.hours:g} to go on"
            if spent
            else "stopped before its end: the same command goes on"
        )
    if outcome.failed and outcome.champion is None:
        more = "type exam.finalists=N to examine more of the front, " if outcome.unexamined else ""
        hints.append(f"nothing to ship: {more}search on, widen the bound in a new study, or ask for exam.rule=point")
    log.info("stopped by %s after %d trials", outcome.stopped_by, len(outcome.standing.trials))
    tell(outcome, hints=hints)


def _refuse_early(settings: Settings) -> None:
    """What is not installed, or differs from the study's saved configuration, is known before data and storage are
    opened.
    """
    check_engine(settings.engine)
    refuse_slurm(settings)
    if settings.measure_host is not None:
        if settings.storage is None or settings.store is None:
            raise ConfigError(
                f"measure.host={settings.measure_host}: other machines join by storage=postgresql+psycopg://… and "
                "artifacts.uri=…: type both, or leave it out"
            )
        if not settings.measures:
            raise ConfigError(
                f"measure.host={settings.measure_host} measures the baseline, so that autoopt search runs there, and "
                f"this is {settings.host}: type measure.host={settings.host}, or host={settings.measure_host}"
            )
        if isinstance(settings.engine, Ray):
            raise ConfigError(
                f"measure.host={settings.measure_host}: workers of engine=ray measure where they are: type "
                "engine=local, and autoopt worker on the other machines, or leave measure.host out"
            )
    begun = has_begun(settings.folder, settings.study, settings.storage)
    before = read_saved(settings.folder) if begun else None
    if before is not None:
        now, keys = masked_values(settings.raw), ("task", "space", "kpis", "seed")
        check_same(settings.study, {key: before.get(key) for key in keys}, {key: now[key] for key in keys})


def fingerprint(settings: Settings, task: Task, teacher: str) -> dict[str, Any]:
    """What must not change while a study goes on, or its trials could not be compared. `teacher`: its weights' hash."""
    return {
        "task": {"name": task.name, "data": task.fingerprint},
        **{key: settings.raw[key] for key in ("space", "kpis", "seed")},
        "teacher": {"weights": teacher},
        "runtime": {key: settings.raw["runtime"][key] for key in ("name", "threads")} | _provider(settings),
    }


def _provider(settings: Settings) -> dict[str, str]:
    """Nothing on the CPU: studies of before this go on there."""
    provider = chosen(settings.provider)
    return {} if provider == CPU else {"provider": provider}
