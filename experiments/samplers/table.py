"""The lookup table: real fashion trials, recorded by vs_script and screening, and how a recipe is looked up in it.

python table.py       # gathers them into trials.json.gz
"""

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe

HERE = Path(__file__).parent
PATH = HERE / "trials.json.gz"
NEIGHBOURS = 3
KEPT = ("accuracy", "latency_p95_ms", "size_mb")
SCALES: dict[str, tuple[float, bool]] = {  # by how much a knob may differ until it is another thing; whether in logs
    "width": (0.5, False),
    "pruning_ratio": (0.1, False),
    "sparsity": (0.15, False),
    "epochs": (0.5, True),
    "learning_rate": (0.5, True),
    "weight_decay": (3.0, True),
    "distill_weight": (0.5, False),
    "temperature": (4.0, False),
    "warmup": (0.3, False),
}
SAME = {"optimizer": 0.7, "schedule": 0.5, "batch_size": 0.3, "calibration": 0.5}  # distance where they differ


@dataclass(frozen=True)
class Table:
    """Rows of recipe, measurements (value, baseline) and curve."""

    rows: Sequence[dict[str, Any]]

    @cached_property
    def families(self) -> dict[tuple[str, ...], list[dict[str, Any]]]:
        found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in self.rows:
            found.setdefault(family(row["recipe"]), []).append(row)
        return found

    def speed(self, recipe: Recipe) -> dict[str, Measurement] | None:
        """Size and latency of the recorded structure nearest to the recipe's; None where the family was never seen."""
        wanted = recipe.to_dict()
        key = structured(wanted)
        like = [row for row in self.rows if structured(row["recipe"]) == key]
        if not like:
            return None
        near = min(like, key=lambda row: distance(row["recipe"], wanted, ("width", "pruning_ratio")))
        return {name: Measurement(*near["measurements"][name][:2]) for name in ("latency_p95_ms", "size_mb")}

    def quality(self, recipe: Recipe) -> tuple[float, list[float]] | None:
        """Accuracy and learning curve: of the nearest trials of the family, the nearer the heavier."""
        wanted = recipe.to_dict()
        like = self.families.get(family(wanted), [])
        if not like:
            return None
        ranked = sorted(((distance(row["recipe"], wanted), i) for i, row in enumerate(like)))[:NEIGHBOURS]
        weights = np.array([1 / (0.1 + d) ** 2 for d, _ in ranked])
        values = np.array([like[i]["measurements"]["accuracy"][0] for _, i in ranked])
        final = float((weights * values).sum() / weights.sum())
        shape = like[ranked[0][1]]["curve"] or [final]
        curve = [q + final - max(shape) for q in np.interp(*_grids(recipe.epochs, len(shape)), shape)]
        return final, curve[: recipe.epochs]


def _grids(wanted: int, there: int) -> tuple[list[float], list[float]]:
    return [(i + 1) / max(1, wanted) for i in range(wanted)], [(i + 1) / there for i in range(there)]


def family(recipe: dict[str, Any]) -> tuple[str, ...]:
    """Trials of one family are compared knob by knob."""
    return recipe["student"], recipe["pruning"], recipe["quantization"]


def structured(recipe: dict[str, Any]) -> tuple[str, ...]:
    """What decides size and speed, but for width and pruning ratio."""
    cut = "cut" if "pruning_ratio" in recipe else "whole"
    return recipe["student"], cut, recipe["quantization"]


def distance(a: dict[str, Any], b: dict[str, Any], knobs: Sequence[str] = (*SCALES, *SAME)) -> float:
    total = 0.0
    for name in knobs:
        x, y = a.get(name), b.get(name)
        if not x or not y:  # not asked, or no epochs, no distillation, no warmup
            total += 0.0 if x == y else 1.0
        elif name in SAME:
            total += SAME[name] ** 2 * (x != y)
        else:
            scale, log = SCALES[name]
            total += ((math.log(x / y) if log else x - y) / scale) ** 2
    return math.sqrt(total)


def load() -> Table:
    with gzip.open(PATH, "rt") as file:
        return Table(json.load(file))


def gather() -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for arm in ("autoopt", "script"):
        for path in sorted(HERE.parent.glob(f"vs_script/rows/fashion/{arm}-*.json.gz")):
            with gzip.open(path, "rt") as file:
                for row in json.load(file)["rows"]:
                    if row["state"] == "complete":
                        keep(rows, row["recipe"], row)
    for path in sorted(HERE.parent.glob("screening/rows/*.json.gz")):
        with gzip.open(path, "rt") as file:
            for row in json.load(file)["rows"]:
                whole = row.get("whole") or (row["told"] if row["state"] == "complete" else None)
                if whole:
                    keep(rows, row["recipe"], whole)
                for sibling in row.get("siblings", ()):
                    keep(rows, sibling["recipe"], sibling["whole"])
    return list(rows.values())


def keep(rows: dict[str, dict[str, Any]], recipe: dict[str, Any], evaluation: dict[str, Any]) -> None:
    measurements = {name: evaluation["measurements"][name][:2] for name in KEPT}
    curve = [round(q, 5) for q in evaluation["curve"]]
    rows[json.dumps(recipe, sort_keys=True)] = {"recipe": recipe, "measurements": measurements, "curve": curve}


if __name__ == "__main__":
    found = gather()
    with gzip.open(PATH, "wt") as file:
        json.dump(found, file)
    print(f"{len(found)} trials, {PATH.stat().st_size / 1e3:.0f} kB")
