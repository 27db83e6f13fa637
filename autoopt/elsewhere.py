"""Artifacts that another machine has made, and this one measures: see measure.host."""

from collections.abc import Callable
from pathlib import Path

import torch

from autoopt.core.kpi import Measurements
from autoopt.core.trial import Draft
from autoopt.pipeline import (
    PARITY_BATCH,
    Bench,
    artifact_path,
    build_student,
    make_subject,
    prune,
    screen,
    weights_path,
)
from autoopt.structures import measure_weights, open_structure


def measure_built(draft: Draft, bench: Bench, folder: Path, admit: Callable[[Measurements], None]) -> None:
    """Measure an artifact of the draft's recipe that another machine has put into `folder`, as run_trial would have
    done here; its structure is made again, from the recipe. `admit` may raise Screened.
    """
    recipe, clock = draft.recipe, draft.clock
    torch.manual_seed(bench.seed)
    with clock("structure"):
        pruned = prune(build_student(bench.task, bench.teacher, recipe), recipe, bench.task)
        structure = open_structure(pruned.model, bench.task.validation.inputs[:PARITY_BATCH], bench.structures)
        draft.facts["structure"] = structure.name
    with clock("screen"):
        screen(draft, bench, folder, admit)
    with clock("measure"):
        subject = make_subject(artifact_path(folder, recipe), weights_path(folder, recipe), bench, recipe)
        draft.measurements |= bench.compared(recipe, measure_weights(subject, bench.measures))
