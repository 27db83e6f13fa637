"""READ THIS FIRST. The story of a trial: recipe -> student -> pruned -> trained -> onnx -> quantized -> measured."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoopt.core.errors import TrialError
from autoopt.core.kpi import Measurements
from autoopt.core.recipe import TEACHER, Recipe
from autoopt.core.trial import Draft
from autoopt.measurements import Options, Subject
from autoopt.pruning import METHODS, Pruned
from autoopt.quantization import SCHEMES, Calibration
from autoopt.runtimes import Session
from autoopt.runtimes.parity import check_parity
from autoopt.runtimes.template import GRAPH, fill
from autoopt.structures import measure_structure, measure_weights, open_structure
from autoopt.students import STUDENTS
from autoopt.tasks import Task
from autoopt.training.loop import Hooks, train

PRUNING_BATCH, PARITY_BATCH, CALIBRATION_INPUTS, SCREENING_INPUTS = 256, 64, 256, 32


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
    structures: Path
    """Where exported and measured structures are kept."""


def run_trial(
    draft: Draft, bench: Bench, folder: Path, hooks: Hooks, admit: Callable[[Measurements], None]
) -> Iterator[Draft]:
    """Build the artifact of the draft's recipe in `folder` and measure it against the baseline.

    Fills the draft; what it returns makes its siblings' from the same weights, one by one. `admit` is shown what the
    structure decides, before training; it and `hooks.on_epoch` may raise Screened. The same recipe and seed give the
    same artifact. Raises TrialError where the recipe does not work out; a sibling that does not says so in `failure`.
    """
    recipe, clock, inputs = draft.recipe, draft.clock, bench.task.validation.inputs[:PARITY_BATCH]
    torch.manual_seed(bench.seed)
    with clock("structure"):
        pruned = prune(build_student(recipe, bench), recipe, bench.task)
        structure = open_structure(pruned.model, inputs, bench.structures)
    with clock("screen"):
        screen(draft, structure, bench, folder, admit)
    if recipe.is_trained:
        with clock("train"):
            train(pruned, bench.task, bench.logits, recipe, seed=bench.seed, hooks=recording(draft, hooks))
    with clock("export"):
        float_path = folder / "float.onnx"
        draft.facts |= fill(pruned.model, inputs, structure, float_path)
        draft.facts |= check_parity(pruned.model, bench.open_session(float_path), inputs)
    siblings = [Draft(sibling, curve=draft.curve, facts=dict(draft.facts)) for sibling in draft.siblings]
    finish(draft, float_path, bench, folder)
    return (finish_sibling(sibling, structure, float_path, bench, folder) for sibling in siblings)


def screen(draft: Draft, structure: Path, bench: Bench, folder: Path, admit: Callable[[Measurements], None]) -> None:
    """Measure what the structure decides under the recipe's scheme, or remember it."""
    graph, path = structure / GRAPH, folder / "structure.onnx"

    def quantized() -> Subject:
        quantize(replace(draft.recipe, calibration=None), bench.task, graph, path, SCREENING_INPUTS)
        return make_subject(path, graph, bench)

    for found in measure_structure(structure, draft.recipe.quantization, quantized):
        draft.measurements |= found
        admit(draft.measurements)


def recording(draft: Draft, hooks: Hooks) -> Hooks:
    """The hooks, with the learning curve noted in the draft first."""

    def on_epoch(epoch: int, quality: float) -> None:
        draft.curve.append(quality)
        hooks.on_epoch(epoch, quality)

    return Hooks(hooks.should_stop, on_epoch)


def finish(draft: Draft, float_path: Path, bench: Bench, folder: Path) -> None:
    """Quantize the trained model into `artifact_path` and measure what its weights decide."""
    path = artifact_path(folder, draft.recipe)
    with draft.clock("quantize"):
        draft.facts |= quantize(draft.recipe, bench.task, float_path, path, CALIBRATION_INPUTS)
    with draft.clock("measure"):
        draft.measurements |= measure_weights(make_subject(path, float_path, bench))


def finish_sibling(sibling: Draft, structure: Path, float_path: Path, bench: Bench, folder: Path) -> Draft:
    """The same weights under another scheme."""
    try:
        with sibling.clock("screen"):
            screen(sibling, structure, bench, folder, admit=lambda measurements: None)
        finish(sibling, float_path, bench, folder)
    except (TrialError, MemoryError) as error:
        sibling.failure = str(error) or type(error).__name__
    return sibling


def artifact_path(folder: Path, recipe: Recipe) -> Path:
    """Where a trial leaves the model of its recipe, or of a sibling's."""
    return folder / f"{recipe.fingerprint}.onnx"


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


def quantize(recipe: Recipe, task: Task, source: Path, target: Path, inputs: int) -> dict[str, Any]:
    """Write the quantized model, calibrated on so many inputs; returns what the scheme chose for this CPU."""
    calibration = Calibration(task.train.inputs[:inputs].numpy(), recipe.calibration)
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
