"""autoopt search: the main job."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import yaml

from autoopt.champion.card import make_card
from autoopt.champion.package import crown
from autoopt.commands.bench import check, load_task, make_bench, narrow
from autoopt.commands.conclude import read_outcome, tell, write_report
from autoopt.commands.first import first_recipes
from autoopt.commands.logs import log_to
from autoopt.commands.stop import StopSignal
from autoopt.commands.tracking import finish_tracker, start_tracker
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import Interrupted
from autoopt.core.quiet import QuietMachine
from autoopt.core.space import trains
from autoopt.core.standing import Standing
from autoopt.core.trial import Draft, Trial
from autoopt.measurements import FACTS
from autoopt.pipeline import Bench, artifact_path, make_up_siblings, run_trial
from autoopt.report.live import Display
from autoopt.search.budget import EXHAUSTED
from autoopt.search.loop import run_search
from autoopt.search.samplers import make_sampler
from autoopt.search.screening import Gate
from autoopt.search.search import Search, Watch
from autoopt.search.study import DATABASE, check_same, lock_study, open_study
from autoopt.tasks import Task
from autoopt.tasks.checks import check_teacher
from autoopt.tracking.tracker import Tracker
from autoopt.training.loop import Hooks
from autoopt.training.teacher import load_teacher, module_fingerprint, needs_training

log = logging.getLogger(__name__)


def search(settings: Settings) -> int:
    """Search, score, log and export. Prints the table and, as the last line of stdout, the JSON document."""
    _refuse_early(settings)
    return run(settings, load_task(settings))


def run(settings: Settings, task: Task) -> int:
    """The search of a task that was loaded."""
    check(settings, task)
    space = narrow(settings, task)
    with lock_study(settings.folder, settings.study), StopSignal() as stop, ExitStack() as closing:
        display = Display(settings.study, settings.kpis, settings.budget.hours, settings.budget.trials)
        quiet = QuietMachine()
        hooks = Hooks(should_stop=partial(_give_way, quiet, stop), on_epoch=display.on_epoch)
        work = settings.folder / "work"
        log_to(settings.folder / "search.log")
        display.say(f"study {settings.study} in {settings.folder}")
        if needs_training(task, settings.teacher):
            display.say("no weights of the teacher are given: it is trained once and kept, or read where it was")
        try:
            with quiet.working():
                teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, hooks)
        except Interrupted:
            display.say("stopped before the study began, while the teacher was trained")
            return stop.exit_code
        if not (settings.folder / DATABASE).is_file():  # a study that has begun refuses other weights
            check_teacher(task, teacher)
        weights = module_fingerprint(teacher)
        identity = fingerprint(settings, task, weights)
        study = open_study(settings.folder, settings.study, settings.kpis, identity)
        study.sampler = make_sampler(settings.sampler, settings.seed + len(study.trials), settings.sampler_options)
        artifact.write_atomically(settings.folder / "config.yaml", yaml.safe_dump(dict(settings.raw), sort_keys=False))
        if study.trials:
            there = sum(trial.state.is_finished() for trial in study.trials)
            display.say(f"going on after {there} trials that are there already")
        tracker = start_tracker(settings, study, display.say)
        if tracker is not None:
            closing.callback(tracker.close)
        with quiet.working():
            bench = make_bench(settings, task, teacher, weights, quiet)
        if tracker is not None:
            tracker.wait_until_warm()
        watch = Watch(
            display.on_start, partial(_keep, bench, settings, work), partial(_on_end, settings, display, tracker)
        )
        job = Search(
            study=study,
            space=space,
            kpis=settings.kpis,
            evaluate=partial(_evaluate, bench, work, hooks),
            make_up=lambda trial, recipes: make_up_siblings(trial, recipes, bench, work),
            budget=settings.budget,
            first=first_recipes(space) if settings.rules.warm_start else (),
            rules=settings.rules if trains(space) else replace(settings.rules, screens=False, bar=False),
            watch=watch,
            should_stop=hooks.should_stop,
        )
        with display, quiet.working():
            stopped_by = run_search(job)
        if stopped_by != "interrupt":  # what it holds may serve the siblings that the stop has cost
            shutil.rmtree(work, ignore_errors=True)
        _conclude(settings, study, bench, tracker)
        return stop.exit_code


def _give_way(quiet: QuietMachine, stop: StopSignal) -> bool:
    """Between two steps of training: another process may be measuring."""
    quiet.step()
    return bool(stop)


def _conclude(settings: Settings, study: optuna.Study, bench: Bench, tracker: Tracker | None) -> None:
    """Champion, report, MLflow's last word, and what the terminal says."""
    front = read_outcome(settings, study, settings.kpis).standing.front
    if front:
        with bench.quiet.working():
            crown(settings.folder, study, front, bench, settings.kpis, settings.exam)
    outcome = read_outcome(settings, study, settings.kpis)
    files = write_report(outcome)
    hints = []
    if tracker is not None:
        hints.append(finish_tracker(tracker, outcome, files))
    if outcome.stopped_by == EXHAUSTED:
        hints.append("the space is exhausted: every recipe that was proposed had been evaluated before")
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
    """What differs from the study's saved configuration is known before data and storage are opened."""
    saved = settings.folder / "config.yaml"
    if (settings.folder / DATABASE).is_file() and saved.is_file():
        before = yaml.safe_load(saved.read_text())
        keys = ("task", "space", "kpis", "seed")
        check_same(settings.study, {key: before.get(key) for key in keys}, {key: settings.raw[key] for key in keys})


def fingerprint(settings: Settings, task: Task, teacher: str) -> dict[str, Any]:
    """What must not change while a study goes on, or its trials could not be compared. `teacher`: its weights' hash."""
    return {
        "task": {"name": task.name, "data": task.fingerprint},
        **{key: settings.raw[key] for key in ("space", "kpis", "seed")},
        "teacher": {"weights": teacher},
        "runtime": {key: settings.raw["runtime"][key] for key in ("name", "threads")},
    }


def _evaluate(bench: Bench, work: Path, hooks: Hooks, draft: Draft, gate: Gate) -> Iterator[Draft]:
    """Run the trial in the work folder, under the gate."""

    def on_epoch(epoch: int, quality: float) -> None:
        hooks.on_epoch(epoch, quality)
        gate.after_epoch(draft.measurements, draft.curve)

    def should_stop() -> bool:
        gate.check_time()
        return hooks.should_stop()

    with draft.clock("log"):
        shutil.rmtree(work, ignore_errors=True)  # of the trial before, whose artifacts are kept by now
        work.mkdir(parents=True)
    return run_trial(draft, bench, work, Hooks(should_stop, on_epoch), gate.admit)


def _keep(bench: Bench, settings: Settings, work: Path, trial: Trial, standing: Standing) -> None:
    """Write the artifact of a trial that has just reached the front, or is the nearest miss."""
    if trial.number not in _worth_keeping(standing) or trial.evaluation is None:
        return
    model = artifact_path(work, trial.recipe)
    card = make_card(
        task=bench.task,
        recipe=trial.recipe,
        model=model,
        evaluation=trial.evaluation,
        kpis=settings.kpis,
        facts=FACTS,
        runtime=bench.runtime_of(trial.recipe),
        baseline_runtime=settings.runtimes[0],
        threads=settings.runtime_threads,
        seed=settings.seed,
        study=settings.study,
        trial=trial.number,
    )
    folder = artifact.trial_folder(settings.folder, trial.number)
    artifact.write(folder, model, trial.recipe, card, bench.task.files)


def _worth_keeping(standing: Standing) -> set[int]:
    miss = standing.nearest_miss
    return {trial.number for trial in standing.front} | ({miss.number} if miss else set())


def _on_end(settings: Settings, display: Display, tracker: Tracker | None, trial: Trial, standing: Standing) -> None:
    """Show the trial, tell the tracker, remove the artifacts of what has left the front."""
    display.on_end(trial, standing)
    log.info("trial %d %s %s: %s", trial.number, trial.state, trial.reason, trial.recipe.to_dict())
    if tracker is not None:
        tracker.update(standing)
    kept = {artifact.trial_folder(settings.folder, number) for number in _worth_keeping(standing)}
    for folder in (settings.folder / "trials").iterdir() if (settings.folder / "trials").is_dir() else ():
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
