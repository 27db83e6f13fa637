"""autoopt search: the main job."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from autoopt.champion.card import make_card
from autoopt.commands.bench import load_task, make_bench, narrow
from autoopt.commands.logs import log_to
from autoopt.commands.outcome import conclude, stdout_console
from autoopt.commands.stop import StopSignal
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.errors import TrialError
from autoopt.core.recipe import BASELINE, TEACHER, Recipe
from autoopt.core.space import Space, typical, values
from autoopt.core.standing import Standing
from autoopt.core.trial import Evaluation, Trial
from autoopt.measurements import FACTS
from autoopt.pipeline import Bench, run_trial
from autoopt.report.live import Display
from autoopt.search.loop import Search, Watch, run_search
from autoopt.search.record import read_trials
from autoopt.search.samplers import make_sampler
from autoopt.search.study import DATABASE, check_same, lock_study, open_study
from autoopt.tasks import Task
from autoopt.training.loop import Hooks

log = logging.getLogger(__name__)


def search(settings: Settings) -> int:
    """Search, score, log and export. Prints the table and, as the last line of stdout, the JSON document."""
    _refuse_early(settings)
    task = load_task(settings)
    space = narrow(settings, task)
    with lock_study(settings.folder, settings.study), StopSignal() as stop:
        study = open_study(settings.folder, settings.study, settings.kpis, fingerprint(settings, task))
        study.sampler = make_sampler(settings.sampler, settings.seed + len(study.trials), settings.sampler_options)
        artifact.write_atomically(settings.folder / "config.yaml", yaml.safe_dump(dict(settings.raw), sort_keys=False))
        log_to(settings.folder / "search.log")
        display = Display(settings.study, settings.kpis, settings.budget.hours, settings.budget.trials)
        hooks = Hooks(should_stop=lambda: bool(stop), on_epoch=display.on_epoch)
        display.say(f"study {settings.study} in {settings.folder}")
        bench = make_bench(settings, task, hooks)
        view = _open_view(settings, display)
        watch = Watch(
            on_start=display.on_start, on_end=lambda trial, standing: _on_end(trial, standing, settings, display, view)
        )
        with display:
            stopped_by = run_search(
                Search(
                    study,
                    space,
                    settings.kpis,
                    lambda recipe, number: _evaluate(recipe, number, bench, settings, hooks),
                    settings.budget,
                    first_recipes(space),
                    watch,
                    should_stop=lambda: bool(stop),
                )
            )
        log.info("stopped by %s after %d trials", stopped_by, len(read_trials(study)))
        document = conclude(settings, study, task, bench.open_session, view, stdout_console())
        print(json.dumps(document))
        sys.stdout.flush()
        return stop.exit_code


def first_recipes(space: Space) -> list[Recipe]:
    """Before the sampler has a say: the teacher under each scheme (no training, seconds), then a typical recipe of
    each student.
    """
    students = [str(student) for student in values(space.knobs["student"])]
    typicals = [recipe for recipe in (typical(space, student) for student in students) if recipe.is_trained]
    return [*_quantized_teachers(space), *typicals]


def _quantized_teachers(space: Space) -> list[Recipe]:
    """Those outside of the space drop out when they are queued."""
    if TEACHER not in values(space.knobs["student"]):
        return []
    calibrations = values(space.knobs["calibration"]) if "calibration" in space.knobs else ()
    asked = space.needs["calibration"][1]
    schemes = [
        str(scheme) for scheme in values(space.knobs["quantization"], TEACHER) if scheme != BASELINE.quantization
    ]
    return [
        Recipe(TEACHER, "none", s, calibration=str(calibrations[0]) if s in asked and calibrations else None)
        for s in schemes
    ]


def _refuse_early(settings: Settings) -> None:
    """What differs from the study's saved configuration is known before data and storage are opened."""
    saved = settings.folder / "config.yaml"
    if (settings.folder / DATABASE).is_file() and saved.is_file():
        before = yaml.safe_load(saved.read_text())
        keys = ("task", "space", "kpis", "seed")
        check_same(settings.study, {key: before.get(key) for key in keys}, {key: settings.raw[key] for key in keys})


def fingerprint(settings: Settings, task: Task) -> dict[str, Any]:
    """What must not change while a study goes on: its trials would not be comparable."""
    checkpoint = settings.teacher.checkpoint
    teacher = {
        **settings.raw["teacher"],
        "checkpoint": None if checkpoint is None else artifact.sha256(checkpoint)[:16],
    }
    runtime = {key: settings.raw["runtime"][key] for key in ("name", "threads")}
    return {
        "task": {"name": task.name, "data": task.fingerprint},
        **{key: settings.raw[key] for key in ("space", "kpis", "seed")},
        "teacher": teacher,
        "runtime": runtime,
    }


def _evaluate(recipe: Recipe, number: int, bench: Bench, settings: Settings, hooks: Hooks) -> Evaluation:
    """Run the trial in a work folder, then keep its artifact. Out of memory counts as the trial's failure, not the
    search's.
    """
    work = settings.folder / "work"
    try:
        evaluation = run_trial(recipe, bench, work, hooks)
        card = make_card(
            task=bench.task,
            recipe=recipe,
            evaluation=evaluation,
            kpis=settings.kpis,
            facts=FACTS,
            runtime=settings.runtime,
            threads=settings.runtime_threads,
            seed=settings.seed,
            study=settings.study,
            trial=number,
        )
        artifact.write(trial_folder(settings, number), work / artifact.MODEL, recipe, card)
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error).lower():
            raise TrialError(f"out of memory: {' '.join(str(error).split())[:200]}") from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return evaluation


def trial_folder(settings: Settings, number: int) -> Path:
    return settings.folder / "trials" / f"{number:04d}"


def _on_end(trial: Trial, standing: Standing, settings: Settings, display: Display, view: Any) -> None:
    display.on_end(trial, standing)
    log.info("trial %d %s %s: %s", trial.number, trial.state, trial.reason, trial.recipe.to_dict())
    if view is not None:
        view.add(trial, standing)
    keep = {trial.number for trial in standing.front} | (
        {standing.nearest_miss.number} if standing.nearest_miss else set()
    )
    for folder in (settings.folder / "trials").glob("[0-9]*"):
        if folder.name.isdigit() and int(folder.name) not in keep:
            shutil.rmtree(folder, ignore_errors=True)


def _open_view(settings: Settings, display: Display) -> Any:
    """The MLflow view, or None where it is turned off or in trouble: the search goes on without."""
    if settings.tracker == "none":
        return None
    from autoopt.tracking.store import default_uri  # MLflow costs two seconds to import: only where it is used
    from autoopt.tracking.view import TROUBLE, View

    uri = settings.tracking_uri or default_uri(settings.outputs)
    try:
        return View.open(
            uri,
            settings.outputs,
            settings.task,
            settings.study,
            settings.kpis,
            lambda number: trial_folder(settings, number),
        )
    except TROUBLE as error:
        log.warning("MLflow at %s is not reachable (%s)", uri, error)
        display.say(
            f"warning: MLflow is not reachable, the study keeps everything: {' '.join(str(error).split())[:160]}"
        )
        return None
