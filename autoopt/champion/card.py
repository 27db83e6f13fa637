"""The card of an artifact: what it is, what it measured, how it was made."""

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from autoopt.core.cpu import cpu_name, saturates
from autoopt.core.kpi import Facts, Kpi, Measurement
from autoopt.core.packages import version_of
from autoopt.core.passwords import masked
from autoopt.core.recipe import Recipe
from autoopt.core.trial import CPU as MEASURED_BY
from autoopt.core.trial import Evaluation
from autoopt.quantization import SCHEMES
from autoopt.runtimes.providers import CPU, machine_of
from autoopt.tasks import Task
from autoopt.tasks.goal import CLASSIFICATION

UNKNOWN = "unknown"
PACKAGES = ("torch", "onnx", "onnxruntime", "torch-pruning", "optuna", "numpy")


def make_card(
    *,
    task: Task,
    recipe: Recipe,
    model: Path,
    evaluation: Evaluation,
    kpis: tuple[Kpi, ...],
    facts: Mapping[str, Facts],
    runtime: str,
    baseline_runtime: str,
    threads: int,
    seed: int,
    study: str,
    trial: int,
    provider: str = CPU,
) -> dict[str, Any]:
    """Every measurement with its unit and the baseline's value beside it, and what is needed to repeat it.

    `model` is the ONNX file: it may take fewer inputs than the task has, where the module does not look at all of them.
    `provider`: onnxruntime's. Where a machine with another CPU has measured it, what this one does not know is UNKNOWN.
    """
    graph = onnx.load(model).graph
    cpu = str(evaluation.facts.get(MEASURED_BY, cpu_name()))
    is_here = cpu == cpu_name()
    quantizer = (SCHEMES[recipe.quantization].needs or ())[:1]
    packages = (*PACKAGES, runtime, baseline_runtime, *quantizer)
    versions = {"python": platform.python_version(), "autoopt": version("autoopt")}
    versions |= {name: version_of(name) for name in packages}
    return {
        "study": study,
        "trial": trial,
        "task": task.name,
        "data": {
            "source": masked(task.data_source),
            "fingerprint": task.fingerprint,
            "train": len(task.train),
            "validation": len(task.validation),
            "test": len(task.test),
        },
        "inputs": [
            {"name": found.name, "shape": _shape(found.name, task), "dtype": _dtype(found)} for found in graph.input
        ],
        "input_meaning": task.input_meaning,
        "output": {
            "name": graph.output[0].name,
            "shape": ["batch", task.classes],
            "dtype": _dtype(graph.output[0]),
            "meaning": "argmax over axis 1 is the class" if task.goal.kind == CLASSIFICATION else "the numbers",
        },
        "recipe": recipe.to_dict(),
        "recipe_fingerprint": recipe.fingerprint,
        "measurements": {name: _measured(m, facts[name]) for name, m in evaluation.measurements.items()},
        "measured_on": {
            "split": "validation",
            "inputs_per_call": 1,
            "runtime": runtime,
            "baseline_runtime": baseline_runtime,
            "threads": threads,
            **machine_of(provider),
            "cpu": cpu,
            "machine": platform.machine() if is_here else UNKNOWN,
        },
        "kpis": {kpi.name: {"objective": kpi.objective, **kpi.bounds()} for kpi in kpis},
        "learning_curve": [None if math.isnan(quality) else quality for quality in evaluation.curve],  # JSON has no NaN
        "seconds": dict(evaluation.seconds),
        "facts": {**evaluation.facts, "cpu_saturates_int8": saturates() if is_here else UNKNOWN},
        "seed": seed,
        "versions": {name: found if is_here else UNKNOWN for name, found in versions.items()},
    }


def _shape(name: str, task: Task) -> list[Any]:
    """With the names of the axes that are free."""
    free = ["batch", "length"] if name in task.train.inputs.sequences else ["batch"]
    return [*free, *task.train.inputs.arrays[name].shape[len(free) :]]


def _dtype(value: onnx.ValueInfoProto) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _measured(m: Measurement, facts: Facts) -> dict[str, Any]:
    return {**m.to_dict(), "unit": facts.unit, "meaning": facts.meaning}
