"""Preparing what all trials of a study share: the task, the teacher, its logits, the baseline."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.cpu import cpu_name, saturates
from autoopt.core.errors import ArtifactError, ConfigError
from autoopt.core.recipe import BASELINE, TEACHER
from autoopt.core.space import Space, restrict, values
from autoopt.measurements.quality import predict
from autoopt.pipeline import Bench
from autoopt.quantization import offered
from autoopt.runtimes import RUNTIMES, Session
from autoopt.runtimes.export import export
from autoopt.students import STUDENTS
from autoopt.tasks import TASKS, Task
from autoopt.training.teacher import teacher_logits


def load_task(settings: Settings) -> Task:
    """Also sets torch's threads. Raises ConfigError where the space names a student that does not take its inputs."""
    torch.set_num_threads(settings.threads)
    task = TASKS[settings.task]()
    for student in values(settings.space.knobs["student"]):
        if student != TEACHER and student not in task.students:
            raise ConfigError(
                f"space.student={student!r} does not fit task {task.name}: {', '.join((TEACHER, *task.students))} do"
            )
    return task


def narrow(settings: Settings, task: Task) -> Space:
    """The space with, for each student, the quantization schemes that change something in it. Raises ConfigError."""
    schemes = {
        str(name): offered(
            task.build_teacher() if name == TEACHER else STUDENTS[str(name)].build(task.input_shape, task.classes, 1.0)
        )
        for name in values(settings.space.knobs["student"])
    }
    return restrict(settings.space, schemes)


def make_bench(settings: Settings, task: Task, teacher: nn.Module, weights: str) -> Bench:
    """Cache the teacher's logits and export it as the baseline into the study's folder. `weights`: the teacher's
    fingerprint.
    """
    open_session: Callable[[Path], Session] = partial(_open, settings)
    baseline = _baseline(settings, task, teacher, weights)
    session = open_session(baseline)
    logits = teacher_logits(
        lambda: RUNTIMES[settings.runtime](baseline, settings.threads), weights, task, settings.cache
    )
    return Bench(
        task=task,
        teacher=teacher,
        logits=logits,
        open_session=open_session,
        baseline_path=baseline,
        baseline_session=session,
        baseline_predictions=predict(session, task.validation.inputs.numpy()),
        measuring=settings.measuring,
        conditions=_conditions(settings),
        seed=settings.seed,
        structures=settings.folder / "structures",
    )


def _conditions(settings: Settings) -> dict[str, Any]:
    return {
        "runtime": settings.runtime,
        "threads": settings.runtime_threads,
        "measuring": asdict(settings.measuring),
        "cpu": cpu_name(),
        "saturates": saturates(),
        "versions": {package: version(package) for package in ("autoopt", "onnxruntime")},
    }


def _open(settings: Settings, path: Path) -> Session:
    return RUNTIMES[settings.runtime](path, settings.runtime_threads)


def _baseline(settings: Settings, task: Task, teacher: nn.Module, weights: str) -> Path:
    """outputs/STUDY/baseline/model.onnx: written once, and again only if it is damaged or of another teacher."""
    folder = settings.folder / "baseline"
    card = {
        "task": task.name,
        "data": task.fingerprint,
        "teacher": weights,
        "input": task.input_meaning,
    }
    try:
        if artifact.verify(folder) == json.loads(json.dumps(card)):
            return folder / artifact.MODEL
    except ArtifactError:
        pass  # not there yet, or not whole: it is made again below
    settings.folder.mkdir(parents=True, exist_ok=True)
    model = settings.folder / "baseline.onnx"
    export(teacher, task.validation.inputs[:2], model)
    artifact.write(folder, model, BASELINE, card)
    model.unlink()
    return folder / artifact.MODEL
