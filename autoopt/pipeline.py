"""READ THIS FIRST. The story of a trial: recipe -> student -> pruned -> trained -> onnx -> quantized -> measured."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autoopt.artifacts.store import Store
from autoopt.core.artifact import sha256
from autoopt.core.errors import Interrupted, OutOfTime, foreign
from autoopt.core.kpi import Measurements
from autoopt.core.quiet import QuietMachine
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.rows import spread
from autoopt.core.trial import Draft, Trial
from autoopt.low_bits import in_words, quantize, rank
from autoopt.measurements import Options, Subject
from autoopt.measurements.drift import Drift
from autoopt.pruning import METHODS, Pruned
from autoopt.quantization import SCHEMES, Learned
from autoopt.runtimes import Session
from autoopt.runtimes.template import GRAPH, is_template
from autoopt.structures import export_into, measure_structure, measure_weights, open_structure
from autoopt.students import STUDENTS
from autoopt.tasks import Task
from autoopt.training.lessons import Library
from autoopt.training.loop import Hooks, train
from autoopt.training.place import CPU, place_of
from autoopt.training.quantized import train_quantized

INHERITED = ("structure", "exporter", "parity_max_abs", "parity_argmax", "weights_sha256")
PRUNING_BATCH, PARITY_BATCH, CALIBRATION_INPUTS, SCREENING_INPUTS = 256, 64, 256, 32
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all trials of a study share."""

    task: Task
    teacher: nn.Module
    library: Library
    open_in: Callable[[str, Path], Session]
    """Opens a model file in the runtime of that name."""
    baseline_path: Path
    baseline_session: Session
    baseline_outputs: np.ndarray
    measuring: Options
    conditions: Mapping[str, Any]
    """Under which measurements are comparable: runtime, threads, CPU, versions. Plain JSON values. The runtime is that
    of the baseline, and of each recipe that names none; provider and gpu are there where onnxruntime runs on one.
    """
    seed: int
    measures: frozenset[str]
    """Names in MEASURES: what each trial takes."""
    structures: Path
    """Where exported and measured structures are kept."""
    quiet: QuietMachine
    drift: Drift
    device: str = CPU
    """Where students are trained: see place_of."""
    store: Store | None = None
    """Where models go that another machine may have to read."""

    def runtime_of(self, recipe: Recipe) -> str:
        return recipe.runtime or str(self.conditions["runtime"])

    @property
    def provider(self) -> str:
        return str(self.conditions.get("provider", CPU))

    def is_baseline(self, recipe: Recipe) -> bool:
        return replace(recipe, runtime=None) == BASELINE and self.runtime_of(recipe) == self.runtime_of(BASELINE)

    def compared(self, recipe: Recipe, found: Measurements) -> Measurements:
        """The baseline was measured twice, beside itself: what differs is noise, and must not break a bound or meet
        one.
        """
        return {name: m.beside_itself() for name, m in found.items()} if self.is_baseline(recipe) else found

    def open_session(self, path: Path, recipe: Recipe = BASELINE) -> Session:
        return self.open_in(self.runtime_of(recipe), path)


def run_trial(
    draft: Draft, bench: Bench, folder: Path, hooks: Hooks, admit: Callable[[Measurements], None]
) -> Iterator[Draft]:
    """Build the artifact of the draft's recipe in `folder` and measure it against the baseline.

    Fills the draft; what it returns makes its siblings' from the same weights, one by one. `admit` is shown what the
    structure decides, before training; it and `hooks.on_epoch` may raise Screened. The same recipe and seed give the
    same artifact. Raises TrialError where the recipe does not work out; where only its quantization scheme does not,
    or a sibling's, that draft says so in `error`.
    """
    recipe, clock, inputs = draft.recipe, draft.clock, bench.task.validation.inputs[:PARITY_BATCH]
    torch.manual_seed(bench.seed)
    with clock("structure"):
        pruned = prune(build_student(bench.task, bench.teacher, recipe), recipe, bench.task)
        structure = open_structure(pruned.model, inputs, bench.structures)
        draft.facts["structure"] = structure.name
    with clock("screen"):
        screen(draft, bench, folder, admit)
    if recipe.is_trained:
        with clock("train"):
            at, noting = place_of(bench.device), recording(draft, hooks)
            lessons = bench.library.lessons_on(at.device, recipe.augment or 0)
            train(pruned, lessons, bench.task.validation, recipe, seed=bench.seed, hooks=noting, at=at)
            draft.facts |= at.facts
    with clock("export"):
        weights = weights_path(folder, recipe)
        draft.facts |= export_into(structure, pruned.model, inputs, weights, bench.open_session)
        draft.facts["weights_sha256"] = sha256(weights)
    siblings = [Draft(sibling, curve=draft.curve, facts=dict(draft.facts)) for sibling in draft.siblings]
    with noted(draft):
        if SCHEMES[recipe.quantization].trains:
            tune(draft, pruned.model, bench, folder, hooks)
        else:
            finish(draft, weights, bench, folder)
    return (finish_sibling(sibling, weights, bench, folder) for sibling in siblings)


def make_up_siblings(trial: Trial, recipes: Sequence[Recipe], bench: Bench, folder: Path) -> Iterator[Draft]:
    """Siblings of a trial that an earlier process made in `folder`: none where its weights are gone, or damaged."""
    weights, evaluation = weights_path(folder, trial.recipe), trial.evaluation
    if evaluation is None or not weights.is_file() or "parity_argmax" not in evaluation.facts:
        return  # it did not come so far, or the export said something else than the module
    structure = bench.structures / evaluation.facts["structure"]
    if not is_template(structure):
        return
    os.utime(structure)  # in use: see open_structure
    if evaluation.facts.get("weights_sha256") != sha256(weights):
        log.warning("%s is damaged: trial %d has no more siblings", weights, trial.number)
        return
    inherited = {key: evaluation.facts[key] for key in INHERITED}
    for recipe in recipes:
        sibling = Draft(recipe, curve=list(evaluation.curve), facts=dict(inherited))
        yield finish_sibling(sibling, weights, bench, folder)


def screen(draft: Draft, bench: Bench, folder: Path, admit: Callable[[Measurements], None]) -> None:
    """Measure what the structure decides under the recipe's scheme and runtime, or remember it.

    With layers in float and no ranking yet, those of fewest weights stay in float: no trial ends by a size that it
    might not have. Once the ranking is there, see `finish`, the layers that it names are measured.
    """
    structure, path = bench.structures / draft.facts["structure"], folder / "structure.onnx"
    recipe, damage = draft.recipe, ranked(draft, bench)

    def quantized() -> Subject:
        plain = replace(recipe, calibration=None)
        quantize(plain, bench.task, structure / GRAPH, path, SCREENING_INPUTS, damage)
        return make_subject(path, structure / GRAPH, bench, recipe)

    in_float = in_words(recipe.float_layers, damage)
    scheme = SCHEMES[recipe.quantization].measured_as or recipe.quantization
    choices = (scheme, recipe.operators, recipe.keep_float, in_float, recipe.graph_optimization, recipe.runtime)
    conditions = {**bench.conditions, "runtime": bench.runtime_of(recipe)}
    for found in measure_structure(
        structure, "-".join(filter(None, choices)), conditions, bench.measures, quantized, bench.quiet
    ):
        draft.measurements |= bench.compared(recipe, found)
        admit(draft.measurements)


def recording(draft: Draft, hooks: Hooks) -> Hooks:
    """The hooks, with the learning curve noted in the draft first."""

    def on_epoch(epoch: int, quality: float) -> None:
        draft.curve.append(quality)
        hooks.on_epoch(epoch, quality)

    return Hooks(hooks.should_stop, on_epoch)


def tune(draft: Draft, model: nn.Module, bench: Bench, folder: Path, hooks: Hooks) -> None:
    """Train the trained model further under fake quantization, and finish with that: its siblings keep the others."""
    recipe, inputs, weights = draft.recipe, bench.task.validation.inputs[:PARITY_BATCH], folder / "tuned.onnx"
    with draft.clock("train"):
        at = place_of(bench.device)
        lessons = bench.library.lessons_on(at.device, recipe.augment or 0)
        curve = draft.facts.setdefault("tuned", {"curve": []})["curve"]
        tuned = train_quantized(
            *(model, lessons, bench.task.validation, recipe),
            seed=bench.seed,
            should_stop=hooks.should_stop,
            on_epoch=lambda epoch, quality: curve.append(quality),
            at=at,
        )
        draft.facts |= at.facts
    with draft.clock("export"):
        structure = bench.structures / draft.facts["structure"]
        exported = export_into(structure, tuned.model, inputs, weights, bench.open_session)
        draft.facts["tuned"] = {"curve": list(tuned.curve), **exported}
    finish(draft, weights, bench, folder, tuned.learned)


def finish(draft: Draft, weights: Path, bench: Bench, folder: Path, learned: Sequence[Learned] = ()) -> None:
    """Quantize the trained model into `artifact_path` and measure what its weights decide."""
    path = artifact_path(folder, draft.recipe)
    with draft.clock("quantize"):
        damage = ranked(draft, bench, weights)
        draft.facts |= quantize(draft.recipe, bench.task, weights, path, CALIBRATION_INPUTS, damage, learned)
    if draft.recipe.float_layers:  # the first of its structure was screened before there was a ranking
        with draft.clock("screen"):
            screen(draft, bench, folder, admit=lambda measurements: None)
    with draft.clock("measure"):
        found = measure_weights(make_subject(path, weights, bench, draft.recipe), bench.measures)
        draft.measurements |= bench.compared(draft.recipe, found)


def finish_sibling(sibling: Draft, weights: Path, bench: Bench, folder: Path) -> Draft:
    """The same weights under another scheme or runtime."""
    with noted(sibling):
        with sibling.clock("quantize"):
            ranked(sibling, bench, weights)
        with sibling.clock("screen"):
            screen(sibling, bench, folder, admit=lambda measurements: None)
        finish(sibling, weights, bench, folder)
    return sibling


@contextmanager
def noted(draft: Draft) -> Iterator[None]:
    """What fails here fails this draft alone: the same weights may do under another scheme or runtime."""
    try:
        yield
    except (Interrupted, OutOfTime):
        raise
    except Exception as error:  # also what is a bug: the search raises it, once the draft is on record
        draft.error = error


def weights_path(folder: Path, recipe: Recipe) -> Path:
    """Where a trial leaves its trained model, not quantized."""
    return folder / f"{recipe.fingerprint}.float.onnx"


def artifact_path(folder: Path, recipe: Recipe) -> Path:
    """Where a trial leaves the model of its recipe, or of a sibling's."""
    return folder / f"{recipe.fingerprint}.onnx"


def build_student(task: Task, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """The teacher made smaller, an architecture of ours, or one that the task brings along."""
    if recipe.student in task.own_students:
        width = recipe.width or 1.0
        with foreign(f"student {recipe.student} of width {width:g}"):
            return task.own_students[recipe.student](width)
    return STUDENTS[recipe.student].build(task.signature, teacher, recipe)


def prune(student: nn.Module, recipe: Recipe, task: Task) -> Pruned:
    """Structured methods remove channels here and now; unstructured ones zero weights while the student trains."""
    amount = recipe.pruning_ratio or recipe.sparsity or 0.0
    places = spread(len(task.train), PRUNING_BATCH)
    with foreign(recipe.pruning):
        return METHODS[recipe.pruning].prune(student, task.train.inputs[places], task.train.targets[places], amount)


def ranked(draft: Draft, bench: Bench, weights: Path | None = None) -> dict[str, float]:
    """See `rank`."""
    return rank(draft.recipe, bench.task, bench.structures / draft.facts["structure"], bench.conditions, weights)


def make_subject(path: Path, float_path: Path, bench: Bench, recipe: Recipe = BASELINE) -> Subject:
    """Of the recipe the runtime alone is asked."""
    return Subject(
        path=path,
        float_path=float_path,
        session=bench.open_session(path, recipe),
        baseline_path=bench.baseline_path,
        baseline_session=bench.baseline_session,
        inputs=bench.task.validation.inputs.numpy(),
        targets=bench.task.validation.targets.numpy(),
        metrics=bench.task.goal.metrics,
        slices=bench.task.validation.slices,
        baseline_outputs=bench.baseline_outputs,
        options=bench.measuring,
        drift=bench.drift,
        threads=bench.conditions["threads"],
        provider=bench.provider,
        runtime=bench.runtime_of(recipe),
        baseline_runtime=bench.runtime_of(BASELINE),
    )
