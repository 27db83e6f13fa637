"""Numbers and recipes in words: one home for how the terminal, the page and MLflow's note say things."""

from collections import Counter

from autoopt.core.kpi import Facts, Kpi, Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, SCREENED, Trial
from autoopt.report.outcome import Outcome


def number(value: float) -> str:
    """Four significant digits, never an exponent for everyday sizes."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def measured(m: Measurement, facts: Facts) -> str:
    """Shares as percent with points against the baseline, other units with the ratio to it."""
    if facts.unit == "share":
        points = "" if m.baseline is None else f" ({100 * (m.value - m.baseline):+.2f})"
        return f"{100 * m.value:.2f}%{points}"
    ratio = "" if m.ratio is None else f" ({m.ratio:.3g}x)"
    return f"{number(m.value)}{ratio}"


def structure_line(recipe: Recipe) -> str:
    """The choices that make the artifact's structure: student, pruning, scheme."""
    parts = [recipe.student if recipe.width is None else f"{recipe.student} x{recipe.width:g}"]
    if recipe.pruning != "none":
        parts.append(f"{recipe.pruning} {recipe.pruning_ratio or recipe.sparsity or 0:g}")
    parts.append(
        "fp32"
        if recipe.quantization == "none"
        else recipe.quantization + (f"/{recipe.calibration}" if recipe.calibration else "")
    )
    return " · ".join(parts)


def recipe_line(recipe: Recipe) -> str:
    """The structure, then how it was trained."""
    if not recipe.is_trained:
        return structure_line(recipe)
    taught = f", T={recipe.temperature:g}" if recipe.temperature else ""
    return f"{structure_line(recipe)} · {recipe.optimizer} {recipe.learning_rate:.2g}, {recipe.epochs} epochs{taught}"


def bound(kpi: Kpi) -> str:
    """Such as 'latency_p95_ms <= 0.5x the baseline'."""
    phrases = {
        "min": ">= {}",
        "max": "<= {}",
        "max_drop": "at most {} worse than the baseline",
        "max_ratio": "<= {}x the baseline",
        "min_ratio": ">= {}x the baseline",
    }
    return f"{kpi.name} " + " and ".join(phrases[kind].format(f"{value:g}") for kind, value in kpi.bounds().items())


def bounds(kpis: tuple[Kpi, ...]) -> str:
    return "; ".join(bound(kpi) for kpi in kpis if kpi.bounds())


def verdict(outcome: Outcome) -> str:
    """One sentence: what won and whether it holds, or what stands in the way."""
    champion, miss = outcome.champion, outcome.standing.nearest_miss
    if champion is not None:
        measurements, facts = champion.measurements, outcome.facts
        gains = ", ".join(f"{kpi.name} {_gain(measurements[kpi.name], facts[kpi.name])}" for kpi in outcome.kpis)
        return f"Trial {champion.number} is the champion ({recipe_line(champion.recipe)}): {gains}; {_exam(outcome)}."
    if outcome.standing.feasible:
        return "Some trials meet every bound, but none beats the baseline on any objective: no champion."
    if miss is None:
        return _nothing_complete(outcome)
    blocking = ", ".join(miss.blocking(outcome.kpis))
    nearest = f"Nearest miss: trial {miss.number} ({recipe_line(miss.recipe)}), blocked by {blocking}."
    return f"No trial meets every bound. {nearest}"


def _nothing_complete(outcome: Outcome) -> str:
    """How the trials ended instead, and the one that came nearest."""
    ends = ", ".join(f"{count} {end}" for end, count in early_ends(outcome.standing).items())
    if not ends:
        return "No trial beyond the baseline is complete yet."
    early = [trial for trial in outcome.standing.trials if trial.state != COMPLETE]
    nearest = min(early, key=lambda trial: (trial.state != SCREENED, _broken(trial, outcome.kpis)))
    return (
        f"No trial beyond the baseline came to its end: {ends}. The nearest is trial {nearest.number} "
        f"({recipe_line(nearest.recipe)}): {nearest.reason}. Loosen that bound, or widen the space."
    )


def _broken(trial: Trial, kpis: tuple[Kpi, ...]) -> float:
    return sum(max(0.0, violation) for violation in trial.violations(kpis).values())


def time_line(outcome: Outcome) -> str:
    """The share of each stage in the search time, the largest first."""
    stages = sorted(outcome.seconds_by_stage().items(), key=lambda stage: -stage[1])
    whole = outcome.seconds or 1.0
    return ", ".join(f"{stage} {seconds / whole:.0%}" for stage, seconds in stages if seconds >= 0.005 * whole)


def early_ends(standing: Standing) -> dict[str, int]:
    """How many trials ended early, by why: screened by structure, bar or learning curve, or failed."""
    reasons = [
        f"screened by its {trial.evaluation.facts['screened_by']}"
        if trial.state == SCREENED and trial.evaluation
        else trial.state
        for trial in standing.trials
        if trial.state != COMPLETE
    ]
    return dict(Counter(reasons))


def _exam(outcome: Outcome) -> str:
    test = outcome.test
    if test is None:
        return "its final exam is not taken yet"
    drop = f"{100 * test['value']:.2f}% against the baseline's {100 * test['baseline']:.2f}%"
    return f"final exam on the test split {'passed' if test['passed'] else 'FAILED'}, {test['quality']} {drop}"


def _gain(m: Measurement, facts: Facts) -> str:
    if m.baseline is None or m.ratio is None:
        return number(m.value)
    return f"{100 * (m.value - m.baseline):+.2f} points" if facts.unit == "share" else f"{m.ratio:.3g}x"
