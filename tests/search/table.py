"""A study of a lookup table: recipes are looked up, not built. A whole search takes a second and no torch."""

import ctypes
import logging
import os
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from autoopt.core.errors import TrialError
from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import Choice, Range, Space
from autoopt.core.trial import Draft, Trial
from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts, Evaluate, MakeUp
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate
from autoopt.search.search import Search, Watch
from autoopt.search.study import open_study

KPIS = (
    Kpi("accuracy", True, objective=True, max_drop=0.05),
    Kpi("latency_p95_ms", False, of_structure=True, objective=True, max_ratio=0.5),
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

TRIALS = 12


def look_up(draft: Draft, gate: Gate) -> list[Draft]:
    """Wider is better and slower, int8 is faster; the teacher is best and slowest."""
    return [_filled(Draft(recipe), gate, screen=False) for recipe in _filled(draft, gate, screen=True).siblings]


def _filled(draft: Draft, gate: Gate, *, screen: bool) -> Draft:
    recipe = draft.recipe
    scale = 1.5 if recipe.student == "teacher" else (recipe.width or 1.0) * 0.6
    draft.measurements["latency_p95_ms"] = Measurement(SPEED[recipe.quantization] * scale, 1.5)
    if screen:
        gate.admit(draft.measurements)
    for epoch in range(1, recipe.epochs + 1):
        draft.curve.append(quality(recipe, epoch))
        if screen:
            gate.after_epoch(draft.measurements, draft.curve)
    draft.measurements["accuracy"] = Measurement(quality(recipe, recipe.epochs), 0.95)
    draft.clock.seconds["train"] = 0.01
    return draft


def quality(recipe: Recipe, epochs: int) -> float:
    return 0.95 if recipe.student == "teacher" else 0.95 - 0.08 / ((recipe.width or 1.0) * epochs)


def failing(every: int) -> Evaluate:
    """look_up, but every n-th evaluation raises TrialError."""
    count = 0

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        nonlocal count
        count += 1
        if count > 1 and count % every == 0:
            raise TrialError(f"no luck the {count}th time")
        return look_up(draft, gate)

    return evaluate


def begin(
    folder: Path, *, seed: int = 0, name: str = "table", fingerprint: dict[str, Any] | None = None
) -> optuna.Study:
    study = open_study(folder, name, KPIS, fingerprint or {"space": {"a": 1}, "teacher": {"weights": "none"}})
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def make_search(
    study: optuna.Study,
    *,
    evaluate: Evaluate = look_up,
    make_up: MakeUp = lambda trial, recipes: (),
    **changes: Any,
) -> Search:
    """A search of TRIALS trials on the table in this process, any part of it replaced."""
    parts: dict[str, Any] = {
        "space": SPACE,
        "kpis": KPIS,
        "crew": Here(Acts(evaluate, make_up)),
        "budget": Budget(trials=TRIALS),
        "first": [Recipe("teacher", "none", "int8_static")],
        "rules": Rules(screens=False, bar=False, siblings=False),
        "watch": Watch(),
        "should_stop": lambda: False,
    }
    return Search(study=study, **{**parts, **changes})


def start(delay_s: float = 0.0) -> Acts:
    """Of a worker: the table, each look-up of so many seconds."""
    return Acts(partial(_slowly, delay_s), _owed)


def start_tidy(noted: Path) -> Acts:
    """Of a worker that leaves a file in `noted` for each job that it tidies up after."""
    noted.mkdir(exist_ok=True)
    return Acts(look_up, tidy=lambda number: (noted / str(number)).touch())


def start_deadly(how: str, scheme: str, sibling: bool = False, also_baseline: bool = False) -> Acts:
    """Of a worker that does not survive the recipes of a scheme; `sibling`: only where they are siblings."""
    return Acts(partial(_deadly, how, scheme, sibling, also_baseline), partial(_owed_deadly, how, scheme))


def _slowly(delay_s: float, draft: Draft, gate: Gate) -> list[Draft]:
    end = time.monotonic() + delay_s
    while time.monotonic() < end:
        gate.check()
        time.sleep(0.01)
    return look_up(draft, gate)


def _deadly(how: str, scheme: str, sibling: bool, also_baseline: bool, draft: Draft, gate: Gate) -> Iterator[Draft]:
    if draft.recipe.quantization == scheme and (also_baseline or draft.recipe != BASELINE) and not sibling:
        die(how, gate)
    return _each(how, scheme, look_up(draft, gate))


def _owed(trial: Trial, recipes: Sequence[Recipe]) -> list[Draft]:
    return look_up(Draft(trial.recipe, tuple(recipes)), Gate(Rules(), KPIS, (), trial.recipe))


def _owed_deadly(how: str, scheme: str, trial: Trial, recipes: Sequence[Recipe]) -> Iterator[Draft]:
    return _each(how, scheme, _owed(trial, recipes))


def _each(how: str, scheme: str, siblings: list[Draft]) -> Iterator[Draft]:
    for sibling in siblings:
        if sibling.recipe.quantization == scheme:
            die(how, None)
        yield sibling


def _is_socket(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False


def die(how: str, gate: Gate | None) -> None:
    """Or hang, or take memory: what a recipe may do to its process."""
    logging.getLogger("table").warning("about to %s", how)
    if how == "mumble":  # half of a message
        (line,) = (fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_socket(fd))
        os.write(line, struct.pack("!i", 1_000_000) + b"x" * 10)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "hang":
        time.sleep(1000)
    taken = []
    while gate is not None and how in ("loop", "eat"):
        gate.check()
        taken.append(b"x" * 20_000_000 if how == "eat" else b"")
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
