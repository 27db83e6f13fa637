"""The nearest misses: what would have been worth shipping, and by how much it may not."""

from autoopt.core.kpi import Kpi, Measurement
from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.outcome import Outcome
from autoopt.report.words import gain, number

SHOWN = 5
NEAR = 0.5
"""Beside feasible trials, what is farther past its bound than this share of it is no near miss."""


def nearest_misses(outcome: Outcome) -> list[Trial]:
    """Where nothing is feasible the best by kpi_score; else those that gain on the objectives and break one bound
    alone, by little, the nearest first.
    """
    kpis = outcome.kpis
    broken = [t for t in outcome.standing.trials if t.state == COMPLETE and t.number > 0 and t.blocking(kpis)]
    if not outcome.standing.feasible:
        return sorted(broken, key=lambda t: (-round(t.score(kpis), 3), -t.gain(kpis)))[:SHOWN]
    near = [t for t in broken if len(_past(t, kpis)) == 1 and -t.score(kpis) <= NEAR and t.gain(kpis) > 0]
    return sorted(near, key=lambda t: (-t.score(kpis), t.number))[:SHOWN]


def what_blocks(outcome: Outcome, trial: Trial) -> str:
    """Such as 'latency_p95_ms 0.27x, 8% past max_ratio=0.25'."""
    by_name = {kpi.name: kpi for kpi in outcome.kpis}
    said = []
    for key, violation in _past(trial, outcome.kpis).items():
        name, _, kind = key.partition(".")
        at = _shown(outcome, by_name[name], kind, trial.measurements[name])
        said.append(f"{name} {at}, {_percent(violation)} past {kind}={getattr(by_name[name], kind):g}")
    return "; ".join(said)


def what_it_gains(outcome: Outcome, trial: Trial) -> str:
    """On the objectives, against the baseline."""
    measured = trial.measurements
    return ", ".join(
        f"{kpi.name} {gain(measured[kpi.name], outcome.facts[kpi.name])}" for kpi in outcome.kpis if kpi.objective
    )


def _percent(share: float) -> str:
    """Two digits, or all of those before the point."""
    return f"{100 * share:.0f}%" if share >= 1 else f"{100 * share:.2g}%"


def _past(trial: Trial, kpis: tuple[Kpi, ...]) -> dict[str, float]:
    """The broken bounds, the worst first."""
    broken = {key: violation for key, violation in trial.violations(kpis).items() if violation > 0}
    return dict(sorted(broken.items(), key=lambda item: -item[1]))


def _shown(outcome: Outcome, kpi: Kpi, kind: str, measured: Measurement) -> str:
    if kind.endswith("ratio") or kind == "max_drop":
        return gain(measured, outcome.facts[kpi.name])
    return number(measured.value)
