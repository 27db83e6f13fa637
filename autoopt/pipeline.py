"""READ THIS FIRST. The story of a trial: recipe -> student -> pruned -> trained -> onnx -> quantized -> measured."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoopt.core.clock import StageClock
from autoopt.core.recipe import TEACHER, Recipe
from autoopt.core.trial import Evaluation
from autoopt.measurements import MEASURES, Options, Subject
from autoopt.pruning import METHODS, Pruned
from autoopt.quantization import SCHEMES, Calibration
from autoopt.runtimes import Session
from autoopt.runtimes.export import export
from autoopt.runtimes.parity import check_parity
from autoopt.students import STUDENTS
from autoopt.tasks import Task
from autoopt.training.loop import Hooks, train

PRUNING_BATCH, PARITY_BATCH, CALIBRATION_INPUTS = 256, 64, 256


@dataclass(frozen=True, eq=False)
class Bench:
    """What all trials of a study share. `logits` are the teacher's on the train split (n, classes)."""

    task: Task
    teacher: nn.Module
    logits: Tensor
    open_session: Callable[[Path], Session]
    baseline_path: Path
    baseline_session: Session
    baseline_predictions: np.ndarray
    measuring: Options
    seed: int


def run_trial(recipe: Recipe, bench: Bench, folder: Path, hooks: Hooks) -> Evaluation:
    """Build the recipe's artifact in `folder` (model.onnx, beside the float model) and measure it against the baseline.

    The same recipe and seed give the same artifact. Raises TrialError where the recipe does not work out.
    """
    torch.manual_seed(bench.seed)
    folder.mkdir(parents=True, exist_ok=True)
    float_path, path = folder / "float.onnx", folder / "model.onnx"
    clock = StageClock()
    curve: list[float] = []
    facts: dict[str, Any] = {}

    with clock("structure"):
        pruned = prune(build_student(recipe, bench), recipe, bench.task)
    if recipe.is_trained:
        with clock("train"):
            curve = train(pruned, bench.task, bench.logits, recipe, seed=bench.seed, hooks=hooks)
    with clock("export"):
        facts["exporter"] = export(pruned.model, bench.task.validation.inputs[:PARITY_BATCH], float_path)
        facts |= check_parity(pruned.model, bench.open_session(float_path), bench.task.validation.inputs[:PARITY_BATCH])
    with clock("quantize"):
        facts |= quantize(recipe, bench.task, float_path, path)
    with clock("measure"):
        subject = make_subject(path, float_path, bench)
        measurements = {name: m for measure in MEASURES.values() for name, m in measure.take(subject).items()}
    return Evaluation(measurements, clock.seconds, tuple(curve), facts)


def build_student(recipe: Recipe, bench: Bench) -> nn.Module:
    """A copy of the teacher with its weights, or a fresh architecture."""
    if recipe.student == TEACHER:
        return copy.deepcopy(bench.teacher)
    return STUDENTS[recipe.student].build(bench.task.input_shape, bench.task.classes, recipe.width or 1.0)


def prune(student: nn.Module, recipe: Recipe, task: Task) -> Pruned:
    """Structured methods remove channels here and now; unstructured ones zero weights while the student trains."""
    amount = recipe.pruning_ratio or recipe.sparsity or 0.0
    inputs, targets = task.train.inputs[:PRUNING_BATCH], task.train.targets[:PRUNING_BATCH]
    return METHODS[recipe.pruning].prune(student, inputs, targets, amount)


def quantize(recipe: Recipe, task: Task, source: Path, target: Path) -> dict[str, Any]:
    """Write the quantized model; returns what the scheme chose for this CPU."""
    calibration = Calibration(task.train.inputs[:CALIBRATION_INPUTS].numpy(), recipe.calibration)
    return SCHEMES[recipe.quantization].quantize(source, target, calibration)


def make_subject(path: Path, float_path: Path, bench: Bench) -> Subject:
    return Subject(
        path=path,
        float_path=float_path,
        session=bench.open_session(path),
        baseline_path=bench.baseline_path,
        baseline_session=bench.baseline_session,
        inputs=bench.task.validation.inputs.numpy(),
        targets=bench.task.validation.targets.numpy(),
        baseline_predictions=bench.baseline_predictions,
        options=bench.measuring,
    )
