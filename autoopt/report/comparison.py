"""Studies side by side: what may be compared, and what may not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.report.document import brief, describe
from autoopt.report.outcome import Outcome
from autoopt.report.words import bound, difference, measured_surely, objectives, recipe_line, shown


@dataclass(frozen=True)
class Studied:
    """A study, the name of its task, and what it must not change while it goes on: data, teacher, runtime."""

    outcome: Outcome
    task: str
    identity: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.outcome.study


def same_task(studies: Sequence[Studied]) -> bool:
    """The same data under the same name."""
    return _equal(studies, lambda one: (one.task, one.identity.get("task")))


def same_kpis(studies: Sequence[Studied]) -> bool:
    return _equal(studies, lambda one: sorted(one.outcome.kpis, key=lambda kpi: kpi.name))


def same_objectives(studies: Sequence[Studied]) -> bool:
    """By name and order: fronts can be drawn over each other."""
    return _equal(studies, lambda one: [kpi.name for kpi in one.outcome.kpis if kpi.objective])


def cautions(studies: Sequence[Studied]) -> list[str]:
    """What cannot be compared, and what to beware of where it can."""
    said = []
    if not same_task(studies):
        tasks = ", ".join(f"{one.name} is of {one.task}" for one in studies)
        what = tasks if len({one.task for one in studies}) > 1 else "their data differ"
        said.append(
            f"Different tasks ({what}): qualities, ratios, scores and hypervolumes say nothing about each other."
        )
    elif not same_kpis(studies):
        said.append(
            "Different KPIs: kpi_score and hypervolume are not comparable, and what is feasible in one may not be in "
            "another. Measurements are."
        )
    if same_task(studies):
        for part, what in (("teacher", "teacher's weights"), ("runtime", "runtime or its threads")):
            if not _equal(studies, lambda one, part=part: one.identity.get(part)):  # type: ignore[misc]
                said.append(f"The {what} differ: ratios and drops refer to different baselines.")
    return said


def rows(studies: Sequence[Studied]) -> list[tuple[str, list[str]]]:
    """Name and, for each study, what it is there. Numbers that cannot be compared are left out."""
    facts: dict[str, Callable[[Studied], str]] = {
        "task": lambda one: one.task,
        "objectives": lambda one: objectives(one.outcome.kpis),
        "bounds": _bounds,
        "trials": _trials,
        "search time": lambda one: _time(one.outcome.seconds),
        "ended by": lambda one: one.outcome.stopped_by or "still searched, or killed",
        "first feasible after": lambda one: _time(one.outcome.standing.first_feasible_s),
        "champion": _champion,
    }
    table = [(name, [tell(one) for one in studies]) for name, tell in facts.items()]
    names = dict.fromkeys(kpi.name for one in studies for kpi in one.outcome.kpis)
    table += [(f"champion's {name}", [_kpi(one, name) for one in studies]) for name in names]
    table.append(("champion's exam", [_exam(one) for one in studies]))
    if same_task(studies) and same_kpis(studies):
        table.append(("champion's kpi_score", [_score(one) for one in studies]))
        table.append(("hypervolume", [f"{one.outcome.standing.hypervolume:.4g}" for one in studies]))
    return table


def comparison_document(studies: Sequence[Studied]) -> dict[str, Any]:
    """`hypervolume` and `kpi_score` are null where they cannot be compared."""
    alike = same_task(studies) and same_kpis(studies)
    return {"studies": [_described(one, alike) for one in studies], "comparable": alike, "cautions": cautions(studies)}


def _described(one: Studied, alike: bool) -> dict[str, Any]:
    outcome, best = one.outcome, one.outcome.champion
    champion = best and describe(best, outcome.kpis) | {"test": outcome.test and brief(outcome.test)}
    if champion and not alike:
        champion["kpi_score"] = None
    return {
        "study": one.name,
        "task": one.task,
        "objectives": [kpi.name for kpi in outcome.kpis if kpi.objective],
        "bounds": {kpi.name: kpi.bounds() for kpi in outcome.kpis if kpi.bounds()},
        **outcome.standing.counts(),
        "seconds": round(outcome.seconds, 3),
        "seconds_to_first_feasible": outcome.standing.first_feasible_s,
        "hypervolume": outcome.standing.hypervolume if alike else None,
        "champion": champion,
    }


def _equal(studies: Sequence[Studied], of: Callable[[Studied], Any]) -> bool:
    return all(of(one) == of(studies[0]) for one in studies)


def _bounds(one: Studied) -> str:
    return "; ".join(bound(kpi) for kpi in one.outcome.kpis if kpi.bounds()) or "none"


def _trials(one: Studied) -> str:
    counts = one.outcome.standing.counts()
    return f"{counts['trials']}: " + ", ".join(f"{counts[key]} {key}" for key in ("feasible", "screened", "failed"))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _champion(one: Studied) -> str:
    best, miss = one.outcome.champion, one.outcome.standing.nearest_miss
    if best is not None:
        return f"trial {best.number}: {recipe_line(best.recipe)}"
    return f"none; nearest miss: trial {miss.number}, {recipe_line(miss.recipe)}" if miss else "none"


def _kpi(one: Studied, name: str) -> str:
    best = one.outcome.champion
    found = best.measurements.get(name) if best else None
    return measured_surely(found, one.outcome.facts[name]) if found else "–"


def _score(one: Studied) -> str:
    return f"{one.outcome.champion.score(one.outcome.kpis):.3f}" if one.outcome.champion else "–"


def _exam(one: Studied) -> str:
    test = one.outcome.test
    if test is None:
        return "not taken" if one.outcome.champion else "–"
    return f"passed: {test['quality']} {shown(test, test['value'])}, {difference(test)}"


def objective_kpis(one: Studied) -> list[Kpi]:
    return [kpi for kpi in one.outcome.kpis if kpi.objective]
