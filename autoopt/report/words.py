"""Numbers and recipes in words: one home for how the terminal, the page and MLflow's note say things."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import takewhile
from textwrap import shorten
from typing import Any

from autoopt.core.errors import STRUCTURE
from autoopt.core.exam import POINT, UPPER_LIMIT
from autoopt.core.kpi import Facts, Kpi, Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.slower import slower_schemes
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, SCREENED, Trial
from autoopt.report.outcome import Outcome
from autoopt.report.reasons import how

UNSTABLE = " ~"
"""Behind a value that other work on the machine kept unsteady; UNSTABLE_MEANS it."""
UNSTABLE_MEANS = (
    "~ unstable: half of its ratio's 95% interval stayed above runtime.max_spread; "
    "it breaks a bound only by more than its spread"
)


SHARES = ("accuracy", "macro_f1")
"""Metrics that are told in percent and points."""
REASON_CHARS, NAME_CHARS = 300, 100
WORST = 5
"""So many classes and slices are told of, those that lost most."""


def number(value: float) -> str:
    """Four significant digits, never an exponent for everyday sizes."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def measured(m: Measurement, facts: Facts) -> str:
    """Shares as percent with points against the baseline, other units with the ratio to it."""
    if facts.unit == "share":
        points = "" if m.baseline is None else f" ({100 * (m.value - m.baseline):+.2f})"
        return f"{100 * m.value:.2f}%{points}"
    ratio = "" if m.ratio is None else f" ({m.ratio:.3g}x)"
    return f"{number(m.value)}{ratio}{UNSTABLE if m.unstable else ''}"


def measured_surely(m: Measurement, facts: Facts) -> str:
    """The same, with the 95% interval of the ratio where there is one."""
    if m.ratio is None or m.ratio_interval is None:
        return measured(m, facts)
    low, high = m.ratio_interval
    unstable = UNSTABLE if m.unstable else ""
    return f"{number(m.value)} ({m.ratio:.3g}x, {low:.3g} to {high:.3g}){unstable}"


def shortened(text: str, chars: int = REASON_CHARS) -> str:
    """On one line: reasons are other libraries' words, and names are other people's."""
    return shorten(text, chars, placeholder="…") if len(text) > chars else " ".join(text.split())


def unsteady(trials: Iterable[Trial], kpis: Iterable[Kpi]) -> bool:
    """Whether a KPI of one that is complete is."""
    complete = [trial for trial in trials if trial.state == COMPLETE]
    return any(trial.measurements[kpi.name].unstable for trial in complete for kpi in kpis)


def structure_line(recipe: Recipe) -> str:
    """The choices that make the artifact's structure: student, pruning, scheme; and what serves it."""
    parts = [recipe.student if recipe.width is None else f"{recipe.student} x{recipe.width:g}"]
    if recipe.layers is not None:
        parts.append(f"{recipe.layers} layer{'s' if recipe.layers > 1 else ''}")
    if recipe.pruning not in ("none", "depth"):
        parts.append(f"{recipe.pruning} {recipe.pruning_ratio or recipe.sparsity or 0:g}")
    if recipe.embedding_rank is not None:
        parts.append(f"rank {recipe.embedding_rank}")
    parts.append(
        "fp32"
        if recipe.quantization == "none"
        else "/".join(filter(None, (recipe.quantization, recipe.calibration, recipe.operators, *_on_graph(recipe))))
    )
    parts += filter(None, [recipe.runtime])
    return " · ".join(parts)


def _on_graph(recipe: Recipe) -> list[str]:
    said: dict[str, str | int | None] = {"epochs": recipe.qat_epochs}
    said |= {"in float": recipe.keep_float, "layers in float": recipe.float_layers, "graph": recipe.graph_optimization}
    return [f"{choice} {what}" for what, choice in said.items() if choice not in (None, "none", 0)]


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


def objectives(kpis: tuple[Kpi, ...]) -> str:
    return ", ".join(kpi.name for kpi in kpis if kpi.objective)


def bounds(kpis: tuple[Kpi, ...]) -> str:
    return "; ".join(bound(kpi) for kpi in kpis if kpi.bounds())


def verdict(outcome: Outcome) -> str:
    """One sentence: what won and whether it holds, or what stands in the way."""
    champion, miss = outcome.champion, outcome.standing.nearest_miss
    if champion is not None:
        measurements, facts = champion.measurements, outcome.facts
        gains = ", ".join(f"{kpi.name} {gain(measurements[kpi.name], facts[kpi.name])}" for kpi in outcome.kpis)
        leads = "is the champion" if outcome.test else "is in the lead"
        return f"Trial {champion.number} {leads} ({recipe_line(champion.recipe)}): {gains}; {_exam(outcome)}."
    if outcome.failed:
        return f"No champion: of the front, {'; '.join(_failure(outcome, trial) for trial in outcome.failed)}."
    if outcome.standing.feasible:
        return "Some trials meet every bound, but none beats the baseline on any objective: no champion."
    if miss is None:
        return _nothing_complete(outcome)
    blocking = ", ".join(miss.blocking(outcome.kpis))
    nearest = f"Nearest miss: trial {miss.number} ({recipe_line(miss.recipe)}), blocked by {blocking}."
    return f"No trial meets every bound. {nearest}"


def _nothing_complete(outcome: Outcome) -> str:
    """How the trials ended instead, and what stood in their way."""
    ends = ", ".join(f"{count} {end}" for end, count in early_ends(outcome.standing).items())
    if not ends:
        return "No trial beyond the baseline is complete yet."
    last = outcome.standing.trials[-1]
    obstacles = [*_broken_bounds(outcome), *_bars(outcome)] or [
        f"the last was trial {last.number}: {shortened(last.reason)}"
    ]
    trained = any(trial.recipe.is_trained for trial in outcome.standing.trials)
    more = "" if trained else " Nothing was trained yet: type a larger budget.trials or budget.hours."
    return f"No trial beyond the baseline came to its end: {ends}. {'; '.join(obstacles)}.{more}"


def _broken_bounds(outcome: Outcome) -> list[str]:
    """For each bound that screened trials have broken: how many, and the best that any has reached."""
    found = []
    for kpi in outcome.kpis:
        measured = [t for t in outcome.standing.trials if t.state == SCREENED and kpi.name in t.measurements]
        for kind, limit in kpi.bounds().items():
            broken = sum(kpi.violations(t.measurements[kpi.name])[kind] > 0 for t in measured)
            if broken:
                best = min(measured, key=lambda t: kpi.loss(t.measurements[kpi.name]))
                m = best.measurements[kpi.name]
                value = f"{m.ratio:.3g}x" if kind.endswith("ratio") and m.ratio is not None else number(m.value)
                found.append(
                    f"kpis.{kpi.name}.{kind}={limit:g} stopped {broken}, the nearest at {value} "
                    f"(trial {best.number}, {structure_line(best.recipe)})"
                )
    return found


def _bars(outcome: Outcome) -> list[str]:
    screened = [t for t in outcome.standing.trials if t.state == SCREENED and t.evaluation]
    high = [t for t in screened if t.evaluation and t.evaluation.facts["screened_by"] != STRUCTURE]
    if not high:
        return []
    return [f"{len(high)} would not be good enough, such as trial {high[0].number}: {shortened(high[0].reason)}"]


def time_line(outcome: Outcome) -> str:
    """The share of each stage in the search time, of workers in all of theirs, the largest first."""
    stages = sorted(outcome.seconds_by_stage().items(), key=lambda stage: -stage[1])
    whole = max(outcome.seconds, sum(seconds for _, seconds in stages)) or 1.0
    return ", ".join(f"{stage} {seconds / whole:.0%}" for stage, seconds in stages if seconds >= 0.005 * whole)


def slower_line(standing: Standing) -> str:
    """Which schemes take longer than fp32 on this machine; '' where none does."""
    found = [
        f"{scheme} in {count} of {of} structures, up to {times:.2g} times as long"
        for scheme, (count, of, times) in slower_schemes(standing.trials).items()
    ]
    return f"slower than fp32 here, by the median call: {'; '.join(found)}" if found else ""


def early_ends(standing: Standing) -> dict[str, int]:
    """How many trials ended early, by why: screened by structure, bar or learning curve, or failed."""
    return dict(Counter(how(trial) for trial in standing.trials if trial.state != COMPLETE))


def _exam(outcome: Outcome) -> str:
    test = outcome.test
    if test is None:
        return "its final exam is not taken yet"
    before = "".join(f"; before it, {_failure(outcome, trial)}" for trial in outcome.failed)
    how = " by exam.rule=point" if test["rule"] == POINT else ""
    return f"final exam on the test split passed{how}, {_scores(test)}{before}{_passed_over(outcome)}"


def _passed_over(outcome: Outcome) -> str:
    """Who has a higher kpi_score than the champion and took no exam."""
    champion = outcome.champion
    ahead = takewhile(lambda trial: trial is not champion, outcome.standing.front)
    numbers = [str(trial.number) for trial in ahead if trial in outcome.unexamined]
    if not numbers:
        return ""
    return f"; of a higher kpi_score, but not sure to hold the bounds on validation: trial {', '.join(numbers)}"


def _failure(outcome: Outcome, trial: Trial) -> str:
    test = outcome.exams[trial.number]
    unsure = test["rule"] == UPPER_LIMIT and test["broken_by_rule"][POINT] == []
    why = "; by exam.rule=upper_limit its far end counts" if unsure else ""
    return f"trial {trial.number} failed its exam by {', '.join(test['broken'])} ({_scores(test)}{why})"


def _scores(test: Mapping[str, Any]) -> str:
    own, base = (shown(test, test[key]) for key in ("value", "baseline"))
    return f"{test['quality']} {own} against the baseline's {base}: {difference(test)}"


def shown(test: Mapping[str, Any], value: float) -> str:
    """A value of an exam's metric: a share in percent."""
    return f"{100 * value:.2f}%" if test["quality"] in SHARES else number(value)


def difference(test: Mapping[str, Any]) -> str:
    """To the baseline on the test split, with its 95% interval: above 0 is better."""
    scale, digits, unit = (100, ".2f", " points") if test["quality"] in SHARES else (1, ".4g", "")
    ends = [f"{-scale * limit:+{digits}}" for limit in reversed(test["drop_95"] or ())]
    sure = f"95%: {' to '.join(ends)}" if ends else "its interval is not known"
    return f"{-scale * test['drop']:+{digits}}{unit} ({sure})"


def losses(test: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """By title, a table of an exam with its head: the classes that lost recall, and slices, the worst losses first."""
    lost = [row for row in test.get("classes", []) if row["recall"] < row["baseline"]]
    share = test.get("quality") in SHARES
    found = {
        "Classes that lost most": [_loss(row["class"], row["recall"], row, True) for row in lost[:WORST]],
        "Slices": [_loss(row["slice"], row["value"], row, share) for row in test.get("slices", [])[:WORST]],
    }
    heads = {"Classes that lost most": "recall", "Slices": str(test.get("quality"))}
    return {title: [["", heads[title], "the baseline's", ""], *rows] for title, rows in found.items() if rows}


def _loss(name: str, value: float, row: Mapping[str, Any], share: bool) -> list[str]:
    both = [f"{100 * number:.1f}%" if share else f"{number:.4g}" for number in (value, row["baseline"])]
    return [shortened(name, NAME_CHARS), both[0], f"against {both[1]}", f"of {row['rows']} rows"]


def gain(m: Measurement, facts: Facts) -> str:
    """A measurement against the baseline's."""
    if m.baseline is None or m.ratio is None:
        return number(m.value)
    return f"{100 * (m.value - m.baseline):+.2f} points" if facts.unit == "share" else f"{m.ratio:.3g}x"
