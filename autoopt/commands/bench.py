"""Preparing what all trials of a study share: the task, the teacher, its logits, the baseline."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.cpu import cpu_name, saturates
from autoopt.core.errors import ArtifactError, ConfigError, TrialError
from autoopt.core.metric import QUALITIES
from autoopt.core.packages import version_of
from autoopt.core.quiet import QuietMachine
from autoopt.core.recipe import BASELINE, TEACHER
from autoopt.core.space import Space, restrict, trains, typical, values, without_temperature
from autoopt.measurements import OF_CLASSES, wanted
from autoopt.measurements.drift import Drift
from autoopt.measurements.quality import FEWEST_ROWS, large_slices, predict
from autoopt.pipeline import Bench, build_student
from autoopt.quantization import SCHEMES, offered
from autoopt.runtimes import RUNTIMES, Session
from autoopt.runtimes.export import export
from autoopt.runtimes.providers import chosen, machine_of
from autoopt.tasks import TASKS, Task
from autoopt.tasks.checks import check_task, check_teacher
from autoopt.tasks.goal import CLASSIFICATION
from autoopt.training.lessons import Library
from autoopt.training.loop import Hooks
from autoopt.training.place import place_of
from autoopt.training.teacher import check_options, load_teacher, module_fingerprint, needs_training


def load_task(settings: Settings) -> Task:
    """Raises ConfigError."""
    build = TASKS[settings.task]
    takes_model = "pretrained" in signature(build).parameters
    if settings.teacher.model is not None and not takes_model:
        raise ConfigError(f"teacher.model={settings.teacher.model}: task {settings.task} has its own: leave it out")
    given = {"pretrained": settings.teacher.model} if takes_model else {}
    return judged(settings, build(**settings.task_options, **given))


def judged(settings: Settings, task: Task) -> Task:
    """The task by the metric that the KPIs name first."""
    return replace(task, goal=task.goal.judged(kpi.name for kpi in settings.kpis))


def check(settings: Settings, task: Task) -> None:
    """Whether task, space and KPIs fit together. Also sets torch's threads. Raises
    ConfigError, where the device or the provider is not here, too."""
    torch.set_num_threads(settings.threads)
    place_of(settings.device)
    chosen(settings.provider)
    students = (TEACHER, *task.students)
    for student in values(settings.space.knobs["student"]):
        if student not in students:
            allowed = ", ".join(students)
            raise ConfigError(f"space.student={student!r} does not fit task {task.name}. Allowed: {allowed}")
    augment = settings.space.knobs.get("augment")
    if augment is not None and task.transfer is None and values(augment) != (0,):
        raise ConfigError(f"space.augment: task {task.name} has no transfer set: type space.augment=0")
    metric, known = task.goal.metric.name, [metric.name for metric in task.goal.metrics]
    for kpi in settings.kpis:
        if kpi.name == "worst_slice" and not all(large_slices(split.slices) for split in (task.validation, task.test)):
            raise ConfigError(
                f"kpis.worst_slice: task {task.name} has no slice of {FEWEST_ROWS} or more rows in each split: "
                "type task.slice=COLUMN (task=text_classification), or give Task(slices=...)"
            )
        if kpi.name in OF_CLASSES and kpi.name not in QUALITIES and task.goal.kind != CLASSIFICATION:
            raise ConfigError(f"kpis.{kpi.name}: task {task.name} has numbers as targets, and no classes: leave it out")
        if kpi.name in QUALITIES and kpi.name not in known:
            preset = "kpis=regression, or " if metric == "r2" else ""
            raise ConfigError(
                f"kpis.{kpi.name}: the metric of task {task.name} is {metric}: type {preset}"
                f"'~kpis.{kpi.name}' kpis.{metric}.objective=true kpis.{metric}.max_drop=0.02"
            )
    check_task(task)


def check_given_teacher(settings: Settings, task: Task) -> None:
    """A teacher that needs no training is looked at before anything is written. Raises ConfigError."""
    check_options(task, settings.teacher)
    if needs_training(task, settings.teacher):
        return
    try:
        check_teacher(task, load_teacher(task, settings.teacher, settings.cache, settings.seed, Hooks()))
    except TrialError as error:  # the user's own metric
        raise ConfigError(f"the teacher cannot be judged: {error}") from error


def narrow(settings: Settings, task: Task) -> Space:
    """The space with, for each student, the quantization schemes that change something in it. Raises ConfigError."""
    teacher = task.build_teacher()
    if not any(True for _ in teacher.parameters()):
        _refuse_training(settings, task.name)
    try:
        schemes = {
            str(name): offered(build_student(task, teacher, typical(settings.space, str(name))))
            for name in values(settings.space.knobs["student"])
        }
    except TrialError as error:
        raise ConfigError(f"no typical student can be built: {error}: leave it out of the space") from error
    return restrict(
        settings.space if task.goal.kind == CLASSIFICATION else without_temperature(settings.space), schemes
    )


def _refuse_training(settings: Settings, task: str) -> None:
    """Of a model without weights, such as an ONNX file. Raises ConfigError where it would be trained."""
    if settings.teacher.epochs > 0:
        raise ConfigError(f"teacher.epochs={settings.teacher.epochs}: task {task}'s model has no weights: leave it out")
    if set(values(settings.space.knobs["student"])) == {TEACHER} and trains(settings.space):
        raise ConfigError(f"task {task}'s model has no weights that could be trained: type space.pruning=none")


def bench_as_begun(settings: Settings, task: Task, accept: Callable[[str], None]) -> Bench:
    """Of a study that another process has begun, in this one: `accept` is shown the fingerprint of the teacher's
    weights, and raises ConfigError where they are not the study's.
    """
    check(settings, task)
    quiet = QuietMachine()
    with quiet.working():
        teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, Hooks(), settings.device)
        weights = module_fingerprint(teacher)
        accept(weights)
        return make_bench(settings, task, teacher, weights, quiet)


def make_bench(
    settings: Settings, task: Task, teacher: nn.Module, weights: str, quiet: QuietMachine | None = None
) -> Bench:
    """Export the teacher as the baseline into the study's folder, and have it label the train split. `weights`: its
    fingerprint; `quiet`: that of the search, which works under it. Raises ConfigError where the baseline's runtime
    cannot serve it.
    """
    first, provider = settings.runtimes[0], chosen(settings.provider)
    baseline = _baseline(settings, task, teacher, weights)
    try:
        session = _open(settings, first, baseline)
    except TrialError as error:
        others = " or ".join(f"runtime={name}" for name in RUNTIMES if name != first)
        raise ConfigError(f"runtime={first} cannot serve the baseline: {error}: type {others}") from error
    library = Library(
        task, weights, settings.cache, open_teacher=lambda: RUNTIMES[first](baseline, settings.threads, provider)
    )
    library.lessons()  # now, so that no trial's seconds contain it
    return Bench(
        task=task,
        teacher=teacher,
        library=library,
        open_in=partial(_open, settings),
        baseline_path=baseline,
        baseline_session=session,
        baseline_outputs=predict(session, task.validation.inputs.numpy()),
        measuring=settings.measuring,
        conditions=_conditions(settings),
        seed=settings.seed,
        measures=wanted(settings.kpis),
        structures=settings.folder / "structures",
        quiet=quiet or QuietMachine(),
        drift=Drift(),
        device=settings.device,
        store=settings.store,
    )


def _conditions(settings: Settings) -> dict[str, Any]:
    return {
        "runtime": settings.runtimes[0],
        "threads": settings.runtime_threads,
        **machine_of(chosen(settings.provider)),
        "measuring": asdict(settings.measuring),
        "cpu": cpu_name(),
        "saturates": saturates(),
        "versions": {package: version_of(package) for package in ("autoopt", "onnxruntime", *_packages(settings))},
    }


def _packages(settings: Settings) -> list[str]:
    """Those of the extras that the study uses."""
    schemes = map(str, values(settings.space.knobs["quantization"]))
    return [*settings.runtimes, *(needed[0] for scheme in schemes if (needed := SCHEMES[scheme].needs))]


def _open(settings: Settings, runtime: str, path: Path) -> Session:
    return RUNTIMES[runtime](path, settings.runtime_threads, chosen(settings.provider))


def _baseline(settings: Settings, task: Task, teacher: nn.Module, weights: str) -> Path:
    """outputs/STUDY/baseline/model.onnx: written once, and again only if it is damaged or of another teacher."""
    folder = settings.folder / "baseline"
    card = {
        "task": task.name,
        "data": task.fingerprint,
        "teacher": weights,
        "input": task.input_meaning,
    }
    settings.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.folder / "baseline.lock"):  # two workers of another machine may begin at once
        try:
            if artifact.verify(folder) == json.loads(json.dumps(card)):
                return folder / artifact.MODEL
        except ArtifactError:
            pass  # not there yet, or not whole: it is made again below
        model = settings.folder / "baseline.onnx"
        export(teacher, task.validation.inputs[:2], model)
        artifact.write(folder, model, BASELINE, card, task.files)
        model.unlink()
        return folder / artifact.MODEL
