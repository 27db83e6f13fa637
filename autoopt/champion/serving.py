"""From an artifact to a model that MLflow serves: what it answers with, on which inputs, and that it says the same."""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.champion import served
from autoopt.champion.model_card import card_file
from autoopt.core import artifact
from autoopt.core.packages import distribution_of, version_of
from autoopt.core.recipe import Recipe
from autoopt.core.rows import spread
from autoopt.measurements.quality import predict
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.parity import TOLERANCE
from autoopt.runtimes.providers import CPU, answers
from autoopt.tasks import Task
from autoopt.tasks.goal import CLASSIFICATION

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

LOADER, CONTENT = "autoopt_served", "champion"
"""The module that travels inside the model, and the folder of its data: an artifact, as load_champion reads it."""
EXAMPLES, CHECKED = 3, 64
"""Rows of the input example, and those on which the registered model must say what the artifact says."""


def servable(source: Path, target: Path, recipe: Recipe, card: Mapping[str, Any], task: Task) -> Path:
    """Write the artifact in `source` with all that it takes to answer the task's own inputs."""
    about = {**_about(card, task), "probabilities": _are_probabilities(source / artifact.MODEL, card, task)}
    files = {**task.files, **card_file(card), served.FILE: (json.dumps(about, indent=2) + "\n").encode()}
    return artifact.write(target, source / artifact.MODEL, recipe, card, files)


def save_model(content: Path, target: Path, task: Task, model: "Model") -> None:
    """Write `target` in MLflow's format. What it needs is given by name: MLflow would look for it by running the model
    in processes of its own, and ask the internet.
    """
    code = target.with_name(f"{LOADER}.py")
    shutil.copyfile(served.__file__, code)
    pyfunc().save_model(
        target,
        loader_module=LOADER,
        code_paths=[str(code)],
        data_path=str(content),
        mlflow_model=model,
        signature=_signature(task),
        input_example=as_typed(task, np.arange(min(EXAMPLES, len(task.validation)))),
        pip_requirements=_requirements(json.loads((content / served.FILE).read_text())),
    )


def says_the_same(saved: Path, content: Path, task: Task) -> bool:
    """Whether a model in MLflow's format answers rows of the validation split as the artifact in `content` does."""
    rows = spread(len(task.validation), CHECKED)
    about = json.loads((content / served.FILE).read_text())
    provider = next(name for name in (about.get("provider", CPU), CPU) if answers(name))  # as the served model does
    session = RUNTIMES[about["runtime"]](content / artifact.MODEL, about["threads"], provider)
    expected = served.answers(predict(session, task.validation.inputs[rows].numpy()), about)
    found = pyfunc().load_model(str(saved)).predict(as_typed(task, rows))
    if provider != CPU:
        return _nearly(expected, found)
    same = np.array_equal(found, expected) if isinstance(expected, np.ndarray) else expected.equals(found)
    return bool(same)


def _nearly(expected: Any, found: Any) -> bool:
    """Two sessions on a GPU may add up in another order."""
    if isinstance(expected, np.ndarray):
        return np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    near = np.allclose(found["probability"], expected["probability"], atol=TOLERANCE)
    return near and list(found["label"]) == list(expected["label"])


def pyfunc() -> Any:
    """mlflow.pyfunc, which takes seconds to import, and warns of its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        return mlflow.pyfunc


def as_typed(task: Task, rows: Any) -> Any:
    """Rows of the validation split as a user hands them over: texts, an array, or a dict of several."""
    if task.texts:
        return [task.texts[i] for i in np.asarray(rows)]
    arrays: dict[str, Any] = {name: array[rows].numpy() for name, array in task.validation.inputs.arrays.items()}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _about(card: Mapping[str, Any], task: Task) -> dict[str, Any]:
    on = card["measured_on"]
    provider = {"provider": on["provider"]} if "provider" in on else {}
    return {"runtime": on["runtime"], "threads": on["threads"], **provider, **interface(task)}


def _are_probabilities(model: Path, card: Mapping[str, Any], task: Task) -> bool:
    """Whether its outputs are, on rows of the validation split: else they are logits. One row alone might sum to 1 by
    chance.
    """
    if task.goal.kind != CLASSIFICATION:
        return False
    session = RUNTIMES[card["measured_on"]["runtime"]](model, card["measured_on"]["threads"])  # the CPU will do
    outputs = predict(session, task.validation.inputs[spread(len(task.validation), CHECKED)].numpy())
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-3))


def interface(task: Task) -> dict[str, Any]:
    """What a model of this task is asked, and what it answers."""
    arrays = task.validation.inputs.numpy().arrays
    return {
        "inputs": {name: {"dtype": str(a.dtype), "shape": list(a.shape[1:])} for name, a in arrays.items()},
        "labels": task.class_names if task.goal.kind == CLASSIFICATION else None,
        "outputs": task.classes,
        "pad": task.tokens.pad if task.texts and task.tokens else None,
    }


def _signature(task: Task) -> "ModelSignature":
    """Texts without a name, so that a list will do; one array without one, too."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    def tensor(array: np.ndarray, name: str | None) -> TensorSpec:
        return TensorSpec(array.dtype, (-1, *array.shape[1:]), name)

    typed = as_typed(task, np.arange(1))
    inputs: list[ColSpec | TensorSpec] = [ColSpec("string")]
    if not task.texts:
        inputs = [tensor(a, n) for n, a in typed.items()] if isinstance(typed, dict) else [tensor(typed, None)]
    outputs: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype("float32"), (-1, task.classes))]
    if task.goal.kind == CLASSIFICATION:
        outputs = [ColSpec("string", "label"), ColSpec("long", "class"), ColSpec("double", "probability")]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _requirements(about: Mapping[str, Any]) -> list[str]:
    packages = ["mlflow", "numpy", "pandas", about["runtime"], *(["tokenizers"] if about["pad"] is not None else [])]
    return [f"{distribution_of(name)}=={version_of(name)}" for name in packages]
