"""Which quantized models take longer than the same structure in float."""

from collections.abc import Sequence

from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.trial import Trial

LATENCY, WORTH_TELLING = "latency_p50_ms", 1.05


def slower_than_float(trials: Sequence[Trial]) -> dict[int, float]:
    """By trial number: how many times as long a median call takes as in float, at least WORTH_TELLING, where the
    structure was measured in float, too, and the 95% intervals of the two do not touch.
    """
    floats = {structure: m for t in trials if _is_float(t.recipe) and (structure := _structure(t)) and (m := _timed(t))}
    found = {}
    for trial in trials:
        mine, base = _timed(trial), floats.get(_structure(trial))
        if mine is None or base is None or _is_float(trial.recipe):
            continue
        times = (mine.ratio or 0.0) / (base.ratio or 1.0)
        if times >= WORTH_TELLING and mine.ratio_interval[0] > base.ratio_interval[1]:  # type: ignore[index]
            found[trial.number] = times
    return found


def compared(trials: Sequence[Trial]) -> dict[str, set[str]]:
    """By quantization scheme, the structures that were measured both in it and in float."""
    floats = {_structure(t) for t in trials if _is_float(t.recipe) and _timed(t)}
    found: dict[str, set[str]] = {}
    for trial in trials:
        if _timed(trial) and not _is_float(trial.recipe) and _structure(trial) in floats:
            found.setdefault(trial.recipe.quantization, set()).add(_structure(trial))
    return found


def slower_schemes(trials: Sequence[Trial]) -> dict[str, tuple[int, int, float]]:
    """By scheme: in how many structures it is slower than float, of how many, and how many times as long at most."""
    slower, structures = slower_than_float(trials), compared(trials)
    found = {}
    for scheme, of in structures.items():
        mine = {t.number: _structure(t) for t in trials if t.number in slower and t.recipe.quantization == scheme}
        if mine:
            found[scheme] = (len(set(mine.values())), len(of), max(slower[number] for number in mine))
    return found


def _is_float(recipe: Recipe) -> bool:
    return recipe.quantization == "none"


def _structure(trial: Trial) -> str:
    """In the runtime that served it; '' where it came to nothing before."""
    found = trial.evaluation.facts.get("structure", "") if trial.evaluation else ""
    return f"{found} {trial.recipe.runtime or ''}".strip()


def _timed(trial: Trial) -> Measurement | None:
    measured = trial.measurements.get(LATENCY)
    return measured if measured is not None and measured.ratio_interval is not None else None
