"""The JSON document that search and report print as their last line."""

from collections.abc import Mapping
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.core.trial import Trial
from autoopt.report.machines import machines
from autoopt.report.outcome import Outcome


def document(outcome: Outcome) -> dict[str, Any]:
    """`seconds` and `seconds_to_first_feasible` count search time; a champion's path is null before its final exam."""
    standing, champion, miss = outcome.standing, outcome.champion, outcome.standing.nearest_miss
    first = standing.first_feasible_s
    path = str(outcome.folder / "champion") if outcome.test else None
    test = outcome.test and brief(outcome.test)
    return {
        "study": outcome.study,
        "stopped_by": outcome.stopped_by,
        **standing.counts(),
        "seconds": round(outcome.seconds, 3),
        "seconds_to_first_feasible": None if first is None else round(first, 3),
        "seconds_by_stage": {stage: round(seconds, 3) for stage, seconds in outcome.seconds_by_stage().items()},
        "machines": machines(standing),
        "hypervolume": standing.hypervolume,
        "champion": champion and {**describe(champion, outcome.kpis), "test": test, "path": path},
        "exams": {str(number): brief(exam) for number, exam in sorted(outcome.exams.items())},
        "nearest_miss": miss and {**describe(miss, outcome.kpis), "blocking": miss.blocking(outcome.kpis)},
        "outputs": str(outcome.folder.parent),
    }


def brief(exam: Mapping[str, Any]) -> dict[str, Any]:
    """An exam without the table of classes, which is on the card."""
    return {key: value for key, value in exam.items() if key != "classes"}


def describe(trial: Trial, kpis: tuple[Kpi, ...]) -> dict[str, Any]:
    """Recipe, measurements and ratios of a complete trial, as plain values."""
    return {
        "trial": trial.number,
        "kpi_score": trial.score(kpis),
        "recipe": trial.recipe.to_dict(),
        "measurements": {name: measured.value for name, measured in trial.measurements.items()},
        "ratios": {name: measured.ratio for name, measured in trial.measurements.items() if measured.ratio is not None},
    }
