"""The JSON document that search and report print as their last line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial


def document(
    *,
    study: str,
    stopped_by: str | None,
    seconds: float,
    standing: Standing,
    kpis: tuple[Kpi, ...],
    champion: Trial | None,
    test: Mapping[str, Any] | None,
    path: Path | None,
    outputs: Path,
) -> dict[str, Any]:
    """`seconds` and `seconds_to_first_feasible` count search time; `test` is the final exam of the champion."""
    miss = standing.nearest_miss
    return {
        "study": study,
        "stopped_by": stopped_by,
        **standing.counts(),
        "seconds": round(seconds, 3),
        "seconds_to_first_feasible": None if standing.first_feasible_s is None else round(standing.first_feasible_s, 3),
        "hypervolume": standing.hypervolume,
        "champion": None
        if champion is None
        else {**describe(champion, kpis), "test": test, "path": None if path is None else str(path)},
        "nearest_miss": None if miss is None else {**describe(miss, kpis), "blocking": miss.blocking(kpis)},
        "outputs": str(outputs),
    }


def describe(trial: Trial, kpis: tuple[Kpi, ...]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "kpi_score": trial.score(kpis),
        "recipe": trial.recipe.to_dict(),
        "measurements": {name: measured.value for name, measured in trial.measurements.items()},
        "ratios": {name: measured.ratio for name, measured in trial.measurements.items() if measured.ratio is not None},
    }
