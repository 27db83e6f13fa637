"""Screening: ending a trial early because it cannot win. Pure: it looks at the finished trials and decides.

Optuna's own pruners refuse multi-objective studies (optuna issue 3450), and know nothing of what a structure decides.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autoopt.core.errors import BAR, CURVE, CUTS, STRUCTURE, Screened
from autoopt.core.kpi import Kpi, Measurements
from autoopt.core.metric import BOUNDED, QUALITIES
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, Trial
from autoopt.search.rules import Rules

ENOUGH = 5  # learning curves, before any is trusted to foretell another
QUANTILE = 0.1  # of the share of the error that was left at this point and stayed: 9 of 10 curves gained less


@dataclass(frozen=True)
class Gate:
    """What a trial of `recipe` is held against while it runs; the study's trials are those before it."""

    rules: Rules
    kpis: tuple[Kpi, ...]
    trials: Sequence[Trial]
    recipe: Recipe
    cut: Callable[[], str] = lambda: ""
    """Why the trial is to be cut short: one of CUTS, or '' to go on."""
    on_epoch: Callable[[int, float], None] = lambda epoch, quality: None
    number: int = 0
    """Of the trial."""
    _rivals: dict[tuple[object, ...], float | None] = field(default_factory=dict, repr=False, compare=False)
    """The strongest, by what they were asked for: each epoch asks the same, and of thousands it takes a while."""

    def check(self) -> None:
        """While training. Raises Interrupted, OutOfTime or OverLimit."""
        if cut := self.cut():
            raise CUTS[cut]()

    def admit(self, measurements: Measurements) -> None:
        """Before training. Raises Screened where a bound is broken beyond the spread, or no quality could be enough."""
        if not self.trials:
            return  # the baseline
        if self.rules.screens:
            refuse_broken_bounds(self.kpis, measurements)
        bar, best = self.bar(measurements), self._best_quality()
        if self.rules.bar and bar is not None and best is not None and bar > best + self.rules.margin:
            raise Screened(BAR, _too_high(quality_name(self.kpis), bar, best + self.rules.margin))

    def bar(self, measurements: Measurements) -> float | None:
        """The least quality with which the trial could still matter; None where nothing says so."""
        baseline = self._baseline_quality()
        quality = next((kpi for kpi in self.kpis if kpi.name in QUALITIES), None)
        if quality is None or baseline is None:
            return None
        bound = quality.least(self.trials[0].measurements[quality.name])
        rivals = self._strongest_rival(measurements) if self.rules.bar else None
        return max((b for b in (bound, rivals) if b is not None), default=None)

    def _strongest_rival(self, measurements: Measurements) -> float | None:
        asked = (len(self.trials), *(measurements.get(kpi.name) for kpi in self.kpis if kpi.of_structure))
        if asked not in self._rivals:
            self._rivals[asked] = strongest_rival(self.kpis, self.trials, measurements)
        return self._rivals[asked]

    def after_epoch(self, measurements: Measurements, curve: Sequence[float]) -> None:
        """While training. Raises Screened where even an optimistic estimate of the final quality is below the bar."""
        epochs, quality = self.recipe.epochs, quality_name(self.kpis)
        if not self.rules.screens or len(curve) >= epochs or quality not in BOUNDED:
            return
        bar = self.bar(measurements)
        if bar is None:
            return
        estimate = upper_estimate(curve, epochs, learning_curves(self.trials, self.recipe))
        if estimate < bar:
            reached = f"{quality} {_best(curve):.4f} after epoch {len(curve)} of {epochs}"
            raise Screened(CURVE, f"{reached} foretells at most {estimate:.4f}, it needs {bar:.4f} to matter")

    def _best_quality(self) -> float | None:
        """Of the baseline and all that came to an end: some students exceed a teacher that is not well trained."""
        name = quality_name(self.kpis)
        found = [t.measurements[name].value for t in self.trials if t.state == COMPLETE and name in t.measurements]
        return max((value for value in [*found, self._baseline_quality()] if value is not None), default=None)

    def _baseline_quality(self) -> float | None:
        measured = self.trials[0].measurements.get(quality_name(self.kpis)) if self.trials else None
        return None if measured is None else measured.baseline


def quality_name(kpis: Sequence[Kpi]) -> str:
    """The KPI that is the task's quality; '' where there is none."""
    return next((kpi.name for kpi in kpis if kpi.name in QUALITIES), "")


def _too_high(quality: str, bar: float, expected: float) -> str:
    if bar == math.inf:
        return f"a feasible trial is better in every objective already: no {quality} would matter"
    return f"needs {quality} {bar:.4f} to matter, at most {expected:.4f} is expected (the best so far + search.margin)"


def refuse_broken_bounds(kpis: Sequence[Kpi], measurements: Measurements) -> None:
    """Raises Screened where a bound is broken even if the measurement was unlucky by its whole spread."""
    for kpi in kpis:
        if not kpi.of_structure or kpi.name not in measurements:
            continue
        measured = measurements[kpi.name]
        for kind, violation in kpi.certain_violations(measured).items():
            if violation > 0:
                relative = kind.endswith("ratio") and measured.ratio is not None
                value = f"{measured.ratio:.3g}x the baseline" if relative else f"{measured.value:.4g}"
                raise Screened(STRUCTURE, f"{kpi.name} is {value}: {kind}={kpi.bounds()[kind]:g} is broken already")


def strongest_rival(kpis: Sequence[Kpi], trials: Sequence[Trial], measurements: Measurements) -> float | None:
    """The best quality among feasible trials that are no worse in all that the structure decides: below it, a trial is
    off the Pareto front. None where there is no such trial, or where other objectives could make up for it.

    Infinite where quality is no objective and one of them is better in something: then no quality makes up for it.
    """
    objectives = [kpi for kpi in kpis if kpi.objective]
    known = [kpi for kpi in objectives if kpi.of_structure]
    if any(not kpi.of_structure and kpi.name not in QUALITIES for kpi in objectives):
        return None
    if any(kpi.name not in measurements for kpi in known):
        return None  # not measured yet
    mine = [kpi.loss(measurements[kpi.name]) for kpi in known]
    rivals = []
    for trial in trials:
        if trial.state != COMPLETE or not trial.is_feasible(tuple(kpis)):
            continue
        theirs = [kpi.loss(trial.measurements[kpi.name]) for kpi in known]
        if all(a <= b for a, b in zip(theirs, mine, strict=True)):
            counts = len(known) < len(objectives)
            rivals.append(
                trial.measurements[quality_name(kpis)].value if counts else math.inf if theirs != mine else -math.inf
            )
    return max(rivals, default=None)


def learning_curves(trials: Sequence[Trial], recipe: Recipe) -> list[tuple[float, ...]]:
    """Curves of finished trials: of the recipe's student where there are enough, else of all."""
    finished = [t for t in trials if t.state == COMPLETE and t.sibling_of is None and t.recipe.is_trained]
    same = [t for t in finished if t.recipe.student == recipe.student]
    chosen = same if len(same) >= ENOUGH else finished
    return [t.evaluation.curve for t in chosen if t.evaluation and t.evaluation.curve]


def upper_estimate(curve: Sequence[float], epochs: int, finished: Sequence[Sequence[float]]) -> float:
    """An optimistic estimate of the best quality (in [0, 1]) that `curve`, of `epochs` in all, will reach.

    Of each finished curve: how much of the error at the same fraction of its epochs was still there at its end. The
    estimate grants this one as much luck as 9 in 10 did not have, and that of the luckiest while there are 10 or fewer.
    Infinite until ENOUGH of them say anything about that fraction. (experiments/screening)
    """
    left = sorted(share for other in finished if (share := error_left(other, len(curve) / epochs)) is not None)
    if len(left) < ENOUGH or _best(curve) == -math.inf:
        return math.inf
    return 1 - (1 - _best(curve)) * left[int(QUANTILE * (len(left) - 1))]


def error_left(curve: Sequence[float], fraction: float) -> float | None:
    """Final error over the error at `fraction` of the epochs (rounded down); None where no epoch was over by then."""
    epochs = int(fraction * len(curve) + 1e-9)
    if epochs < 1:
        return None
    before, after = 1 - _best(curve[:epochs]), 1 - _best(curve)
    if before == math.inf:
        return None
    return after / before if before > 0 else 1.0


def _best(curve: Sequence[float]) -> float:
    """-inf where the metric has said nothing yet: NaN is no number that could be compared."""
    return max((quality for quality in curve if not math.isnan(quality)), default=-math.inf)
