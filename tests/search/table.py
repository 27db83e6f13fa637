"""A study of a lookup table: recipes are looked up, not built. A whole search takes a second and no torch."""

from pathlib import Path
from typing import Any

import optuna

from autoopt.core.errors import TrialError
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.space import Choice, Range, Space
from autoopt.core.trial import Evaluation
from autoopt.search.budget import Budget
from autoopt.search.loop import Evaluate, Search, Watch
from autoopt.search.study import open_study

KPIS = (
    Kpi("accuracy", True, objective=True, max_drop=0.05),
    Kpi("latency_p95_ms", False, objective=True, max_ratio=0.5),
)
SPACE = Space(
    {
        "student": Choice(("teacher", "cnn")),
        "width": Range(0.25, 2.0, step=0.25),
        "pruning": Choice(("none",)),
        "epochs": Range(1, 4, whole=True),
        "optimizer": Choice(("adamw", "sgd")),
        "learning_rate": Range(1e-4, 1e-1, log=True),
        "quantization": Choice(("none", "fp16", "int8_static")),
    },
    {"width": ("student", frozenset({"cnn"}))},
)
SPEED = {"none": 1.0, "fp16": 0.9, "int8_static": 0.4}


def look_up(recipe: Recipe, number: int) -> Evaluation:
    """Wider is better and slower, int8 is faster; the teacher is best and slowest."""
    if recipe.student == "teacher":
        accuracy, latency = 0.95, SPEED[recipe.quantization] * 1.5
    else:
        width, epochs = recipe.width or 1.0, recipe.epochs
        accuracy, latency = 0.95 - 0.08 / (width * epochs), SPEED[recipe.quantization] * width * 0.6
    measurements = {"accuracy": Measurement(accuracy, 0.95), "latency_p95_ms": Measurement(latency, 1.5)}
    return Evaluation(measurements, {"train": 0.01}, (0.5, accuracy), {"seen": number})


def failing(every: int) -> Evaluate:
    """look_up, but every n-th trial raises TrialError."""

    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        if number and number % every == 0:
            raise TrialError(f"no luck with trial {number}")
        return look_up(recipe, number)

    return evaluate


def begin(
    folder: Path, *, seed: int = 0, name: str = "table", fingerprint: dict[str, Any] | None = None
) -> optuna.Study:
    study = open_study(folder, name, KPIS, fingerprint or {"space": {"a": 1}})
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def make_search(study: optuna.Study, **changes: Any) -> Search:
    """A search of 20 trials on the table, any part of it replaced."""
    parts: dict[str, Any] = {
        "space": SPACE,
        "kpis": KPIS,
        "evaluate": look_up,
        "budget": Budget(trials=20),
        "first": [Recipe("teacher", "none", "int8_static")],
        "watch": Watch(),
        "should_stop": lambda: False,
    }
    return Search(study=study, **{**parts, **changes})
