"""autoopt search: the main job. It proposes and records; workers evaluate."""

import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import optuna

from autoopt.champion.package import crown
from autoopt.commands.acts import limited, make_acts, start_worker
from autoopt.commands.bench import check, check_given_teacher, load_task, make_bench, narrow
from autoopt.commands.conclude import read_outcome, tell, write_report
from autoopt.commands.first import first_recipes
from autoopt.commands.keeper import Keeper
from autoopt.commands.logs import log_to
from autoopt.commands.origin import command_of, keep_origin
from autoopt.commands.saved import CONFIG, read_saved, saved_text
from autoopt.commands.slurm import dry_run, refuse_slurm, slurm_jobs
from autoopt.commands.stop import StopSignal
from autoopt.commands.tracking import finish_tracker, start_tracker
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import AutooptError, Interrupted
from autoopt.core.left import Left
from autoopt.core.memory import machine_gb
from autoopt.core.passwords import masked_values
from autoopt.core.quiet import QuietMachine
from autoopt.core.recipe import Recipe
from autoopt.core.space import trains
from autoopt.core.standing import Standing
from autoopt.core.trial import FAILED, Trial
from autoopt.pipeline import Bench
from autoopt.report.live import Display
from autoopt.search.backup import DATABASE
from autoopt.search.budget import EXHAUSTED, FAILURES
from autoopt.search.crew import Here, Hired
from autoopt.search.engines import Local, Place, Slurm, check_engine, row_of
from autoopt.search.limits import Limits
from autoopt.search.loop import run_search
from autoopt.search.samplers import make_sampler
from autoopt.search.search import Search, Watch
from autoopt.search.study import CONFIGURATION, FINGERPRINT, check_same, lock_study, open_study
from autoopt.tasks import Task
from autoopt.tasks.checks import check_teacher
from autoopt.tracking.tracker import Tracker
from autoopt.training.loop import Hooks
from autoopt.training.teacher import load_teacher, module_fingerprint, needs_training

BRIEFLY_S = 2.0  # that the search waits for who measures: it has signals and limits to look after
MEMORY_SHARE = 0.9  # of the machine's, for all workers together

log = logging.getLogger(__name__)


def search(settings: Settings) -> int:
    """Search, score, log and export. Prints the table and, as the last line of stdout, the JSON document."""
    _refuse_early(settings)
    if isinstance(settings.engine, Slurm) and settings.engine.dry_run:
        return dry_run(settings)
    return run(settings, load_task(settings))


def run(settings: Settings, task: Task) -> int:
    """The search of a task that was loaded."""
    check(settings, task)
    space = narrow(settings, task)
    if not (settings.folder / DATABASE).is_file():  # a study that has begun refuses other weights
        check_given_teacher(settings, task)
    display = Display(settings.study, settings.kpis)
    with lock_study(settings.folder, settings.study), StopSignal() as stop, ExitStack() as closing:
        display.say(f"study {settings.study} in {settings.folder}")
        try:
            with stop.abandoned_after(0):
                workers = closing.enter_context(_workers(settings, display.say))
                study, bench = _prepare(settings, task, stop, display)
                tracker = start_tracker(settings, study, display.say)
                if tracker is not None:
                    closing.callback(tracker.close)
                if workers:
                    raw = {**settings.raw, "outputs": str(settings.outputs)}
                    workers.open(partial(start_worker, raw, settings.worker_threads, study.user_attrs[FINGERPRINT]))
                if isinstance(settings.engine, Slurm):
                    closing.enter_context(slurm_jobs(settings, display.say))
                if tracker is not None:
                    tracker.wait_until_warm()
        except Interrupted:
            display.say("stopped before the search began: the same command begins anew")
            return stop.exit_code
        keeper = Keeper(bench, settings)
        before = read_outcome(settings, study, settings.kpis).standing
        display.on_resume(before)
        here = limited(make_acts(bench, keeper.work), partial(stop.abandoned_after, settings.limits.grace_s))
        job = Search(
            study=study,
            space=space,
            kpis=settings.kpis,
            crew=workers or Here(here),
            budget=settings.budget,
            first=first_recipes(space) if settings.rules.warm_start else (),
            rules=settings.rules if trains(space) else replace(settings.rules, screens=False, bar=False),
            limits=_limits(settings),
            watch=_watch(display, keeper, tracker),
            should_stop=lambda: bool(stop),
            has_room=keeper.has_room,
            at_work=lambda: bench.quiet.working(BRIEFLY_S),
            again=keeper.damaged(before),
            left=keeper.left(),
        )
        with display:
            try:
                run_search(job)
            except AutooptError as error:
                log.error("%s", error)
                raise
        if workers:
            workers.close()
        if not keeper.left():  # else it serves siblings that the stop, or the deadline, has cost
            shutil.rmtree(keeper.work, ignore_errors=True)
        _conclude(settings, study, bench, tracker, stop)
        keeper.back_up()
        return stop.exit_code


def _workers(settings: Settings, say: Callable[[str], None]) -> AbstractContextManager[Hired | None]:
    """They import what they need while the search prepares."""
    log_to(settings.folder / "search.log")
    hire = row_of(settings.engine).hire
    if not settings.workers or hire is None:
        return nullcontext()
    shared = (settings.raw.get("artifacts") or {}).get("uri")
    place = Place(settings.folder, "autoopt.commands.acts", settings.worker_threads, shared, say)
    return hire(settings.engine, settings.workers, place)


def _prepare(settings: Settings, task: Task, stop: StopSignal, display: Display) -> tuple[optuna.Study, Bench]:
    """The teacher, the study and the bench. Raises Interrupted."""
    quiet = QuietMachine()
    if needs_training(task, settings.teacher):
        display.say("no weights of the teacher are given: it is trained once and kept, or read where it was")
    with quiet.working():
        hooks = Hooks(should_stop=partial(_give_way, quiet, stop))
        teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, hooks)
        if needs_training(task, settings.teacher) and not (settings.folder / DATABASE).is_file():
            check_teacher(task, teacher)
        weights = module_fingerprint(teacher)
        identity = fingerprint(settings, task, weights)
        study = open_study(settings.folder, settings.study, settings.kpis, identity, on_mend=display.say)
        study.sampler = make_sampler(settings.sampler, settings.seed + len(study.trials), settings.sampler_options)
        study.set_user_attr(CONFIGURATION, masked_values(settings.raw))
        keep_origin(study, settings, task)
        artifact.write_atomically(settings.folder / CONFIG, saved_text(settings.raw))
        log.info("%d workers, %d trials on record, %s", settings.workers, len(study.trials), settings.budget)
        if study.trials:
            there = sum(trial.state.is_finished() for trial in study.trials)
            display.say(f"going on after {there} trials that are there already")
        return study, make_bench(settings, task, teacher, weights, quiet)


def _limits(settings: Settings) -> Limits:
    """With a share of the machine's memory where none is given: a trial is ended before the system ends the search.
    Workers elsewhere do not share this machine's: Ray and Slurm look after theirs.
    """
    if not isinstance(settings.engine, Local):
        return settings.limits
    share = MEMORY_SHARE * machine_gb() / max(1, settings.workers)
    return settings.limits if settings.limits.trial_gb else replace(settings.limits, trial_gb=share)


def _watch(display: Display, keeper: Keeper, tracker: Tracker | None) -> Watch:
    def on_start(number: int, recipe: Recipe) -> None:
        display.on_start(number, recipe)
        keeper.on_start(number, recipe)

    def on_end(trial: Trial, standing: Standing) -> None:
        log.log(logging.WARNING if trial.state == FAILED else logging.INFO, "trial%s", display.on_end(trial, standing))
        keeper.on_end()
        if tracker is not None:
            tracker.update(standing)
        keeper.make_room(standing)

    def on_free(number: int) -> None:
        display.on_free(number)
        keeper.on_free(number)

    def on_turn(left: Left) -> None:
        display.on_turn(left)
        keeper.on_turn()

    return Watch(on_start, display.on_stage, display.on_epoch, keeper.keep, on_end, on_free, display.on_wait, on_turn)


def _give_way(quiet: QuietMachine, stop: StopSignal) -> bool:
    """Between two steps of training: another process may be measuring."""
    quiet.step()
    return bool(stop)


def _conclude(settings: Settings, study: optuna.Study, bench: Bench, tracker: Tracker | None, stop: StopSignal) -> None:
    """Champion, report, MLflow's last word, and what the terminal says."""
    front = read_outcome(settings, study, settings.kpis).standing.front
    if front:
        try:
            with stop.abandoned_after(settings.limits.grace_s), bench.quiet.working():
                crown(settings.folder, study, front, bench, settings.kpis, settings.exam)
        except Interrupted:
            log.warning("limits.grace_s=%g were over before the final exam: it waits", settings.limits.grace_s)
    outcome = read_outcome(settings, study, settings.kpis)
    files = write_report(outcome)
    hints = []
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
    before = read_saved(settings.folder) if (settings.folder / DATABASE).is_file() else None
    if before is not None:
        now, keys = masked_values(settings.raw), ("task", "space", "kpis", "seed")
        check_same(settings.study, {key: before.get(key) for key in keys}, {key: now[key] for key in keys})


def fingerprint(settings: Settings, task: Task, teacher: str) -> dict[str, Any]:
    """What must not change while a study goes on, or its trials could not be compared. `teacher`: its weights' hash."""
    return {
        "task": {"name": task.name, "data": task.fingerprint},
        **{key: settings.raw[key] for key in ("space", "kpis", "seed")},
        "teacher": {"weights": teacher},
        "runtime": {key: settings.raw["runtime"][key] for key in ("name", "threads")},
    }
